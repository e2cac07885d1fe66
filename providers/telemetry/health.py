"""Whether a device can take work: pure rules over what its source said. No clock but `now_ms`.

    ok               it gives readings
    degraded         it works, slowed by heat or by its power protection
    lost             it was there and is gone, or its driver says so
    driver_mismatch  the driver's library and its kernel module are of different versions
    unresponsive     its driver has been asked and has not answered for 5 s

A card at its power limit is busy, not ill. `now_ms` is of a steady clock; `since_ms` is on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, final

import msgspec

from providers.telemetry.sample import BRAKE, HOT, Fault, Look, Reading

State = Literal["ok", "degraded", "lost", "driver_mismatch", "unresponsive"]
OK: Final = "ok"
DEGRADED: Final = "degraded"
LOST: Final = "lost"
MISMATCH: Final = "driver_mismatch"
UNRESPONSIVE: Final = "unresponsive"
STATES: Final[tuple[State, ...]] = ("ok", "degraded", "lost", "driver_mismatch", "unresponsive")
# States in which nothing may be started there, and the code such a device is refused by.
REFUSED_BY: Final = {
    LOST: "Unreachable",
    MISMATCH: "DependencyMissing",
    UNRESPONSIVE: "Unreachable",
}

# A card brakes for moments all day; degraded is what goes on, well again what stays so.
SLOW_MS: Final = 5_000
CLEAR_MS: Final = 10_000

SLOWED_BY: Final = {HOT: "heat", BRAKE: "its power protection"}
MISMATCH_HINT: Final = "reboot, or unload and load its kernel module"
# nvidia-smi's exit code when library and module differ, and the words it says then (also with
# other codes from older drivers).
SMI_MISMATCH_RC: Final = 18
SMI_MISMATCH: Final = re.compile(r"driver/library version mismatch", re.I)
SMI_VERSION: Final = re.compile(r"NVML library version:\s*([0-9.]+)", re.I)
SMI_LOST: Final = re.compile(
    r"unable to determine the device handle|gpu is lost|fallen off the bus", re.I
)


@final
class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a device is, why, and since when."""

    state: State = "ok"
    text: str = ""
    since_ms: int = 0

    @property
    def refused_by(self) -> str:
        """The reason code nothing may start there by; "" where it may."""
        return REFUSED_BY.get(self.state, "")


@final
class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A device's health and what it takes to judge the next reading."""

    health: Health
    slow_since_ms: int | None = None  # slowed in every reading since
    clear_since_ms: int | None = None  # slowed in none since


def judged(before: Mapping[str, Course], look: Look, now_ms: int) -> dict[str, Course]:
    """How every card of one source is after a look; those seen `before` and missing now are lost.

    `before` holds the cards of this source alone.
    """
    after: dict[str, Course] = {}
    for reading in look.found:
        after[reading.key] = _read(before.get(reading.key), reading, now_ms)
    for key, course in before.items():
        if key not in after:
            fault = look.fault or look.broken.get(key) or _gone(key)
            after[key] = _faulty(course, fault, now_ms)
    for key, fault in look.broken.items():
        after.setdefault(key, _faulty(None, fault, now_ms))
    return after


def _gone(key: str) -> Fault:
    return Fault(kind=LOST, text="it was there and is gone: fallen off the bus, or unplugged")


def _faulty(course: Course | None, fault: Fault, now_ms: int) -> Course:
    kind: State = next((state for state in STATES if state == fault.kind), "lost")
    return Course(health=_health(course, kind, fault.text, now_ms))


def _health(course: Course | None, state: State, text: str, now_ms: int) -> Health:
    """The state, since when it is one."""
    same = course is not None and course.health.state == state
    since = course.health.since_ms if same and course is not None else now_ms
    return Health(state=state, text=text, since_ms=since)


def _read(course: Course | None, reading: Reading, now_ms: int) -> Course:
    """A card that gave a reading is ok or degraded."""
    causes = [SLOWED_BY[one] for one in reading.slowed or () if one in SLOWED_BY]
    slow = course.slow_since_ms if course else None
    clear = course.clear_since_ms if course else None
    slow = (now_ms if slow is None else slow) if causes else None
    clear = None if causes else (now_ms if clear is None else clear)
    was = course is not None and course.health.state == DEGRADED
    lasts = slow is not None and now_ms - slow >= SLOW_MS
    lingers = was and (clear is None or now_ms - clear < CLEAR_MS)
    if lasts or lingers:
        text = (
            f"slowed by {' and '.join(causes)}" if causes else course.health.text if course else ""
        )
        return Course(
            health=_health(course, "degraded", text, now_ms),
            slow_since_ms=slow,
            clear_since_ms=clear,
        )
    health = _health(course, "ok", "", now_ms)
    return Course(health=health, slow_since_ms=slow, clear_since_ms=clear)


def mismatch(version: str = "") -> Fault:
    """The driver was updated and the machine not restarted since."""
    whose = f" (library {version})" if version else ""
    text = f"driver and library versions differ{whose}: {MISMATCH_HINT}"
    return Fault(kind=MISMATCH, text=text)


def smi_fault(code: int, said: str) -> Fault | None:
    """What nvidia-smi's exit and words mean; None where they say nothing of the cards' health."""
    if code == SMI_MISMATCH_RC or SMI_MISMATCH.search(said):
        found = SMI_VERSION.search(said)
        return mismatch(found.group(1) if found else "")
    if SMI_LOST.search(said):
        line = next((one for one in said.splitlines() if SMI_LOST.search(one)), "")
        return Fault(kind=LOST, text=line.strip()[:200])
    return None
