"""What the queue is told and what it answers: values only.

Instants are ms UTC of the caller's one clock. Durations are ms; a duration of 0 is unknown, and so
is a size that is None. A percentile is the time that so many in a hundred runs stay below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar, final

from mesh.policy.queue.need import Need

Attempt = tuple[str, int]  # (job_id, attempt)
Code = Literal[
    "NoFit",
    "ForeignMemory",
    "Busy",
    "Drained",
    "Reserved",
    "Unreachable",
    "DependencyMissing",
    "ThermalLimit",
    "PowerCap",
    "Paused",
    "StaleView",
    "NotTrusted",
]
# A reservation by time needs a length; for what nobody can say, this one is taken.
ASSUMED_MS = 3_600_000
# What a started job is left in peace for, however important the next one is: loading a large model
# takes about this long, and stopping it earlier wins nothing and loses all.
MIN_RUNTIME_MS = 60_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a job takes of one device."""

    device_id: str
    need: Need


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An accepted attempt that has not started. `skips` is what the last decision said.

    `others`: what a gang takes of further devices of the same host. It starts on all of them at
    once; until then it holds none.
    """

    job_id: str
    attempt: int
    device_id: str
    need: Need
    priority: int = 50  # 0 to 100
    accepted_ms: int = 0
    arrived: int = 0  # number of its lease in the owner's chain: where a clock stood still
    deadline_ms: int | None = None  # an instant
    p50_ms: int = 0
    p80_ms: int = 0
    p90_ms: int = 0
    preemptible: bool = False
    min_runtime_ms: int = MIN_RUNTIME_MS
    skips: int = 0
    by: str = ""  # key of the job's home: whose reservation lets it start
    others: tuple[Part, ...] = ()
    trusted: bool = True  # whether its home may run jobs here

    @property
    def key(self) -> Attempt:
        return self.job_id, self.attempt

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it takes, device by device."""
        return Part(device_id=self.device_id, need=self.need), *self.others


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An attempt that was started, on the devices of `others` too. `loaded`: the readings of its
    devices' memory know of it."""

    job_id: str
    attempt: int
    device_id: str
    need: Need
    started_ms: int
    p50_ms: int = 0
    p80_ms: int = 0
    p90_ms: int = 0
    priority: int = 50
    preemptible: bool = False
    loaded: bool = False
    min_runtime_ms: int = MIN_RUNTIME_MS
    others: tuple[Part, ...] = ()

    @property
    def key(self) -> Attempt:
        return self.job_id, self.attempt

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it holds, device by device."""
        return Part(device_id=self.device_id, need=self.need), *self.others


Either = TypeVar("Either", Waiting, Running)


def one_by_one(job: Either) -> tuple[Either, ...]:
    """The attempt as each of its devices sees it."""
    if not job.others:
        return (job,)
    return tuple(
        replace(job, device_id=one.device_id, need=one.need, others=()) for one in job.parts
    )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Memory of each card that a program holds which the fleet did not start."""

    pid: int
    program: str
    bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Only `by`'s jobs start from `from_ms` until `until_ms`."""

    by: str
    from_ms: int
    until_ms: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """One device. Bytes are of each card; `free_bytes` is a reading made at `read_ms`.

    Devices that name one `host` share its RAM. A processor's memory is that RAM (`is_ram`).
    `max_jobs` 0: as many as fit. `drained` and `health` are "" where nothing is wrong.
    """

    device_id: str
    total_bytes: int
    free_bytes: int | None
    read_ms: int
    cards: int = 1
    ram_free_bytes: int | None = None
    max_jobs: int = 0
    foreign: tuple[Foreign, ...] = ()
    drained: str = ""
    reservations: tuple[Reservation, ...] = ()
    health: str = ""
    host: str = ""
    is_ram: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an attempt waits: a code for programs, a sentence with the numbers for people."""

    code: Code
    text: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """When an attempt starts and ends, as instants; None where nobody can say.

    `p_deadline` is the chance that it ends in time; None without a deadline.
    """

    start_p50_ms: int | None = None
    start_p90_ms: int | None = None
    end_p50_ms: int | None = None
    end_p90_ms: int | None = None
    p_deadline: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDecision:
    """What to start and to stop now, and what to tell of the rest.

    `skips` holds the counts to hand in next time, of those whose count changed. `reserved` is when
    the first in line of a device starts at the latest, if jobs keep to their p80 and nobody comes
    who ranks before it.
    """

    start: tuple[Attempt, ...] = ()
    preempt: tuple[Attempt, ...] = ()
    reasons: Mapping[Attempt, Reason] = field(default_factory=dict)
    predicted: Mapping[Attempt, Prediction] = field(default_factory=dict)
    skips: Mapping[Attempt, int] = field(default_factory=dict)
    reserved: Mapping[Attempt, int] = field(default_factory=dict)
