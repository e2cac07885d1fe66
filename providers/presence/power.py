"""Mains or battery, from sysfs, pmset and Windows.

psutil's sensors_battery takes a wireless mouse for the machine's battery, and knows neither USB-C
supplies nor a second battery; so sysfs is read here.
"""

import ctypes
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from providers.presence.facts import Power

SYSFS = Path("/sys/class/power_supply")
UNKNOWN = Power(on_mains=None, percent=None)
NO_BATTERY = Power(on_mains=True, percent=None)
TOOL_S = 5.0  # pmset answers in milliseconds
Supply = Mapping[str, str]  # file name -> content

# Windows' SYSTEM_POWER_STATUS
NO_SYSTEM_BATTERY = 128
UNKNOWN_BYTE = 255


def power_of_supplies(supplies: Mapping[str, Supply]) -> Power:
    """What the folders of /sys/class/power_supply say. A battery of scope Device is a mouse's."""
    batteries = [
        s for s in supplies.values() if s.get("type") == "Battery" and s.get("scope") != "Device"
    ]
    mains = [s.get("online", "") for s in supplies.values() if s.get("type") in ("Mains", "USB")]
    if not batteries:
        return NO_BATTERY
    percent = _percent(batteries)
    drains = any(battery.get("status") == "Discharging" for battery in batteries)
    if "1" in mains:
        return Power(on_mains=True, percent=percent)
    # No supply online, or none that says so; a battery that isn't drained is fed from somewhere.
    unplugged = drains or (bool(mains) and set(mains) == {"0"})
    return Power(on_mains=not unplugged, percent=percent)


def _percent(batteries: list[Supply]) -> int | None:
    """All batteries together, by their energy or charge; else the mean of what they say."""
    for kind in ("energy", "charge"):
        now = [_whole(battery.get(f"{kind}_now")) for battery in batteries]
        full = [_whole(battery.get(f"{kind}_full")) for battery in batteries]
        known = [n for n in now if n is not None], [f for f in full if f]
        if len(known[0]) == len(known[1]) == len(batteries):
            return min(100, 100 * sum(known[0]) // sum(known[1]))
    said = [_whole(battery.get("capacity")) for battery in batteries]
    found = [percent for percent in said if percent is not None]
    return sum(found) // len(found) if found else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def read_sysfs(root: Path = SYSFS) -> Power:
    """This machine's, on Linux; unknown where the folder can't be read."""
    try:
        folders = list(root.iterdir()) if root.exists() else []
    except OSError:
        return UNKNOWN
    return power_of_supplies({folder.name: _files(folder) for folder in folders})


_FILES = (
    "type", "scope", "online", "status", "capacity",
    "energy_now", "energy_full", "charge_now", "charge_full",
)  # fmt: skip


def _files(folder: Path) -> Supply:
    """What the files hold; one that is missing, or that the driver refuses, is left out."""
    found = {}
    for name in _FILES:
        with suppress(OSError):
            found[name] = (folder / name).read_text(errors="replace").strip()
    return found


def power_of_pmset(text: str) -> Power:
    """`pmset -g batt`: its first line names the source, a line for each battery follows."""
    source = re.match(r"Now drawing from '(AC Power|Battery Power|UPS Power)'", text)
    if source is None:
        return UNKNOWN
    found = re.search(r"-InternalBattery.*?\t(\d{1,3})%", text)
    return Power(on_mains=source[1] == "AC Power", percent=int(found[1]) if found else None)


def read_pmset() -> Power:
    """This Mac's."""
    try:
        done = subprocess.run(
            ["/usr/bin/pmset", "-g", "batt"],
            capture_output=True, text=True, errors="replace", timeout=TOOL_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return power_of_pmset(done.stdout)


def power_of_windows(line: int, flag: int, percent: int) -> Power:
    """ACLineStatus, BatteryFlag and BatteryLifePercent of GetSystemPowerStatus."""
    if flag != UNKNOWN_BYTE and flag & NO_SYSTEM_BATTERY:
        return NO_BATTERY
    on_mains = {0: False, 1: True}.get(line)
    return Power(on_mains=on_mains, percent=percent if percent <= 100 else None)


class _Status(ctypes.Structure):
    _fields_ = (
        ("line", ctypes.c_ubyte),
        ("flag", ctypes.c_ubyte),
        ("percent", ctypes.c_ubyte),
        ("saver", ctypes.c_ubyte),
        ("left_s", ctypes.c_uint32),
        ("full_s", ctypes.c_uint32),
    )


def read_windows() -> Power:
    """This Windows machine's."""
    status = _Status()
    try:
        told = getattr(ctypes, "windll").kernel32.GetSystemPowerStatus(ctypes.byref(status))  # noqa: B009
    except (OSError, AttributeError):
        return UNKNOWN
    if not told:
        return UNKNOWN
    return power_of_windows(status.line, status.flag, status.percent)
