"""Intentions, imperative: what this peer should do next; `mesh.edge` does it.

Each is safe to repeat after a crash at any point.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlaceJob:
    """Choose where a pending job runs, among the fleet's devices. As its home."""

    job_id: str


@dataclass(frozen=True, slots=True)
class ClaimDevice:
    """Claim the device an attempt was dispatched to, of the same owner until it answers."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WithdrawClaim:
    """Have the owner of a device say that an attempt is over before it began, or end it."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class AskOwner:
    """See whether an owner is still heard of: the job may be tried elsewhere if it is not."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class EndJob:
    """End a cancelled job that no owner has."""

    job_id: str


@dataclass(frozen=True, slots=True)
class LoseAttempt:
    """Say that an attempt is over whose owner was put out: nothing that it says counts any more."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start an accepted attempt, as its device's owner: an attempt is started once."""

    job_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class WatchJob:
    """See whether a running attempt has ended, and book its end."""

    job_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StopJob:
    """End an attempt: a person cancelled the job, or another attempt takes its place."""

    job_id: str
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class EndStray:
    """End what runs on this peer's device and is no attempt of its any more."""

    job_id: str
    attempt: int = 1


AtHome = PlaceJob | ClaimDevice | WithdrawClaim | AskOwner | LoseAttempt | EndJob
AtDevice = StartJob | WatchJob | StopJob | EndStray
Command = AtHome | AtDevice
