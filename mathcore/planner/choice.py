"""What a device or a set would run: the best within the limits, and what another one beats."""

from typing import final

from mathcore.device import DeviceSpec
from mathcore.planner.limits import cost_refusal, late_refusal, quality_refusal, rate_refusal
from mathcore.planner.prices import Price
from mathcore.planner.query import Query
from mathcore.planner.refusals import NO_ENGINE, Refusal, refuse
from mathcore.planner.search import Option
from mathcore.price import cost_nusd
from mathcore.units import HOUR_MS, NUSD

# What the balanced objective takes an hour of waiting for.
WAITING_NUSD_PER_HOUR = NUSD


def cost_of(device: DeviceSpec, ms: float) -> float:
    """Nano-dollars of so many milliseconds there."""
    return float(cost_nusd(device.rate, int(ms)))


def score(query: Query, option: Option, cost: float) -> float:
    """Smaller is better, by the query's objective; one number for all devices.

    Loading does not count: it happens once, and takes as long on a fast card as on a slow one.
    `cost` is the answer's.
    """
    answer = option.judged_ms
    if query.objective == "fastest":
        return answer
    if query.objective == "cheapest":
        return cost
    return (cost + answer * WAITING_NUSD_PER_HOUR / HOUR_MS) * option.worth


def _broken(query: Query, device: DeviceSpec, option: Option) -> Refusal | None:
    """The first limit this option breaks here."""
    limits = query.limits
    no = late_refusal(limits, device, option.duration_ms, option.answer_ms, option.first_ms)
    if no is None:
        each = query.tokens / option.timed.rest_s.p90 if option.timed.rest_s.p90 > 0.0 else 0.0
        no = rate_refusal(limits, device, each)
    if no is None and limits.max_cost_nusd is not None:
        no = cost_refusal(limits, device, cost_of(device, option.duration_ms.p90))
    if no is None:
        no = quality_refusal(limits, device, option.layout.quant, option.quality)
    return no


def choose(query: Query, device: DeviceSpec, options: list[Option]) -> Option | Refusal:
    """The best option within the limits; the first refusal where there is none."""
    best: Option | None = None
    least: tuple[float, float, float] = (0.0, 0.0, 0.0)
    refusal: Refusal | None = None
    for option in options:
        no = _broken(query, device, option)
        if no is not None:
            refusal = refusal if refusal is not None else no
            continue
        cost = cost_of(device, option.judged_ms)
        own = (score(query, option, cost), option.judged_ms, option.nats)
        if best is None or own < least:
            best, least = option, own
    if best is not None:
        return best
    return refusal if refusal is not None else refuse(device, NO_ENGINE, "nothing to try")


@final
class Choice:
    """A device and what it would run, before anybody knows whether it will be shown.

    `cost` is what it is ranked by: of the answer, loading left out, and the unknown part of a
    price counts as the dearest known one.
    """

    __slots__ = ("corner", "cost", "device", "option", "pareto", "price", "rank", "score")

    def __init__(self, query: Query, device: DeviceSpec, option: Option, price: Price) -> None:
        self.device = device
        self.option = option
        self.price = price
        answer = option.judged_ms
        self.cost = price.ranked_nusd(cost_of(device, answer), answer)
        self.score = score(query, option, self.cost)
        self.pareto = False
        self.rank = (self.score, answer, self.cost, device.device_id)
        self.corner = (self.cost, answer, option.nats, device.device_id)


def rank_of(choice: Choice) -> tuple[float, float, float, str]:
    """The order placements are given in."""
    return choice.rank


def _corner(choice: Choice) -> tuple[float, float, float, str]:
    return choice.corner


def mark_pareto(choices: list[Choice]) -> None:
    """Mark what nothing else beats: nothing is at once no dearer, no slower, no worse, and better
    in one of the three."""
    best: list[tuple[float, float]] = []  # (answer, nats) met so far, at no higher cost
    ordered = sorted(choices, key=_corner)
    last: Choice | None = None
    for choice in ordered:
        cost, answer, nats, _ = choice.corner
        if last is not None and last.corner[:3] == (cost, answer, nats):
            choice.pareto = last.pareto
            continue
        own = (answer, nats)
        choice.pareto = True
        for other in best:
            if other[0] <= answer and other[1] <= nats:
                choice.pareto = False
                break
        if choice.pareto:
            best.append(own)
        last = choice


def is_pointless(a: Choice, b: Choice) -> bool:
    """Whether `b` makes set `a` pointless: no dearer, slower, worse or later, or just the same."""
    mine = (a.cost, a.option.judged_ms, a.option.told_nats, float(a.device.wait_ms))
    other = (b.cost, b.option.judged_ms, b.option.told_nats, float(b.device.wait_ms))
    for i in range(4):
        if other[i] > mine[i]:
            return False
    return other != mine or rank_of(b) < rank_of(a)
