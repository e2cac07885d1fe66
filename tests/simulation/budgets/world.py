"""One seeded schedule: peers that spend, give, crash and are cut off; then quiet, and the books.

The world knows what providers ran; peers know their disks. Raises Broken, with the seed, where an
invariant does not hold.
"""

import random

from mesh.policy.budgets.values import Group, Refusal
from mesh.state.budgets.budget import Budget, period_at
from mesh.state.budgets.entries import Part
from mesh.state.facts.budget import FLEET, JOB, PROVIDER, USER, BudgetHeld
from mesh.state.facts.serving import DAY, MONTH, TOTAL
from tests.simulation.budgets import liar
from tests.simulation.budgets.judge import Broken, Judge
from tests.simulation.budgets.peer import Bought, Peer

CENT = 10_000_000
STEPS = 90
DAY_MS = 86_400_000
BEGIN_MS = 1_793_230_200_000  # 2026-10-28 22:50 UTC: in Berlin and Kathmandu it is another day
# Days around the end of a month; clocks in Berlin go back three days before.
MOMENTS = tuple(BEGIN_MS + days * DAY_MS for days in (0, 2, 3))


class World:
    """All of one schedule."""

    def __init__(self, seed: int) -> None:
        self.seed, self.dice = seed, random.Random(seed)
        self.now, self.ids = BEGIN_MS, 0
        self.apart = self.refused = self.admitted = 0  # purchases
        self.held: dict[str, tuple[tuple[Part, ...], int]] = {}  # as was said, and what at most
        self.bought: dict[str, Bought] = {}
        names = [f"p{n}" for n in range(self.dice.randint(2, 5))]
        self.groups = self._budgets(names)
        self.budgets = [one for group in self.groups for one in group]
        at = {one: sorted({period_at(one, ms) for ms in MOMENTS}) for one in self.budgets}
        self._periods: dict[Budget, list[int]] = at
        names += [liar.NAME] if liar.lies_in(seed) else []
        self.peers = {name: Peer(name, self) for name in names}
        self.honest = [name for name in names if name != liar.NAME]
        self.sides = dict.fromkeys(names, 0)
        self.judge = Judge(self)
        for budget in self.budgets:
            self._found(budget)
        if self.dice.random() < 0.8:
            self.meet_all()
            for peer in self.peers.values() if self.dice.random() < 0.6 else ():
                peer.take_all()

    def _budgets(self, names: list[str]) -> list[Group]:
        """Nested, each with an owner; sometimes two of the fleet, whose money adds up."""
        second = names[1 % len(names)]
        fleet = [Budget(names[0], FLEET, "", MONTH, "")]
        if self.dice.random() < 0.3:
            fleet.append(Budget(second, FLEET, "", MONTH, ""))
        vast = Budget(second, PROVIDER, "vastai", DAY, "Asia/Kathmandu")
        ann = Budget(self.dice.choice(names), USER, "ann", DAY, "Europe/Berlin")
        job = Budget(names[-1], JOB, "j1", TOTAL, "")
        return [tuple(fleet), (vast,), (ann,), (job,)]

    def _found(self, budget: Budget) -> None:
        """Its cap, and standing slices for most others, in each of its periods."""
        owner, (first, last) = self.peers[budget.owner], self.range(budget)
        owner.cap(budget, 100 * CENT, first, last)
        for other in self.peers:
            if self.dice.random() < 0.8 and other != budget.owner:
                owner.give(budget, other, self.dice.randrange(1, 30) * CENT, first, last)
                owner.fsync()

    # What is asked by all

    def id(self) -> str:
        self.ids += 1
        return f"e{self.ids}"

    def periods(self, budget: Budget) -> list[int]:
        return self._periods[budget]

    def range(self, budget: Budget) -> tuple[int, int]:
        return self._periods[budget][0], self._periods[budget][-1]

    def fail(self, text: str) -> None:
        raise Broken(f"seed {self.seed}: {text}")

    def must(self, holds: bool, text: str) -> None:  # noqa: FBT001
        if not holds:
            self.fail(text)

    def run(self, buyer: str, hold_id: str) -> int:
        """A provider does it, and it costs something up to what is held."""
        self.must(hold_id not in self.bought, f"{hold_id} was bought twice")
        parts, most = self.held[hold_id]
        cost = self.dice.randint(0, most)
        back = self.dice.randint(0, cost) if self.dice.random() < 0.2 else 0
        self.bought[hold_id] = Bought(buyer, cost, cost - back, parts)
        return cost

    def meet_all(self) -> None:
        for one in self.peers.values():
            for other in self.peers.values():
                one.pull(other)

    # One schedule

    def play(self) -> None:
        """All of it."""
        for _ in range(STEPS):
            self.step()
            self.judge.check()
        self.settle()
        self.judge.final()

    def step(self) -> None:
        self.now += self.dice.randint(0, 5)
        peer, other = (self.dice.choice(list(self.peers.values())) for _ in range(2))
        if peer.name == liar.NAME and self.dice.random() < 0.3:
            liar.lie(self, peer)
        what = self.dice.random()
        if what < 0.06:
            parts = self.dice.choice((1, 2, 3))
            self.sides = {name: self.dice.randrange(parts) for name in self.peers}
        elif what < 0.22:
            if self.sides[peer.name] == self.sides[other.name]:
                peer.pull(other)
        elif what < 0.30:
            peer.take_all()
        elif what < 0.38:
            self.give(peer, other)
        elif what < 0.42:
            self.change_cap(peer)
        elif what < 0.60:
            self.buy(peer)
        elif what < 0.70:
            peer.fsync()
        elif what < 0.80:
            peer.call_all()
        elif what < 0.88:
            peer.settle()
            peer.invoices()
        elif what < 0.92:
            peer.lapse()
        elif what < 0.95:
            peer.look_up()
        elif what < 0.97:
            peer.hand_back()
        else:
            peer.crash()

    def give(self, peer: Peer, other: Peer) -> None:
        budget = self.dice.choice(self.budgets)
        first = self.dice.choice(self.periods(budget))
        last = self.dice.choice([one for one in self.periods(budget) if one >= first])
        if other is not peer:
            peer.give(budget, other.name, self.dice.randrange(1, 40) * CENT, first, last)

    def change_cap(self, peer: Peer) -> None:
        for budget in self.budgets:
            if budget.owner == peer.name and self.dice.random() < 0.5:
                peer.cap(budget, self.dice.randrange(0, 200) * CENT, *self.range(budget))

    def buy(self, peer: Peer) -> None:
        groups = self.groups[: self.dice.randint(1, 4)]
        if self.dice.random() < 0.2:
            groups = [self.groups[0], self.groups[2]]
        at = self.dice.choice(MOMENTS)
        most = self.dice.randrange(1, 20) * CENT
        free = min(max(peer.free(one, period_at(one, at)) for one in group) for group in groups)
        if self.dice.random() < 0.3 and free > 0:
            most = free  # all it has
        hold_id = self.id()
        made = peer.reserve(hold_id, groups, most, at)
        is_held = isinstance(made, BudgetHeld)
        self.must(is_held == (most <= free), f"{peer.name} has {free}, asks {most}: {made}")
        if isinstance(made, Refusal):
            self.must(made.missing_nusd == most - free, f"{made} of {free}, asked {most}")
        if isinstance(made, BudgetHeld):
            self.judge.periods(made, at)
            cut = any(self.sides[peer.name] != self.sides[one.owner] for one in self.budgets)
            self.apart += cut  # admitted while an owner is out of reach
        self.admitted += is_held
        self.refused += not is_held

    def settle(self) -> None:
        """All is whole again; every outcome is looked up."""
        for peer in self.peers.values():
            if self.dice.random() < 0.5:
                peer.crash()
            peer.fsync()
            peer.call_all()
            peer.settle()
            peer.fsync()
            while peer.asks & peer.book.word(peer.name).open_ids:
                peer.look_up()
                peer.fsync()
            self.now += 1000
            peer.lapse()
            peer.fsync()
            peer.invoices()
            peer.fsync()
        for _ in range(3):
            self.meet_all()
            for peer in self.peers.values():
                peer.take_all()
        self.meet_all()
        self.meet_all()
