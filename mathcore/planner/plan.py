"""Where a query can run, best first, why not elsewhere, and what would do where nothing does.

Where no type of the usual quality fits anywhere, the best one that does is taken. Only memory sends
a question down the ladder: one that a limit stops is not answered with a worse type, which is named
among the ways out instead. `Limits.min_quality` ends the descent.
"""

import math

from mathcore.device import DeviceSpec
from mathcore.planner.answer import Plan
from mathcore.planner.placing import place
from mathcore.planner.query import Query
from mathcore.planner.refusals import NO_ENGINE, NO_MEMORY, wanted_engines
from mathcore.planner.ways_out import ways_out
from mathcore.quant.ladder import ladder, nats_of, usual_quality
from mathcore.speed.learning import Observation

# Added to a quality's last digits, so that a type of just that quality is not rounded away.
ROUNDING = 1e-9


def plan(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]] | None = None
) -> Plan:
    """Best first by the objective, then by id; the order of `devices` does not matter.

    `seen` holds finished jobs by device id: what they measured corrects the speed model there.
    Sets of devices are planned beside them (`Query.sets`) unless one device is named; where nothing
    does, the set that misses by least has a refusal of its own, and `Plan.ways_out` say what would.

    Where no type of the usual quality fits, the best one that does is taken (`descend`).

    Of more than `query.most` placements the best and all Pareto ones are given; `Plan.more` counts
    the rest. Devices `query.on` leaves out are counted, not refused.
    """
    known = {} if seen is None else seen
    answer = without_ways_out(query, devices, known)
    if answer.placements:
        return answer
    return Plan(
        query=query,
        placements=(),
        refusals=answer.refusals,
        not_asked=answer.not_asked,
        ways_out=ways_out(query, devices, known),
    )


def without_ways_out(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]]
) -> Plan:
    """As `plan`, for whoever asks again in a moment: where nothing does, only why not."""
    answer = place(query, devices, seen)
    return answer if answer.placements else descend(query, devices, seen, answer)


def lower_qualities(query: Query, devices: list[DeviceSpec]) -> list[float]:
    """What the types under the usual ones keep, the best first; [] where none may be tried."""
    if query.quant is not None or query.model.quant:
        return []
    present = {engine for device in devices for engine in device.engines}
    least, usual = query.limits.min_quality or 0.0, usual_quality(query.model)
    found: set[float] = set()
    for engine in wanted_engines(query):
        for quant in ladder(query.model, engine) if engine in present else ():
            quality = math.exp(-nats_of(query.model, quant))
            if least <= quality < usual:
                found.add(quality)
    return sorted(found, reverse=True)


def descend(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]], answer: Plan
) -> Plan:
    """The plan with the best lower type that fits anywhere; `answer`, which places nothing, with
    the refusals of the lowest where none does."""
    if _fits(answer):  # in memory: a limit stops it
        return answer
    qualities = lower_qualities(query, devices)
    if not qualities:
        return answer
    lowest = place(query, devices, seen, qualities[-1] - ROUNDING)
    if not _fits(lowest):
        return lowest
    for quality in qualities[:-1]:
        found = place(query, devices, seen, quality - ROUNDING)
        if _fits(found):
            return found
    return lowest


def _fits(answer: Plan) -> bool:
    """Whether something holds the model, be it within the limits or not."""
    if answer.placements:
        return True
    return any(refusal.code not in (NO_MEMORY, NO_ENGINE) for refusal in answer.refusals)
