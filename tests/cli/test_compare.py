"""`fleet compare` without a daemon: what it says, letter by letter, and what it refuses."""

import csv
import io
import json
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.market.api_prices import api_prices
from mathcore.units import DAY_MS, GIB, HOUR_MS, NUSD
from mesh.cli.app import fleet
from mesh.cli.exits import NOT_FOUND, NOTHING_FITS, USAGE, code_of, line_of
from mesh.cli.output import wide
from mesh.cli.planning.comparing.table import FIELDS
from mesh.cli.planning.comparing.words import break_even_text, said_tokens
from mesh.edge.store.ledger import Ledger
from tests.cli.fixed_fleet import CLOUD, CPU, device

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
NOW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
PRICED = device(
    "rig", price_nusd=1600 * NUSD, lifetime_months=60, watts=450, tariff_nusd_per_kwh=NUSD // 5
)
PLAIN = device("attic", model="RTX 3060", memory_bytes=12 * GIB, free_bytes=11 * GIB, watts=170)
SMALL = device("nook", model="GTX 1050", memory_bytes=2 * GIB, free_bytes=GIB)
RATE = {
    "from_ms": NOW - DAY_MS, "count": 1, "price_micro": 1_600_000_000, "currency": "USD",
    "bought_ms": NOW - DAY_MS, "life_months": 60, "tdp_mw": 450_000, "idle_mw": 25_000,
    "tariff": "home",
}  # fmt: skip
HOME = {
    "name": "home", "from_ms": NOW - DAY_MS, "zone": "UTC", "currency": "USD",
    "bands": [{"weekdays": "0123456", "from_min": 0, "to_min": 1440, "price": NUSD // 5}],
}  # fmt: skip
BARE = {"p50": 0}  # what is unknown is so at any amount
COMMANDS = {
    "compare": ("compare", "qwen3-8b", "--tokens-per-day", "2M", "--batch", "4"),
    "compare-much": ("compare", "qwen3-8b", "-t", "90M", "--batch", "8", "--months", "24"),
    "compare-none": ("compare", "qwen1.5-7b", "-t", "100k", "--what-if", "RTX 4090"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a card of known cost, one of unknown cost, one too small, a rented machine."""
    found = tmp_path_factory.mktemp("compare") / "home"
    found.mkdir()
    with_events(found, (CPU, PRICED, PLAIN, SMALL, CLOUD))
    return found


def with_events(home: Path, events: Sequence[tuple[str, str, dict[str, object]]]) -> None:
    ledger = Ledger.open(home)
    try:
        for event_type, device_id, payload in events:
            ledger.append(event_type, device_id, payload, NOW - HOUR_MS)
    finally:
        ledger.close()


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)


def ran(home: Path, args: Sequence[str], width: int = 80) -> Result:
    env = {"FLEET_HOME": str(home), "COLUMNS": str(width)}
    return CliRunner().invoke(fleet, list(args), env=env, standalone_mode=False)


def found(home: Path, *args: str) -> Any:
    result = ran(home, ["compare", "qwen3-8b", *args, "-o", "json"])
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


def by_name(answer: Any) -> dict[str, Any]:
    return {row["name"]: row for row in answer["rows"]}


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_comparison_looks_as_it_did(
    home: Path, name: str, width: int, *, updates_golden: bool
) -> None:
    text = ran(home, COMMANDS[name], width).stdout
    assert max(map(wide, text.splitlines())) <= width
    path = GOLDEN / f"{name}-{width}.txt"
    if updates_golden:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path} differs; --update-golden writes it"


def test_a_registered_device_costs_its_wear_and_its_power(home: Path) -> None:
    rig = by_name(found(home, "-t", "2M"))["rig"]
    assert rig["fixed_nusd"]["p50"] == 876_712_329  # $1600 over 60 months, a day
    hours = rig["busy_ms"]["p50"] / HOUR_MS
    assert rig["use_nusd"]["p50"] == pytest.approx(hours * 0.45 * NUSD / 5, rel=1e-6)
    assert rig["lacks"] == ["idle watts"]


def test_what_nobody_said_is_unknown_and_not_free(home: Path) -> None:
    answer = found(home, "-t", "2M", "--months", "12")
    attic = by_name(answer)["attic"]
    assert attic["lacks"] == ["price", "tariff", "idle watts"]
    assert attic["total_nusd"] is attic["day_nusd"] is attic["million_nusd"] is None
    pairs = [one for one in answer["break_even"] if one["one_name"] == "attic"]
    assert pairs
    assert all(one["tokens"] is None and one["months"] is None for one in pairs)
    text = ran(home, ["compare", "qwen3-8b", "-t", "2M"], 200).stdout
    (line,) = [line for line in text.splitlines() if line.startswith("own") and "attic" in line]
    assert "unknown" in line
    assert "$0" not in line


def test_what_does_not_fit_says_why(home: Path) -> None:
    refusals = {row["device"]: row["text"] for row in found(home, "-t", "2M")["refusals"]}
    assert "missing" in refusals["nook"]
    assert "nook: " in ran(home, ["compare", "qwen3-8b", "-t", "2M"]).stdout


def test_a_rate_that_was_set_later_takes_the_place_of_the_registration(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    said = [("tariff_set", "", HOME), ("device_rate_set", "dev-attic", RATE)]
    with_events(home, [PLAIN, *said])
    attic = by_name(found(home, "-t", "2M"))["attic"]
    assert attic["lacks"] == []
    assert attic["owned"]["basis"] == "rate"
    # Wear, and 25 W for 8 h at 20 cents a kWh.
    assert attic["fixed_nusd"]["p50"] == 876_712_329 + 40_000_000


def test_a_machine_of_the_fleet_at_a_rate_is_rented(home: Path) -> None:
    row = by_name(found(home, "-t", "2M"))["rented-a100"]
    assert (row["kind"], row["offer"], row["start_ms"]["p50"]) == ("rented", None, 0)
    assert row["kept"]["day_nusd"]["p50"] == 72 * NUSD  # 8 h at $9


def test_an_api_is_found_by_the_models_name_and_dated(home: Path) -> None:
    answer = found(home, "-t", "4M")
    row = by_name(answer)["siliconflow Qwen3-8B"]
    assert row["day_nusd"] == {"p10": 240_000_000, "p50": 240_000_000, "p90": 240_000_000}
    assert row["api"]["age_ms"] == 153 * DAY_MS
    assert {one["source"] for one in answer["api_sources"]} == {"anomalyco/models.dev@f3fc692"}
    assert answer["served"] == "qwen3-8b"


def test_another_size_or_another_model_is_never_taken_for_it(home: Path) -> None:
    served = {row["api"]["serves"] for row in found(home, "-t", "1M")["rows"] if row["api"]}
    assert served == {"qwen3-8b", None}
    closed = [row for row in found(home, "-t", "1M")["rows"] if row["kind"] == "yardstick"]
    assert {row["api"]["serves"] for row in closed} == {None}


def test_a_model_nobody_serves_says_so(home: Path) -> None:
    text = ran(home, COMMANDS["compare-none"]).stdout
    assert "APIs: none is known to serve qwen1.5-7b." in text


def test_it_needs_neither_ledger_nor_daemon_nor_network(tmp_path: Path) -> None:
    answer = found(tmp_path / "none", "-t", "1M")
    assert {row["kind"] for row in answer["rows"]} == {"rented", "api", "yardstick"}
    assert {one["source"] for one in answer["sources"]} == {"typical"}
    assert {one["age_ms"] for one in answer["sources"]} == {134 * DAY_MS}


def test_more_tokens_never_cost_less_anywhere(home: Path) -> None:
    days = [
        {row["id"]: (row["day_nusd"] or BARE)["p50"] for row in found(home, "-t", tokens)["rows"]}
        for tokens in ("10k", "1M", "30M", "3G")
    ]
    for few, more in zip(days, days[1:], strict=False):
        assert all(few[key] <= more[key] for key in few)


def test_machines_that_may_be_taken_back_can_be_left_out(home: Path) -> None:
    def spots(*args: str) -> set[bool]:
        return {
            row["offer"]["spot"] for row in found(home, "-t", "1M", *args)["rows"] if row["offer"]
        }

    assert (spots(), spots("--no-spot"), spots("--spot")) == ({True, False}, {False}, {True})


def test_hours_bound_what_is_made(home: Path) -> None:
    short, long = (by_name(found(home, "-t", "3G", "--hours", h))["rig"] for h in ("2", "24"))
    assert (short["makes"], long["makes"]) == ("no", "no")
    ratio = long["at_most_tokens"]["p50"] / short["at_most_tokens"]["p50"]
    assert ratio == pytest.approx(12, rel=1e-6)


def test_csv_has_a_line_a_row_and_empty_cells_for_what_is_unknown(home: Path) -> None:
    text = ran(home, ["compare", "qwen3-8b", "-t", "2M", "-o", "csv"]).stdout
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert tuple(next(iter(rows.values()))) == FIELDS
    assert rows["rig"]["price_nusd"] == str(1600 * NUSD)
    assert rows["attic"]["price_nusd"] == ""
    assert rows["attic"]["lacks"] == "price tariff idle_watts"
    assert rows["siliconflow Qwen3-8B"]["input_nusd_per_million"] == "60000000"


@pytest.mark.parametrize(
    ("args", "says", "code"),
    [
        ((), "tokens_per_day: missing", USAGE),
        (("-t", "0"), "tokens_per_day: '0' is not a whole number of tokens", USAGE),
        (("-t", "lots"), "tokens_per_day", USAGE),
        (("-t", "1M", "--hours", "25"), "hours: '25' is not a number from 0 to 24", USAGE),
        (("-t", "1M", "--hours", "0"), "hours", USAGE),
        (("-t", "1M", "--prompt-share", "75"), "prompt_share", USAGE),
        (("-t", "1M", "--prompt-share", "0.5", "--tokens", "9"), "prompt_share", USAGE),
        (("-t", "1M", "--months", "x"), "months", USAGE),
        (("-t", "1M", "--quant", "Q99"), "quant: unknown", USAGE),
    ],
)
def test_bad_input_is_one_line_with_what_to_do(
    home: Path, args: tuple[str, ...], says: str, code: int
) -> None:
    result = ran(home, ["compare", "qwen3-8b", *args])
    assert isinstance(result.exception, Exception)
    line = line_of(result.exception)
    assert says in line
    assert " try: " in line
    assert code_of(result.exception) == code
    assert result.stdout == ""


def test_a_model_nobody_knows_is_not_found(home: Path) -> None:
    result = ran(home, ["compare", "qwen9-8b", "-t", "1M"])
    assert isinstance(result.exception, Exception)
    assert code_of(result.exception) == NOT_FOUND


def test_where_no_machine_fits_it_ends_with_nothing_fits(home: Path) -> None:
    args = ["compare", "kimi-k2", "-t", "1M", "--what-if", "RTX 3060", "--max-price", "0.01"]
    result = ran(home, args)
    assert isinstance(result.exception, Exception)
    assert code_of(result.exception) == NOTHING_FITS
    assert "API" in result.stdout


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (999_999, "1M"),
        (2_000_000, "2M"),
        (1_250_000_000, "1.25G"),
    ],
)
def test_tokens_have_three_digits(count: int, text: str) -> None:
    assert said_tokens(count) == text


def side(name: str, tokens: int = 0) -> dict[str, object]:
    return {"side": name, "tokens": tokens}


def sentence(**changes: object) -> str:
    millions = (("p10", 1), ("p50", 2), ("p90", 4))
    one: dict[str, object] = {
        "one_name": "rig", "other_name": "groq", "kept": None, "reach": True, "months": None,
        "lacks": [], "tokens": {name: side("from", n * 10**6) for name, n in millions},
    }  # fmt: skip
    return break_even_text(one | changes)


def test_a_break_even_is_a_sentence() -> None:
    assert sentence() == "rig against groq: cheaper from 2M tokens a day (1M–4M)"
    assert sentence(lacks=["idle watts"]) == (
        "rig against groq: cheaper from ≥2M tokens a day (1M–4M)"
    )
    assert sentence(reach=False).endswith("(1M–4M), which is more than both make")
    up = {name: side("up to", n) for name, n in (("p10", 4000), ("p50", 2000), ("p90", 1000))}
    assert sentence(tokens=up) == "rig against groq: cheaper up to 2k tokens a day (1k–4k)"
    assert sentence(tokens=up, reach=False).endswith("cheaper at any amount that both make")
    mixed = {"p10": side("from", 5), "p50": side("never"), "p90": side("never")}
    assert sentence(tokens=mixed) == "rig against groq: cheaper at no amount (at the median)"
    months = {"p10": 12.2, "p50": 20.0, "p90": None}
    assert sentence(months=months).endswith("; its price is back in 20 months (12–never)")
    never = {"p10": 50.0, "p50": None, "p90": None}
    assert sentence(months=never).endswith("never comes back (at best in 50 months)")
    late = {"p10": 700.0, "p50": 835.0, "p90": None}
    assert sentence(months=late).endswith("; its price is not back in 50 years")


PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "compare.md").read_text(encoding="utf-8")


def test_the_guides_example_runs_and_says_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (described,) = re.findall(r"```json\n(.+?)\n```", PAGE, re.S)
    Path("desk.json").write_text(described)
    (command,) = re.findall(r"^fleet (compare .+ desk\.json)$", PAGE, re.M)
    answer = json.loads(ran(tmp_path / "none", [*command.split(), "-o", "json"]).stdout)
    rows = by_name(answer)
    desk, rent = rows["desk"], rows["vastai spot RTX 4090"]
    days = [desk["fixed_nusd"], desk["use_nusd"], desk["day_nusd"], rent["day_nusd"]]
    days += [rent["kept"]["day_nusd"], rows["siliconflow Qwen3-8B"]["day_nusd"]]
    assert [round(day["p50"] / NUSD, 2) for day in days] == [0.88, 0.17, 1.05, 0.88, 2.69, 1.20]
    assert round(desk["busy_ms"]["p50"] / HOUR_MS, 1) == 2.6
    (api,) = [one for one in answer["break_even"] if one["one"] == desk["id"]][2:]
    assert [said_tokens(one["tokens"]) for one in api["tokens"].values()] == [
        "16.5M",
        "17.1M",
        "18.1M",
    ]
    assert round(api["months"]["p50"]) == 51


@pytest.mark.parametrize("command", re.findall(r"^fleet (compare [^#\n]+)", PAGE, re.M))
def test_every_command_of_the_guide_is_understood(home: Path, command: str) -> None:
    described = ["--what-if", "RTX 4090"] if "--fleet" not in command else []
    words = [word for word in command.split() if word not in ("--fleet", "desk.json")]
    assert ran(home, [*words, *described]).exception is None


def test_the_guide_counts_the_table_right() -> None:
    served = [one for one in api_prices() if one.model]
    providers = len({one.provider for one in served})
    assert f"Of {providers} providers, {len(served)} names" in " ".join(PAGE.split())
