"""Events about budgets for tests: several authors speak, each with numbers of its own."""

from mesh.ledger.event import Event
from mesh.state.budgets.budget import Budget, named
from mesh.state.budgets.budgets import Budgets
from mesh.state.facts.budget import (
    EVENTS,
    FLEET,
    BudgetAdjusted,
    BudgetCapSet,
    BudgetGiven,
    BudgetHeld,
    BudgetPart,
    BudgetReleased,
    BudgetSettled,
    BudgetTaken,
)
from mesh.state.facts.fact import Fact, encode
from mesh.state.facts.serving import MONTH

T0 = 1_793_491_200_000  # 2026-11-01 00:00 UTC
NOV = 682  # months since 1970
USD = 10**9
FLEET_MONTH = Budget("A", FLEET, "", MONTH, "")
TYPES = {forms[0]: name for name, forms in EVENTS.items()}


class Tale:
    """Events in the order they were said, and what follows."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seqs: dict[str, int] = {}

    def say(self, author: str, fact: Fact, at_ms: int = T0) -> Event:
        return self.write(author, TYPES[type(fact)], encode(fact), at_ms)

    def write(self, author: str, kind: str, payload: dict[str, object], at_ms: int = T0) -> Event:
        seq = self.seqs[author] = self.seqs.get(author, 0) + 1
        event = Event(
            id=f"{author}{seq}", hash="", timestamp="", device_id="", event_type=kind,
            payload=payload, author=author, seq=seq, prev="", hlc=f"{at_ms:013d}-{seq:05d}",
            sig="", v=1,
        )  # fmt: skip
        self.events.append(event)
        return event

    def cap(self, usd: int, budget: Budget = FLEET_MONTH, first: int = NOV, last: int = NOV + 2,
            owned: str = "", *, lifted: bool = False, author: str = "",
            at_ms: int = T0) -> Event:  # fmt: skip
        fact = BudgetCapSet(
            budget=named(budget), cap_nusd=usd * USD, first=first, last=last, owned=owned,
            lifted=lifted,
        )  # fmt: skip
        return self.say(author or budget.owner, fact, at_ms)

    def gave(self, author: str, to: str, usd: int, name: str = "g", budget: Budget = FLEET_MONTH,
             first: int = NOV, last: int = NOV) -> Event:  # fmt: skip
        fact = BudgetGiven(
            give_id=name, budget=named(budget), to=to, amount_nusd=usd * USD, first=first, last=last
        )
        return self.say(author, fact)

    def took(self, author: str, giver: str, usd: int, name: str = "g",
             budget: Budget = FLEET_MONTH, first: int = NOV, last: int = NOV) -> Event:  # fmt: skip
        fact = BudgetTaken(
            give_id=name, giver=giver, budget=named(budget), amount_nusd=usd * USD, first=first,
            last=last,
        )  # fmt: skip
        return self.say(author, fact)

    def held(self, author: str, usd: int, name: str = "h", *budgets: Budget,
             period: int = NOV) -> Event:  # fmt: skip
        parts = tuple(
            BudgetPart(budget=named(one), period=period) for one in budgets or (FLEET_MONTH,)
        )
        return self.say(
            author, BudgetHeld(hold_id=name, parts=parts, amount_nusd=usd * USD, until_ms=T0)
        )

    def settled(self, author: str, usd: int, name: str = "h") -> Event:
        return self.say(author, BudgetSettled(hold_id=name, cost_nusd=usd * USD))

    def released(self, author: str, name: str = "h") -> Event:
        return self.say(author, BudgetReleased(hold_id=name, why="unused"))

    def adjusted(self, author: str, usd: int, name: str = "h") -> Event:
        return self.say(author, BudgetAdjusted(hold_id=name, cost_nusd=usd * USD))

    @property
    def book(self) -> Budgets:
        return folded(self.events)


def folded(events: list[Event]) -> Budgets:
    book = Budgets()
    for event in events:
        assert book.take(event, admin=True)
    return book


def free_usd(book: Budgets, author: str, budget: Budget = FLEET_MONTH, period: int = NOV) -> float:
    return book.money(author, budget, period).free / USD
