"""Usage as one event holds it: equal rows are one, and there are not too many."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mesh.state.facts.serving import TailFact, UsageRow
from mesh.state.serving.keys import MAX_ID, MAX_MODEL_NAME
from mesh.state.serving.usage import AMOUNTS, MAX_DEVICE_ID, MAX_ROWS

Name = tuple[str, str, str, str]  # key, model, device, job


def bounded_rows(rows: Iterable[UsageRow]) -> tuple[UsageRow, ...]:
    """The rows as they may be signed: names cut to their bounds, rows of one name added up.

    What is beyond MAX_ROWS becomes a row of its device that names no key, the cheapest first.
    """
    found = _merged(map(_named, rows))
    while len(found) > MAX_ROWS:
        dear = sorted(found, key=lambda one: (-one.cost_nusd, -one.requests, _name(one)))
        room = MAX_ROWS - len({one.device_id for one in dear})
        if room <= 0:  # more devices than rows: the last ones are of too little use
            return tuple(_merged(_nameless(one) for one in dear)[:MAX_ROWS])
        kept = [one for one in dear if one.key_id][:room]
        found = _merged([*kept, *(_nameless(one) for one in dear if one not in kept)])
    return tuple(found)


def _name(one: UsageRow) -> Name:
    return one.key_id, one.model, one.device_id, one.job_id


def _named(one: UsageRow) -> UsageRow:
    """A key or a device with a longer id is none of ours."""
    return msgspec.structs.replace(
        one,
        key_id=one.key_id[:MAX_ID],
        model=one.model[:MAX_MODEL_NAME],
        device_id=one.device_id[:MAX_DEVICE_ID],
        job_id=one.job_id[:MAX_DEVICE_ID],
    )


def _nameless(one: UsageRow) -> UsageRow:
    return msgspec.structs.replace(one, key_id="", model="", job_id="")


def _merged(rows: Iterable[UsageRow]) -> list[UsageRow]:
    """One row for each name, in order of first appearance."""
    found: dict[Name, UsageRow] = {}
    for one in rows:
        known = found.get(_name(one))
        found[_name(one)] = one if known is None else _sum(known, one)
    return list(found.values())


def _sum(a: UsageRow, b: UsageRow) -> UsageRow:
    sums = {name: getattr(a, name) + getattr(b, name) for name in AMOUNTS}
    said = {one.energy_basis for one in (a, b) if one.energy_mj}
    basis = "estimated" if "estimated" in said else min(said, default="")
    return msgspec.structs.replace(
        a,
        **sums,
        energy_basis=basis,
        first_token_ms=_slower(a.first_token_ms, b.first_token_ms),
        duration_ms=_slower(a.duration_ms, b.duration_ms),
    )


def _slower(a: TailFact | None, b: TailFact | None) -> TailFact | None:
    """Percentiles don't add up: the worse of each is an upper bound."""
    if a is None or b is None:
        return a or b
    return TailFact(p50=max(a.p50, b.p50), p90=max(a.p90, b.p90), p99=max(a.p99, b.p99))
