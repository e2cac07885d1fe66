"""One daemon as far as budgets go: its disk, what it heard of others, and the live code on that."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mesh.ledger import hlc
from mesh.ledger.event import NO_PREV, Event
from mesh.policy.budgets.shares import return_due, takes_due
from mesh.policy.budgets.spender import Spender
from mesh.policy.budgets.values import Ask, Group, Refusal
from mesh.state.budgets.budget import Budget, named
from mesh.state.budgets.budgets import Budgets, parts_of
from mesh.state.budgets.entries import ADJUSTED, Part
from mesh.state.facts.budget import EVENTS, BudgetCapSet, BudgetGiven, BudgetHeld
from mesh.state.facts.fact import Fact, encode

if TYPE_CHECKING:
    from tests.simulation.budgets.world import World

TYPES = {forms[0]: name for name, forms in EVENTS.items()}


@dataclass
class Bought:
    """What a provider ran for a hold: it is true whoever knows of it."""

    buyer: str
    cost: int
    invoiced: int  # what the invoice will say, at most the cost
    parts: tuple[Part, ...]


class Peer:
    """A daemon. `queue` is written and not on disk: a crash loses it."""

    def __init__(self, name: str, world: "World") -> None:
        self.name, self.world = name, world
        self.disk: list[Event] = []
        self.heard: dict[str, int] = {name: 0}  # how many events of each author
        self.made = 0  # numbers of its own events
        self.wake()

    def wake(self) -> None:
        """A new process: all it knows is on its disk."""
        self.queue: list[Event] = []
        self.made = sum(one.author == self.name for one in self.disk)
        self.book = Budgets()
        for event in self.disk:
            self.book.take(event, admin=True)
        self.spender = Spender(self.name)
        self.answers: dict[str, int] = {}
        self.asks: set[str] = set(self.spender.doubtful(self.book))

    def crash(self) -> None:
        """Perhaps the disk has some of what was on its way to it."""
        self.queue = self.queue[: self.world.dice.randint(0, len(self.queue))]
        self.fsync()
        self.wake()

    def say(self, fact: Fact | None) -> None:
        """Write a fact."""
        if fact is None:
            return
        self.made += 1
        name = f"{self.name}.{self.made}"
        stamp = hlc.render(hlc.Stamp(self.world.now, self.made))
        self.queue.append(
            Event(
                id=name, hash=name, timestamp="", device_id="", event_type=TYPES[type(fact)],
                payload=encode(fact), author=self.name, seq=self.made, prev=NO_PREV, hlc=stamp,
                sig="", v=1,
            )
        )  # fmt: skip

    def fsync(self) -> None:
        """What was written is on disk, and then in the state."""
        for event in self.queue:
            self.keep(event)
        self.queue = []

    def keep(self, event: Event) -> None:
        self.disk.append(event)
        self.heard[event.author] = self.heard.get(event.author, 0) + 1
        self.book.take(event, admin=True)

    def pull(self, other: "Peer") -> None:
        """Hear what another has on disk, each author's events in their order."""
        for event in other.disk:
            if event.seq == self.heard.get(event.author, 0) + 1 and event.author != self.name:
                self.keep(event)

    # Buying

    def free(self, budget: Budget, period: int) -> int:
        return self.spender.free(self.book, budget, period)

    def reserve(
        self, hold_id: str, groups: list[Group], most: int, now: int
    ) -> BudgetHeld | Refusal | None:
        """Check, deduct and write, in one step."""
        ask = Ask(hold_id=hold_id, most_nusd=most, now_ms=now, until_ms=self.world.now + 20)
        made = self.spender.reserve(self.book, ask, groups)
        if isinstance(made, BudgetHeld):
            self.say(made)
            self.world.held[hold_id] = parts_of(made), most
        return made

    def call(self, hold_id: str) -> None:
        """Ask the provider, if one may; it costs anything up to the hold, and its answer may be
        lost."""
        if hold_id in self.asks or not self.spender.begin(self.book, hold_id):
            return
        cost = self.world.run(self.name, hold_id)
        if self.world.dice.random() < 0.8:
            self.answers[hold_id] = cost
        else:
            self.asks.add(hold_id)

    def call_all(self) -> None:
        for hold_id in sorted({*self.book.word(self.name).open_ids, *self.waiting()}):
            self.call(hold_id)

    def waiting(self) -> list[str]:
        """Holds on their way to the disk."""
        held = [one for one in self.queue if one.event_type == "budget_held"]
        return [str(one.payload["hold_id"]) for one in held]

    def settle(self) -> None:
        """Answers come, some of them twice."""
        for hold_id in sorted(self.answers):
            for _ in range(self.world.dice.choice((1, 1, 2))):
                self.say(self.spender.settle(self.book, hold_id, self.answers[hold_id]))
        done = [one for one in self.answers if one not in self.book.word(self.name).open_ids]
        for hold_id in done:
            del self.answers[hold_id]

    def invoices(self) -> None:
        """Invoices are read again and again."""
        holds = self.book.word(self.name).holds
        for hold_id, one in sorted(self.world.bought.items()):
            known = holds.get(hold_id)
            if known is None or known.end is None:
                continue
            if one.invoiced != known.spent_nusd or known.end.rank == ADJUSTED:
                self.say(self.spender.adjust(self.book, hold_id, one.invoiced))

    def lapse(self) -> None:
        for hold_id in self.spender.lapsed(self.book, self.world.now):
            if hold_id not in self.asks:
                self.say(self.spender.release(self.book, hold_id, "lapsed"))

    def look_up(self) -> None:
        """Ask the provider about what may have been bought."""
        for hold_id in sorted(self.asks & self.book.word(self.name).open_ids):
            if self.world.dice.random() < 0.8:
                self.asks.discard(hold_id)
                self.found(hold_id, self.world.bought.get(hold_id))

    def found(self, hold_id: str, one: Bought | None) -> None:
        if one is None:
            self.say(self.spender.release(self.book, hold_id, "absent"))
        else:
            self.say(self.spender.settle(self.book, hold_id, one.cost))

    # Money between peers

    def cap(self, budget: Budget, nusd: int, first: int, last: int) -> None:
        """The owner's word, as a person typed it."""
        self.say(BudgetCapSet(budget=named(budget), cap_nusd=nusd, first=first, last=last))
        self.fsync()

    def give(self, budget: Budget, to: str, nusd: int, first: int, last: int) -> None:
        made = self.spender.give(
            self.book, self.world.id(), budget, to, nusd, first=first, last=last
        )
        if isinstance(made, BudgetGiven):
            self.say(made)

    def take_all(self) -> None:
        """What was said already is not said again: it is on disk first."""
        for fact in takes_due(self.book, self.name):
            self.say(fact)
        self.fsync()

    def hand_back(self) -> None:
        for budget in self.world.budgets:
            for period in self.world.periods(budget):
                free = self.free(budget, period)
                due = return_due(self.book, self.name, budget, period, free)
                if due is not None:
                    self.give(budget, budget.owner, due.nusd, period, period)
