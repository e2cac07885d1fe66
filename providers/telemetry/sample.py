"""One reading of one device: what it holds, does and draws at an instant. Pure values.

What the driver withholds is None, never 0: an idle card reads 0 %, a MIG part reads nothing.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

from mathcore.units import show_bytes

# Sources of readings; a card's key begins with its source's name.
CPU: Final = "cpu"
NVIDIA: Final = "nvidia"
AMD: Final = "amd"
APPLE: Final = "apple"

# Why a card runs below its clocks.
HOT: Final = "thermal"
BRAKE: Final = "power_brake"  # the board's own protection, or a supply that can't deliver
POWER_CAP: Final = "power_cap"  # at its power limit: what a busy card does all day


@final
class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds memory of a device. `job_id` "": none of ours, somebody else's."""

    pid: int
    program: str
    memory_bytes: int | None = None
    job_id: str = ""
    attempt: int = 0


@final
class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One device at one instant. `key` names it on this machine, whatever index it has today."""

    key: str
    name: str = ""
    memory_bytes: int | None = None
    free_bytes: int | None = None
    processes: tuple[Process, ...] | None = None  # None: nobody can tell
    utilisation_percent: int | None = None
    power_mw: int | None = None
    power_limit_mw: int | None = None
    temperature_c: int | None = None
    core_mhz: int | None = None
    memory_mhz: int | None = None
    slowed: tuple[str, ...] | None = None  # HOT, BRAKE, POWER_CAP
    shares_ram: bool = False

    @property
    def used_bytes(self) -> int | None:
        """What is taken; None where either end is unknown."""
        if self.memory_bytes is None or self.free_bytes is None:
            return None
        return max(0, self.memory_bytes - self.free_bytes)


@final
class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a source, or one card of it, gave no reading. `kind` is a state of `health`, or ""."""

    kind: str
    text: str


@final
class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one source said when it was asked once. `fault`: of the source as a whole.

    `broken`: cards that are still there by their key and gave no reading.
    """

    source: str
    found: tuple[Reading, ...] = ()
    broken: dict[str, Fault] = {}  # noqa: RUF012  msgspec copies an empty default
    fault: Fault | None = None


def foreign(reading: Reading) -> tuple[Process, ...]:
    """Processes of others that hold memory there, the largest first."""
    others = [one for one in reading.processes or () if not one.job_id]
    return tuple(sorted(others, key=lambda one: (-(one.memory_bytes or 0), one.pid)))


def foreign_bytes(reading: Reading) -> int | None:
    """What others hold; None where that can't be told of each."""
    if reading.processes is None:
        return None
    sizes = [one.memory_bytes for one in foreign(reading)]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def foreign_text(process: Process) -> str:
    """Who holds memory that a job needs: "ForeignMemory: ollama pid 4242 holds 9.1 GiB"."""
    size = process.memory_bytes
    held = "an unknown amount" if size is None else show_bytes(size)
    return f"ForeignMemory: {process.program or 'a process'} pid {process.pid} holds {held}"
