"""Where a query can run, best first, why not elsewhere, and what would do where nothing does."""

from mathcore.device import DeviceSpec
from mathcore.planner.answer import Plan
from mathcore.planner.placing import place
from mathcore.planner.query import Query
from mathcore.planner.ways_out import ways_out
from mathcore.speed.learning import Observation


def plan(
    query: Query, devices: list[DeviceSpec], seen: dict[str, list[Observation]] | None = None
) -> Plan:
    """Best first by the objective, then by id; the order of `devices` does not matter.

    `seen` holds finished jobs by device id: what they measured corrects the speed model there.
    Sets of devices are planned beside them (`Query.sets`) unless one device is named; where nothing
    does, the set that misses by least has a refusal of its own, and `Plan.ways_out` say what would.

    Of more than `query.most` placements the best and all Pareto ones are given; `Plan.more` counts
    the rest. Devices `query.on` leaves out are counted, not refused.
    """
    known = {} if seen is None else seen
    answer = place(query, devices, known)
    if answer.placements:
        return answer
    return Plan(
        query=query,
        placements=(),
        refusals=answer.refusals,
        not_asked=answer.not_asked,
        ways_out=ways_out(query, devices, known),
    )
