"""Mains or battery, as machines say it: a mouse's battery is no laptop's."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.presence.facts import Power
from providers.presence.power import (
    NO_BATTERY,
    UNKNOWN,
    power_of_pmset,
    power_of_supplies,
    power_of_windows,
    read_sysfs,
)


def battery(status: str, capacity: str = "", **files: str) -> dict[str, str]:
    return {"type": "Battery", "status": status, "capacity": capacity, **files}


def mains(online: str) -> dict[str, str]:
    return {"type": "Mains", "online": online}


MOUSE = {"type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "55"}
CASES = [
    ("a desktop", {}, True, None),
    ("a desktop with a wireless mouse", {"hidpp_battery_0": MOUSE}, True, None),
    ("a laptop on mains", {"AC": mains("1"), "BAT0": battery("Charging", "80")}, True, 80),
    (
        "a laptop on battery",
        {"AC": mains("0"), "BAT0": battery("Discharging", "41"), "hidpp_battery_0": MOUSE},
        False,
        41,
    ),
    (
        "a full laptop at a USB-C supply that doesn't charge it",
        {
            "ucsi-source-psy-USBC000:001": {"type": "USB", "online": "1"},
            "BAT0": battery("Not charging", "80", energy_now="40", energy_full="50"),
        },
        True,
        80,
    ),
    (
        "two batteries, one drains",
        {
            "ADP1": mains("0"),
            "BAT0": battery("Unknown", "5", energy_now="1", energy_full="20"),
            "BAT1": battery("Discharging", "90", energy_now="72", energy_full="80"),
        },
        False,
        73,
    ),
    (
        "two batteries that tell only their share",
        {"AC": mains("0"), "BAT0": battery("Unknown", "5"), "BAT1": battery("Discharging", "90")},
        False,
        47,
    ),
    ("a tablet that shows no supply, and drains", {"BAT": battery("Discharging")}, False, None),
    ("one that shows no supply, and is full", {"BAT": battery("Full", "100")}, True, 100),
    (
        "by charge",
        {"AC": mains("1"), "B": battery("Charging", "9", charge_now="3", charge_full="4")},
        True,
        75,
    ),
    ("a battery that says odd things", {"AC": mains("1"), "B": battery("", "x²")}, True, None),
]


@pytest.mark.parametrize(
    ("supplies", "on_mains", "percent"),
    [case[1:] for case in CASES],
    ids=[str(case[0]) for case in CASES],
)
def test_what_a_machines_supplies_mean(
    tmp_path: Path, supplies: dict[str, dict[str, str]], on_mains: object, percent: int | None
) -> None:
    wanted = Power(on_mains=bool(on_mains), percent=percent)
    assert power_of_supplies(supplies) == wanted
    for name, files in supplies.items():  # the same from files, as the kernel shows them
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text + "\n")
    assert read_sysfs(tmp_path) == wanted


def test_a_machine_whose_kernel_shows_no_supplies_runs_on_mains(tmp_path: Path) -> None:
    assert read_sysfs(tmp_path / "none") == NO_BATTERY


def test_supplies_that_cannot_be_listed_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert read_sysfs(tmp_path / "file") == UNKNOWN


ON_BATTERY = (
    "Now drawing from 'Battery Power'\n"
    " -InternalBattery-0 (id=23134307)\t63%; discharging; 3:12 remaining present: true\n"
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (ON_BATTERY, Power(on_mains=False, percent=63)),
        (ON_BATTERY.replace("Battery Power", "AC Power"), Power(on_mains=True, percent=63)),
        ("Now drawing from 'AC Power'\n", NO_BATTERY),
        ("Now drawing from 'UPS Power'\n", Power(on_mains=False, percent=None)),
        ("", UNKNOWN),
        ("pmset: no such thing", UNKNOWN),
    ],
)
def test_what_a_mac_says(text: str, wanted: Power) -> None:
    assert power_of_pmset(text) == wanted


@pytest.mark.parametrize(
    ("line", "flag", "percent", "wanted"),
    [
        (1, 128, 255, NO_BATTERY),
        (0, 1, 41, Power(on_mains=False, percent=41)),
        (1, 8, 80, Power(on_mains=True, percent=80)),
        (255, 255, 255, UNKNOWN),
    ],
)
def test_what_windows_says(line: int, flag: int, percent: int, wanted: Power) -> None:
    assert power_of_windows(line, flag, percent) == wanted


texts = st.one_of(st.sampled_from(["Battery", "Mains", "USB", "0", "1", "Device"]), st.text())
names = st.sampled_from(["type", "scope", "online", "status", "capacity", "energy_now"])


@given(st.dictionaries(st.text(), st.dictionaries(names, texts)))
def test_no_supplies_break_the_rule(supplies: dict[str, dict[str, str]]) -> None:
    found = power_of_supplies(supplies)
    assert found.on_mains is not None
