"""A device's local day in rows: what a bill by any grouping is added up from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, final
from zoneinfo import ZoneInfo

import msgspec

from mesh.state.bills.calendar import day_of
from mesh.state.bills.inputs import NOBODY, Run, Who
from mesh.state.bills.lines import IDLE, OUTSIDE, RANK, UNKNOWN, Line, Sum, apportion, sums
from mesh.state.bills.tokens import PHASES, split
from mesh.state.runs.rows import UsedRow

USED: Final = "used"


@final
class Group(msgspec.Struct, frozen=True, array_like=True):
    """What a row is of. `job` is "" in rows that are kept: of a million jobs nobody reads a day."""

    device: str
    owner: str
    kind: str  # used, idle or unknown
    user: str = ""
    key: str = ""
    model: str = ""
    engine: str = ""
    job: str = ""


@final
class DayRow(msgspec.Struct, array_like=True):
    """An amount of a group in a local day. `nusd` None: nothing of it is known. `prompt_nusd` to
    `generated_nusd`: what of it went into reading and writing, where that was measured."""

    group: Group
    nusd: int | None
    unit_ms: int
    unknown_ms: int
    basis: int  # its place in BASES
    sources: list[str]
    told_ms: int | None
    jobs: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    prompt_nusd: int = 0
    cached_nusd: int = 0
    generated_nusd: int = 0


Phases = tuple[int, int, int]  # nano-dollars of prompt, cached, generated
Used = Mapping[tuple[str, str], Mapping[str, UsedRow]]  # (day, job) -> key -> what it used
Days = dict[str, list[DayRow]]


def day_rows(
    lines: Iterable[Line],
    zone: ZoneInfo,
    whose: Mapping[str, Who],
    ran: Iterable[Run],
    used: Used,
    serving: Collection[str],
    *,
    by_job: bool = False,
) -> Days:
    """Lines of devices as rows by local day. A serving job is split by the keys that asked it;
    what they leave, as all of another job, is of the key that the job was submitted for, if any.

    Of one (device, day, job) all keys' parts add up to the job's lines exactly. `ran`:
    the runs that count as jobs, each on one of its devices. `serving`: jobs whose tokens are told
    by what requests used.
    """
    ended = _ended(ran, zone)
    parts = _parts(lines, zone)
    found: dict[str, dict[Group, Sum]] = {}
    phases: dict[tuple[str, Group], Phases] = {}
    for (day, device, owner, part), one in parts.items():
        kind = part if part in (IDLE, UNKNOWN) else USED
        who = whose.get(part, NOBODY) if kind == USED else NOBODY
        for key, share in _by_key(one, used.get((day, part), {}), who.key).items():
            group = Group(
                device=device,
                owner=owner,
                kind=kind,
                user=who.user,
                key=key,
                model=who.model,
                engine=who.engine,
                job=part if by_job and kind == USED else "",
            )
            _add(found.setdefault(day, {}), group, share)
            _split(phases, (day, group), share, who)
    days = {
        day: [_row(group, one, phases.get((day, group))) for group, one in rows.items()]
        for day, rows in found.items()
    }
    _tell_made(days, ended, used, whose, serving, by_job=by_job)
    return days


Part = tuple[str, str, str, str]  # day, device, owner, part


def _parts(lines: Iterable[Line], zone: ZoneInfo) -> dict[Part, Sum]:
    """Lines by day and part, all components together. Time without a price is counted once, where
    wear and power both have none: as long as the component that lacks it longest. A job outside of
    its device's time has neither, and that long more."""
    found: dict[Part, Sum] = {}
    outside: dict[Part, int] = {}

    def key(one: Line) -> tuple[str, str, str, str, str]:
        return day_of(one.at_ms, zone), one.device, one.owner, one.part, one.component

    for (*names, component), one in sums(lines, key).items():
        part = names[0], names[1], names[2], names[3]
        if component == OUTSIDE:
            outside[part], one.unknown_ms = one.unknown_ms, 0
        known = found.get(part)
        if known is None:
            found[part] = one
            continue
        longest = max(known.unknown_ms, one.unknown_ms)
        known.join(one)
        known.unknown_ms = longest
    for part, unknown_ms in outside.items():
        found[part].unknown_ms += unknown_ms
    return found


def _by_key(one: Sum, used: Mapping[str, UsedRow], own: str) -> dict[str, Sum]:
    """A job's sum by key, as their requests' cost. Requests without a key, and the time between
    requests, are of the job's own key, "" for none."""
    weights = {key: row.cost_nusd for key, row in used.items() if key and row.cost_nusd > 0}
    if not weights or not one.unit_ms + one.nusd:
        return {own: one}
    rest = max(0, _whole(used) - sum(weights.values()))
    weights[own] = weights.get(own, 0) + rest
    nusd = apportion(one.nusd, weights)
    unit_ms, unknown_ms = apportion(one.unit_ms, weights), apportion(one.unknown_ms, weights)
    return {key: one.part(nusd[key], unit_ms[key], unknown_ms[key]) for key in weights}


def _whole(used: Mapping[str, UsedRow]) -> int:
    return sum(row.cost_nusd for row in used.values())


def _add(rows: dict[Group, Sum], group: Group, one: Sum) -> None:
    known = rows.get(group)
    if known is None:
        rows[group] = one
    else:
        known.join(one)


def _split(
    phases: dict[tuple[str, Group], Phases], at: tuple[str, Group], one: Sum, who: Who
) -> None:
    """Add what a job's cost went into, by its measured phases."""
    if who.phases_ms is None or not one.nusd:
        return
    parts, known = split(one.nusd, who), phases.get(at, (0, 0, 0))
    found = [before + parts.get(name, 0) for before, name in zip(known, PHASES, strict=True)]
    phases[at] = found[0], found[1], found[2]


def _row(group: Group, one: Sum, phases: Phases | None) -> DayRow:
    prompt, cached, generated = phases or (0, 0, 0)
    return DayRow(
        group=group,
        nusd=one.amount,
        unit_ms=one.unit_ms,
        unknown_ms=one.unknown_ms,
        basis=RANK[one.basis],
        sources=sorted(one.sources - {"none"}),
        told_ms=one.told_ms,
        prompt_nusd=prompt,
        cached_nusd=cached,
        generated_nusd=generated,
    )


def _ended(runs: Iterable[Run], zone: ZoneInfo) -> list[tuple[str, Run]]:
    """Runs by the local day of their last instant."""
    return [(day_of(run.spans[-1][1] - 1, zone), run) for run in runs]


def _tell_made(
    days: Days,
    ended: Iterable[tuple[str, Run]],
    used: Used,
    whose: Mapping[str, Who],
    serving: Collection[str],
    *,
    by_job: bool,
) -> None:
    """Put jobs and tokens into a row of theirs: each counts once, on the day its run ended, of what
    requests used on the day they were."""
    for day, run in ended:
        of_job = run.job if by_job else ""
        row = _home_of(days.get(day, ()), run.device, run.who, of_job, run.who.key)
        if row is not None:
            row.jobs += 1
            if run.job not in serving:
                _made(row, *run.who.tokens)
    for (day, job), keys in used.items():
        who = whose.get(job)
        if who is None:
            continue
        for key, one in keys.items():
            of_job = job if by_job else ""
            row = _home_of(days.get(day, ()), "", who, of_job, key or who.key)
            if row is not None:
                read = max(0, one.prompt_tokens - one.cached_tokens)
                _made(row, read, one.cached_tokens, one.generated_tokens)


def _made(row: DayRow, prompt: int, cached: int, generated: int) -> None:
    row.prompt_tokens += prompt
    row.cached_tokens += cached
    row.generated_tokens += generated


def _home_of(rows: Iterable[DayRow], device: str, who: Who, job: str, key: str) -> DayRow | None:
    """The first row of such a group, of used time."""
    for row in rows:
        one = row.group
        same = (one.user, one.model, one.engine, one.job) == (who.user, who.model, who.engine, job)
        if one.kind == USED and same and one.key == key and device in ("", one.device):
            return row
    return None


def joined(rows: Iterable[DayRow], key: Callable[[Group], Group]) -> list[DayRow]:
    """Rows added up by what `key` leaves of their groups."""
    found: dict[Group, DayRow] = {}
    for one in rows:
        group = key(one.group)
        known = found.get(group)
        if known is None:
            found[group] = msgspec.structs.replace(one, group=group, sources=list(one.sources))
        else:
            add(known, one)
    return list(found.values())


def add(to: DayRow, one: DayRow) -> None:
    """Add a row to another; the weakest of what is not 0 says how sure the sum is."""
    known = [row.basis for row in (to, one) if row.nusd != 0]
    to.basis = min(known or [to.basis, one.basis])
    if one.nusd is not None:
        to.nusd = (to.nusd or 0) + one.nusd
    to.unit_ms += one.unit_ms
    to.unknown_ms += one.unknown_ms
    to.sources = sorted({*to.sources, *one.sources})
    told = [at for at in (to.told_ms, one.told_ms) if at is not None]
    to.told_ms = min(told, default=None)
    to.jobs += one.jobs
    to.prompt_nusd += one.prompt_nusd
    to.cached_nusd += one.cached_nusd
    to.generated_nusd += one.generated_nusd
    _made(to, one.prompt_tokens, one.cached_tokens, one.generated_tokens)
