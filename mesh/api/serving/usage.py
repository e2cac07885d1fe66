"""What requests used, added up as somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from mathcore.units import DAY_MS
from mesh.api.errors import RequestError
from mesh.api.rows import Row
from mesh.api.serving.keys import key_name
from mesh.state.serving.usage import AMOUNTS, BEFORE, Used
from mesh.state.state import State

GROUPINGS: Final = ("key", "model", "device", "day")
NO_KEY: Final = "(no key)"
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
