"""A bill as JSON: groups of rows with what they come to, how sure that is and how old."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from msgspec.structs import replace

from mathcore.units import HOUR_MS, NUSD
from mesh.api.bills.asked import BillAsked
from mesh.state.bills.inputs import BASES
from mesh.state.bills.lines import IDLE, UNKNOWN
from mesh.state.bills.tokens import PHASES, UNSPLIT, per_million
from mesh.state.peer_id import peer_id
from mesh.state.runs.sums import USED, DayRow, Group, add

Placed = tuple[str, DayRow]  # a local day or month, and a row of it
Row = dict[str, Any]
PERIODS: Final = ("day", "month")
KINDS: Final = (USED, IDLE, UNKNOWN)
NOBODY_S: Final = "(idle)"
NO_KEY: Final = "(no key)"
NONE: Final = "(none)"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What people call things, by id: peers, keys, and what hardware a device is; `rented`: the
    devices that are machines of a cloud."""

    peers: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    rented: frozenset[str] = frozenset()


def report(rows: Iterable[Placed], asked: BillAsked, names: Names, now_ms: int) -> Row:
    """All groups and the whole: `cost` and `*_cost` are dollars for reading, `*_nusd` exact.

    As the seed has it, a cost is what jobs used; idle and unknown stand beside it, and `total_nusd`
    is all three. `unknown_ms` above 0: `total_nusd` is a lower bound.
    """
    name, every = namer(asked.by, names), list(rows)
    groups: dict[str, list[DayRow]] = {}
    for period, row in every:
        groups.setdefault(name(period, row.group), []).append(row)
    key = "period" if asked.by in PERIODS else asked.by
    told = [{key: group, **_group(groups[group], names)} for group in _ordered(groups, asked.by)]
    return {
        "by": asked.by,
        "zone": asked.zone.key,
        "since": asked.first_day or None,
        "until": asked.day_after or None,
        "as_of": asked.as_of,
        "now_ms": now_ms,
        "groups": told,
        **amounts([row for _, row in every]),
    }


def namer(by: str, names: Names) -> Callable[[str, Group], str]:
    """What a row's group is called."""

    def used(of: Callable[[Group], str]) -> Callable[[str, Group], str]:
        return lambda _, group: of(group) if group.kind == USED else NOBODY_S

    found: dict[str, Callable[[str, Group], str]] = {
        "day": lambda period, _: period,
        "month": lambda period, _: period[:7],
        "device": lambda _, group: group.device,
        "owner": lambda _, group: _peer(names, group.owner),
        "kind": lambda _, group: group.kind,
        "user": used(lambda group: _peer(names, group.user)),
        "key": used(lambda group: names.keys.get(group.key, group.key) or NO_KEY),
        "model": used(lambda group: group.model or NONE),
        "engine": used(lambda group: group.engine or NONE),
        "job": used(lambda group: group.job or NONE),
    }
    return found[by]


def _peer(names: Names, author: str) -> str:
    """What people call a peer; the start of its id where nobody named it."""
    if not author:
        return NONE
    return names.peers.get(author) or (peer_id(author)[:7] if _is_key(author) else author)


def _is_key(text: str) -> bool:
    return len(text) == 64 and all(one in "0123456789abcdef" for one in text)


def _ordered(groups: Mapping[str, list[DayRow]], by: str) -> list[str]:
    """Periods and names in their order; all else the dearest first."""
    if by in (*PERIODS, "device"):
        return sorted(groups)
    return sorted(groups, key=lambda one: (-sum(row.nusd or 0 for row in groups[one]), one))


def _group(rows: list[DayRow], names: Names) -> Row:
    devices: dict[str, list[DayRow]] = {}
    for row in rows:
        devices.setdefault(row.group.device, []).append(row)
    told = [_device(device, devices[device], names) for device in sorted(devices)]
    return {"devices": told, **amounts(rows)}


def _device(device: str, rows: list[DayRow], names: Names) -> Row:
    used = _sum(row for row in rows if row.group.kind == USED)
    parts = {kind: _nusd(row for row in rows if row.group.kind == kind) for kind in KINDS}
    return {
        "device_id": device,
        "model": names.hardware.get(device, ""),
        "hours_used": round((used.unit_ms if used else 0) / HOUR_MS, 6),
        "duration_ms": used.unit_ms if used else 0,
        "cost": None if parts[USED] is None else parts[USED] / NUSD,
        "cost_nusd": parts[USED],
        "idle_nusd": parts[IDLE],
        "unknown_nusd": parts[UNKNOWN],
        "unknown_ms": sum(row.unknown_ms for row in rows),
        "basis": BASES[used.basis] if used else None,
        "rented": device in names.rented,
    }


def amounts(rows: list[DayRow]) -> Row:
    """What some rows come to; an amount of which nothing is known is null, of nothing 0."""
    whole, used = _sum(rows), _sum(row for row in rows if row.group.kind == USED)
    parts = {kind: _nusd(row for row in rows if row.group.kind == kind) for kind in KINDS}
    cost, generated = parts[USED], sum(row.generated_tokens for row in rows)
    return {
        "jobs": sum(row.jobs for row in rows),
        "total_cost": None if cost is None else cost / NUSD,
        "total_cost_nusd": cost,
        "idle_nusd": parts[IDLE],
        "unknown_nusd": parts[UNKNOWN],
        "total_nusd": _nusd(rows),
        "hours_used": round((used.unit_ms if used else 0) / HOUR_MS, 6),
        "unknown_ms": whole.unknown_ms if whole else 0,
        **{f"{kind}_unknown_ms": _unknown_ms(rows, kind) for kind in KINDS},
        "basis": BASES[whole.basis] if whole else None,
        "sources": whole.sources if whole else [],
        "oldest_ms": whole.told_ms if whole else None,
        "total_throughput": generated,
        "prompt_tokens": sum(row.prompt_tokens for row in rows),
        "cached_tokens": sum(row.cached_tokens for row in rows),
        "million_nusd": _millions(rows, cost),
    }


def _millions(rows: list[DayRow], cost: int | None) -> Row:
    """Nano-dollars of a million tokens of each phase, by what was measured of how long it took;
    `unsplit`: of all that was used, by a million generated. Null where there are no such tokens."""
    found: Row = {}
    for phase in PHASES:
        nusd = sum(getattr(row, f"{phase}_nusd") for row in rows)
        tokens = sum(getattr(row, f"{phase}_tokens") for row in rows)
        found[phase] = per_million(nusd, tokens) if nusd else None
    generated = sum(row.generated_tokens for row in rows)
    return {**found, UNSPLIT: None if cost is None else per_million(cost, generated)}


def _unknown_ms(rows: Iterable[DayRow], kind: str) -> int:
    return sum(row.unknown_ms for row in rows if row.group.kind == kind)


def _nusd(rows: Iterable[DayRow]) -> int | None:
    """The sum; None where there are rows and nothing of them is known."""
    every = list(rows)
    known = [row.nusd for row in every if row.nusd is not None]
    return sum(known) if known or not every else None


def _sum(rows: Iterable[DayRow]) -> DayRow | None:
    found: DayRow | None = None
    for row in rows:
        if found is None:
            found = replace(row, sources=list(row.sources))
        else:
            add(found, row)
    return found
