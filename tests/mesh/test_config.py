"""Settings as people write them, and what is said of those that can't be read."""

import re
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.config import OLD, SETTINGS, Config, load_config
from mesh.policy.yield_settings import YieldPolicies, YieldPolicy

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (*SETTINGS, *OLD):
        monkeypatch.delenv(f"FLEET_{key.upper()}", raising=False)


def load(home: Path, text: str) -> Config:
    (home / "fleet.toml").write_text(text)
    return load_config(home)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ('tariff = "0.30 USD/kWh"', "tariff_nusd_per_kwh", 300_000_000),
        ("tariff = 0.15", "tariff_nusd_per_kwh", 150_000_000),
        ('tariff = "$0.105/kWh"', "tariff_nusd_per_kwh", 105_000_000),
        ('price = "1600 USD"', "host_price_nusd", 1_600_000_000_000),
        ("price = 1600", "host_price_nusd", 1_600_000_000_000),
        ('price = "$1599.99"', "host_price_nusd", 1_599_990_000_000),
        ('lifetime = "5y"', "host_lifetime_months", 60),
        ('lifetime = "2.5 years"', "host_lifetime_months", 30),
        ('lifetime = "36 months"', "host_lifetime_months", 36),
        ('power = "65 W"', "host_watts", 65),
        ('power = "0.4 kW"', "host_watts", 400),
        ("tariff_nusd_per_kwh = 300000000", "tariff_nusd_per_kwh", 300_000_000),
        ("host_price_nusd = 1600000000000", "host_price_nusd", 1_600_000_000_000),
        ("host_lifetime_months = 36", "host_lifetime_months", 36),
        ("host_watts = 120", "host_watts", 120),
        ('peers = ["nas.lan:7433"]', "peers", ("nas.lan:7433",)),
        ('models = ["/mnt/models"]', "models", ("/mnt/models",)),
        ('models_disk = "1TB"', "models_disk_bytes", 1_000_000_000_000),
        ('models_rate = "50MB/s"', "models_rate", 50_000_000),
        ('metered = "yes"', "metered", "yes"),
    ],
)
def test_a_setting_is_read_in_its_unit(
    tmp_path: Path, line: str, field: str, value: object
) -> None:
    assert getattr(load(tmp_path, line), field) == value


def test_nobody_said_what_the_machine_cost_unless_somebody_did(tmp_path: Path) -> None:
    assert load_config(tmp_path).host_price_nusd == 0


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        (
            'tariff = "0.30 EUR/kWh"',
            "must be dollars a kWh, not 'eur/kwh'",
            'tariff = "0.30 USD/kWh"',
        ),
        ('tariff = "dear"', "must be dollars a kWh", "tariff ="),
        ("tariff = true", "must be dollars a kWh", "tariff ="),
        ("price = -1", "must be dollars", 'price = "1600 USD"'),
        ('price = "9999999999999"', "must be dollars", "price ="),
        ('lifetime = "5"', "must be years or months", 'lifetime = "5y"'),
        ('lifetime = "101y"', "must be years or months", "lifetime ="),
        ('power = "65 VA"', "must be watts, not 'va'", 'power = "65 W"'),
        ("host_watts = 6.5", "must be a whole number", 'power = "65 W"'),
        ("port = 65536", "must be a port", "port ="),
        ('models = ["models"]', "must be a whole path", 'models = ["/mnt/models"]'),
        ('models_disk = "200"', "has no unit", 'models_disk = "200GB"'),
        ('models_rate = "50MB"', "must be bytes a second", 'models_rate = "50MB/s"'),
        ('models_rate = "0B/s"', "must be more than nothing", "models_rate ="),
        ('metered = "maybe"', "must be one of auto, yes, no", 'metered = "yes"'),
        ("tarif = 0.3", "did you mean tariff?", 'tariff = "0.30 USD/kWh"'),
        ("zzz = 1", "known: name, port, tariff, price", "tariff ="),
        ("name = [", "cannot be read", "correct it"),
    ],
)
def test_a_wrong_setting_is_named_with_one_that_works(
    tmp_path: Path, line: str, says: str, hint: str
) -> None:
    with pytest.raises(RequestError) as caught:
        load(tmp_path, line)
    assert says in caught.value.text
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", YieldPolicies()),
        ("[yield]", YieldPolicies()),
        ('yield = "off"', YieldPolicies(machine=YieldPolicy(when=()))),
        ("yield = []", YieldPolicies(machine=YieldPolicy(when=()))),
        ('yield = ["heat", "person"]', YieldPolicies(machine=YieldPolicy(when=("person", "heat")))),
        (
            '[yield]\nwhen = ["person"]\nidle = "90s"\nmax_temp = 75\naction = "stop"',
            YieldPolicies(
                machine=YieldPolicy(when=("person",), idle_ms=90_000, max_temp_c=75, action="stop")
            ),
        ),
        (
            '[yield]\nidle = "1m"\n[yield.devices.gpu1]\nwhen = ["heat"]',
            YieldPolicies(
                machine=YieldPolicy(idle_ms=60_000),
                devices={"gpu1": YieldPolicy(when=("heat",), idle_ms=60_000)},
            ),
        ),
    ],
)
def test_when_work_gives_way_is_read(tmp_path: Path, text: str, wanted: YieldPolicies) -> None:
    assert load(tmp_path, text).yields == wanted


def test_a_variable_says_in_short_when_work_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, when in (("off", ()), ("heat, memory", ("heat", "memory"))):
        monkeypatch.setenv("FLEET_YIELD", said)
        assert load_config(tmp_path).yields.machine.when == when


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yield = 3", "when must be a list of person, battery, heat, memory"),
        ('yield = ["fan"]', "when: unknown reason 'fan'; known: person, battery, heat, memory"),
        ("[yield]\nwhen = [1]", "when must be a list"),
        ("[yield]\nidel = 1", "unknown key 'idel'; known: when, idle, max_temp, action, devices"),
        ("[yield]\nidle = 5", 'idle must be a time from "1s" to "1d", such as "5m"'),
        ('[yield]\nidle = "soon"', "idle must be a time"),
        ('[yield]\nidle = "2d"', "idle must be a time"),
        ("[yield]\nmax_temp = true", "max_temp must be degrees Celsius, 30 to 110"),
        ("[yield]\nmax_temp = 111", "max_temp must be degrees Celsius"),
        ('[yield]\nmax_temp = "83"', "max_temp must be degrees Celsius"),
        ('[yield]\naction = "kill"', 'action must be "pause" or "stop"'),
        ("[yield]\ndevices = 1", "devices must hold a table for each device"),
        ("[yield.devices]\ngpu0 = 1", "devices must hold a table for each device"),
        ("[yield.devices.gpu0]\nidle = 1", "devices.gpu0: idle must be a time"),
    ],
)
def test_what_is_wrong_about_giving_way_is_one_clear_line(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(RequestError) as caught:
        load(tmp_path, text)
    assert says in caught.value.text
    assert "\n" not in caught.value.text
    assert caught.value.hint.startswith("yield = {")


def test_variables_override_the_file_and_new_names_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = 'price = "10 USD"\nhost_price_nusd = 5\nhost_watts = 100'
    assert load(tmp_path, both).host_price_nusd == 10_000_000_000
    monkeypatch.setenv("FLEET_HOST_PRICE_NUSD", "7")
    assert load(tmp_path, both).host_price_nusd == 7
    monkeypatch.setenv("FLEET_PRICE", "$20")
    monkeypatch.setenv("FLEET_DISCOVERY", "mdns")
    found = load(tmp_path, both)
    assert (found.host_price_nusd, found.host_watts) == (20_000_000_000, 100)
    assert found.discovery == ("mdns",)


def test_every_example_can_be_given_and_every_field_is_set_by_a_setting(tmp_path: Path) -> None:
    lines = [f"{name} = {setting.example}" for name, setting in SETTINGS.items()]
    load(tmp_path, "\n".join(lines))
    assert {setting.field for setting in SETTINGS.values()} == set(Config.__slots__)
    assert {field for field, _ in OLD.values()} <= set(Config.__slots__)


def test_the_document_lists_every_setting_with_its_default_and_an_example() -> None:
    rows = [
        f"| `{name}` | {setting.what} | {setting.default} | `{name} = {setting.example}` |"
        for name, setting in SETTINGS.items()
    ]
    text = DOCUMENT.read_text()
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows
    for old, (_, new) in OLD.items():
        assert re.search(rf"`{old}`.*`{new}`", text)
