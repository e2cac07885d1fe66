"""What must hold, at any moment and in the end; of what was run, not of what a peer believes."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from mesh.state.budgets.audit import audit, out_nusd, under_way_nusd
from mesh.state.budgets.budget import Budget, show_period
from mesh.state.budgets.budgets import Budgets
from mesh.state.budgets.entries import ADJUSTED
from mesh.state.facts.budget import BudgetHeld
from mesh.state.facts.serving import TOTAL

if TYPE_CHECKING:
    from tests.simulation.budgets.peer import Bought
    from tests.simulation.budgets.world import World


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the seed."""


class Judge:
    """Looks at a world from outside."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def run_nusd(self, budget: Budget, period: int) -> int:
        """What honest peers really spent, less what came back by invoices that they have read."""
        return sum(
            one.invoiced if self._is_invoiced(hold_id, one) else one.cost
            for hold_id, one in self.world.bought.items()
            if (budget, period) in one.parts and one.buyer in self.world.honest
        )

    def _is_invoiced(self, hold_id: str, one: "Bought") -> bool:
        hold = self.world.peers[one.buyer].book.word(one.buyer).holds.get(hold_id)
        return hold is not None and hold.end is not None and hold.end.rank == ADJUSTED

    def periods(self, held: BudgetHeld, at_ms: int) -> None:
        """A hold is in the periods that wall calendars show."""
        for part in held.parts:
            budget = Budget(*(getattr(part.budget, one) for one in Budget._fields))
            zone = ZoneInfo(budget.zone) if budget.zone else UTC
            day = datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d")
            shown = show_period(budget, part.period)
            same = budget.per == TOTAL or day.startswith(shown)
            self.world.must(same, f"{budget} counts {shown} on {day}")

    def check(self) -> None:
        """The caps hold, and everything that was run is held or booked."""
        for budget in self.world.budgets:
            owner = self.world.peers[budget.owner].book
            for period in self.world.periods(budget):
                self._cap_holds(owner, budget, period)
        for hold_id, one in self.world.bought.items():
            hold = self.world.peers[one.buyer].book.word(one.buyer).holds.get(hold_id)
            if hold is None:
                self.world.fail(f"{hold_id} was run and is not held")
            elif hold.is_open:
                self.world.must(hold.amount_nusd >= one.cost, f"{hold_id} cost more than held")
            else:
                booked = hold.spent_nusd >= one.invoiced
                self.world.must(booked, f"{hold_id}: {hold.spent_nusd} of {one.invoiced} booked")

    def _cap_holds(self, owner: Budgets, budget: Budget, period: int) -> None:
        out = out_nusd(owner, budget, period)
        ran, used, whole = self.run_nusd(budget, period), 0, 0
        for name in self.world.honest:
            peer = self.world.peers[name]
            money = peer.book.money(name, budget, period)
            used += money.held + money.spent
            whole += money.free + money.held + money.spent
            free = peer.free(budget, period)
            if min(money.free, free) < 0 and name != budget.owner:
                self.world.fail(f"{name} has {free} of {budget}")
        cap = owner.money(budget.owner, budget, period).cap
        if whole > cap:
            self.world.fail(f"{budget} {period}: purses come to {whole}, cap {cap}")
        if max(ran, used) > out:
            self.world.fail(f"{budget} {period}: {ran} run, {used} spent and held, {out} out")

    def final(self) -> None:
        """All know the same, whatever came when; the books say what was run, and add up."""
        self.check()
        books = [peer.book for peer in self.world.peers.values()]
        told = [book.believed() for book in books]
        self.world.must(all(one == told[0] for one in told), "peers believe different things")
        wronged = [one for one in audit(books[0]) if one.author in self.world.honest]
        self.world.must(not wronged, f"honest peers are named: {wronged[:1]}")
        opened = [word.open_ids for word in books[0].words.values() if word.open_ids]
        self.world.must(not opened, f"holds were left open: {opened}")
        for budget in self.world.budgets:
            for period in self.world.periods(budget):
                self._adds_up(books[0], budget, period)
        self._any_order(books[0])

    def _adds_up(self, book: Budgets, budget: Budget, period: int) -> None:
        those = [one for one in self.world.bought.values() if (budget, period) in one.parts]
        ran = sum(one.invoiced for one in those)
        held, booked = book.used(budget, period)
        self.world.must(
            booked == ran and not held, f"{budget} {period}: {booked} booked, {ran} run"
        )
        if len(self.world.honest) < len(self.world.peers):
            return  # a liar's word adds up to anything
        purses = sum(book.money(name, budget, period).free for name in self.world.peers)
        whole = purses + held + booked + under_way_nusd(book, budget, period)
        cap = book.money(budget.owner, budget, period).cap
        self.world.must(whole == cap, f"{budget} {period}: {whole} in all, cap {cap}")

    def _any_order(self, book: Budgets) -> None:
        """The same events in another order, and from a snapshot."""
        events = next(iter(self.world.peers.values())).disk
        again = Budgets()
        for author in self.world.dice.sample(sorted(book.words), len(book.words)):
            for event in events:
                if event.author == author:
                    again.take(event, admin=True)
        self.world.must(again.believed() == book.believed(), "the order of arrival matters")
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Budgets)
        self.world.must(kept == book, "a snapshot is another state")
