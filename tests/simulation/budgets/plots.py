"""Schedules with a plot: fifty requests at once in one process, and owners that never come back."""

from collections.abc import Iterator

from mesh.state.budgets.budget import Budget, period_at
from mesh.state.facts.budget import FLEET, BudgetHeld
from mesh.state.facts.serving import MONTH
from tests.simulation.budgets.peer import Peer
from tests.simulation.budgets.world import CENT, MOMENTS, World

CALLS = 50


def parallel(
    seed: int, calls: int = CALLS, cap: int = 100 * CENT, most: int = 5 * CENT
) -> tuple[int, int]:
    """So many requests at once, cut at every wait, perhaps with a crash in the middle; (admitted,
    run)."""
    world = World(seed)
    peer = next(iter(world.peers.values()))
    budget = Budget(peer.name, FLEET, "parallel", MONTH, "")._replace(scope="key")
    peer.cap(budget, cap, *world.range(world.groups[0][0]))
    world.groups, world.budgets = [(budget,)], [budget]
    world._periods = {budget: [period_at(budget, MOMENTS[0])]}
    admitted: list[str] = []
    tasks = [_request(peer, f"r{n}", most, admitted) for n in range(calls)]
    crash_at = world.dice.choice((None, world.dice.randrange(3 * calls)))
    if world.dice.random() < 0.5:  # all reserve before any settles
        tasks = [one for one in tasks if next(one, "end") != "end"]
        fits = min(calls, cap // most)
        world.must(len(admitted) == fits, f"{len(admitted)} admitted of {calls}, {fits} fit")
    steps = 0
    while tasks:
        task = world.dice.choice(tasks)
        if next(task, "end") == "end":
            tasks.remove(task)
        world.judge.check()
        steps += 1
        if steps == crash_at:
            peer.crash()
            tasks.clear()
    world.settle()
    world.judge.final()
    return len(admitted), len(world.bought)


def _request(peer: Peer, hold_id: str, most: int, admitted: list[str]) -> Iterator[None]:
    made = peer.reserve(hold_id, peer.world.groups, most, MOMENTS[0])
    if not isinstance(made, BudgetHeld):
        return
    admitted.append(hold_id)
    yield
    peer.fsync()
    yield
    peer.call(hold_id)
    yield
    peer.settle()


def lost_owners(seed: int) -> int:
    """Owners are gone for good and every peer is alone: all that it took can be spent, to the last
    nano-dollar, and no more. How much was spent."""
    world = World(seed)
    world.meet_all()
    total = 0
    for peer in world.peers.values():
        peer.take_all()
        for at in MOMENTS:
            total += _drain(world, peer, at)
    world.judge.check()
    return total


def _drain(world: World, peer: Peer, at: int) -> int:
    spent = 0
    while left := _most(world, peer, at):
        hold_id = world.id()
        most = min(left, world.dice.randrange(1, 9) * CENT)
        peer.reserve(hold_id, world.groups, most, at)
        peer.fsync()
        peer.call(hold_id)
        world.must(hold_id in world.bought, f"{peer.name} may not spend what it has: {left}")
        peer.answers[hold_id] = most  # it costs all that was held
        one = world.bought[hold_id]
        one.cost = one.invoiced = most
        peer.asks.discard(hold_id)
        peer.settle()
        peer.fsync()
        spent += most
    made = peer.reserve(world.id(), world.groups, 1, at)
    world.must(not isinstance(made, BudgetHeld), f"{peer.name} spends what it has not")
    return spent


def _most(world: World, peer: Peer, at: int) -> int:
    return min(max(peer.free(one, period_at(one, at)) for one in group) for group in world.groups)
