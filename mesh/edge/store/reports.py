"""What checking and importing a ledger found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong, and the event it is wrong with; seq 0 when it is not about one event."""

    author: str
    seq: int
    text: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of re-checking a whole ledger of `count` events."""

    ok: bool
    count: int
    findings: tuple[Finding, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A line that was not taken in, and why. `line` counts from 1."""

    line: int
    text: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did with each of `lines`: admitted + known + held + rejected_count.

    `held` events wait for a predecessor and come in by themselves. `rejected` names the first ones.
    Empty lines are no lines.
    """

    lines: int
    admitted: int
    known: int
    held: int
    rejected: tuple[Rejected, ...]
    rejected_count: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """An author of whom events are missing after `after`; the damaged file knew of `beyond`."""

    author: str
    after: int
    beyond: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair kept; `aside` names the damaged file. `sound`: there was nothing to do."""

    sound: bool
    kept: int
    lost: tuple[Lost, ...]
    aside: str
