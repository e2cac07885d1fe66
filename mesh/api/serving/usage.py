"""What requests used, added up as somebody asks; and the bill by key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mathcore.units import DAY_MS
from mesh.api.errors import RequestError
from mesh.api.rows import Row, billed
from mesh.api.serving.keys import key_name
from mesh.state.billing import KEY, Bill, cost_report
from mesh.state.serving.usage import AMOUNTS, BEFORE, Used
from mesh.state.state import State

GROUPINGS: Final = ("key", "model", "device", "day")
NO_KEY: Final = "(no key)"
IDLE: Final = "(idle or no key)"
# What requests cost of jobs that go on: their bills come at their end, and the total is the bill's.
UNBILLED: Final = "(not billed yet)"
EARLIER: Final = "earlier"
OTHERS: Final = "(others)"  # of names a peer said too many of

Sums = tuple[int, str, str, str]  # day, key, model, device


def usage_report(state: State, by: str, since_ms: int = 0) -> Row:
    """Usage by one of GROUPINGS since the UTC day of an instant; the most dear first, days in
    order. What is too old to be told by day counts where nobody asks since when."""
    if by not in GROUPINGS:
        raise RequestError("BadField", f"by={by[:40]!r}", f"one of {', '.join(GROUPINGS)}")
    name, first = _names(state)[by], since_ms // DAY_MS
    groups: dict[str, Used] = {}
    total = Used()
    for at, used in state.usage.items():
        if at[0] >= first or not since_ms:
            groups[name(at)] = groups.get(name(at), Used()) + used
            total += used
    dear = sorted(groups.items(), key=lambda one: (-one[1].cost_nusd, -one[1].requests, one[0]))
    rows = [*groups.items()] if by == "day" else dear
    told = [{by: group, **_amounts(used)} for group, used in rows]
    return {"by": by, "since_ms": since_ms, "groups": told, "total": _amounts(total)}


def _names(state: State) -> dict[str, Callable[[Sums], str]]:
    """How a group is called."""
    keys, devices = state.keys, state.devices

    def device(at: Sums) -> str:
        known = devices.get(at[3])
        return known.name if known is not None else at[3] or OTHERS

    return {
        "key": lambda at: key_name(keys, at[1]) or NO_KEY,
        "model": lambda at: at[2] or OTHERS,
        "device": device,
        "day": lambda at: EARLIER if at[0] == BEFORE else _day(at[0]),
    }


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


def _amounts(used: Used) -> Row:
    row: Row = {name: getattr(used, name) for name in AMOUNTS}
    basis = "estimated" if used.estimated else "measured" if used.energy_mj else ""
    return row | {"energy_basis": basis}


def cost_by(state: State, by: str) -> dict[str, object]:
    """The bill by one of the bill's groupings, or by "key"."""
    bills = billed(state)
    return cost_report(_by_key(state, bills) if by == KEY else bills, by)


def _by_key(state: State, bills: Iterable[Bill]) -> Iterator[Bill]:
    """The same sum, split: what each key's requests cost, and on each device the rest."""
    had: dict[str, Bill] = {}
    for one in bills:
        had[one.device_id] = _added(had.get(one.device_id), one)
    keys, rest = state.keys, {device_id: one.cost_nusd for device_id, one in had.items()}
    tokens = {device_id: one.tokens for device_id, one in had.items()}
    for (day, key_id, model, device_id), used in state.usage.items():
        if not key_id:
            continue
        rest[device_id] = rest.get(device_id, 0) - used.cost_nusd
        tokens[device_id] = tokens.get(device_id, 0) - used.generated_tokens
        yield Bill(
            key=key_name(keys, key_id),
            job_id="",
            device_id=device_id,
            device_model=state.device_model(device_id),
            model=model,
            ended_ms=max(0, day) * DAY_MS,
            duration_ms=0,
            cost_nusd=used.cost_nusd,
            tokens=used.generated_tokens,
            jobs=0,
        )
    for device_id, cost in rest.items():
        yield from _rest(state, device_id, had.get(device_id), cost, max(0, tokens[device_id]))


def _added(sum_: Bill | None, one: Bill) -> Bill:
    if sum_ is None:
        return replace(one, job_id="", model="", key=IDLE)
    return replace(
        sum_,
        duration_ms=sum_.duration_ms + one.duration_ms,
        cost_nusd=sum_.cost_nusd + one.cost_nusd,
        tokens=sum_.tokens + one.tokens,
        jobs=sum_.jobs + one.jobs,
        device_model=one.device_model,
    )


def _rest(state: State, device_id: str, had: Bill | None, cost: int, tokens: int) -> Iterator[Bill]:
    """What no key's requests used of a device, and what they used that nobody billed yet."""
    idle = had or Bill(
        key=IDLE,
        job_id="",
        device_id=device_id,
        device_model=state.device_model(device_id),
        model="",
        ended_ms=0,
        duration_ms=0,
        cost_nusd=0,
        tokens=0,
        jobs=0,
    )
    if had is not None:
        yield replace(idle, cost_nusd=max(0, cost), tokens=tokens)
    if cost < 0:
        yield replace(idle, key=UNBILLED, cost_nusd=cost, duration_ms=0, tokens=0, jobs=0)
