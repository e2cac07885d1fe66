"""Facts about budgets: what may be spent, who was given how much of it, what is held and was spent.

A purse is what one peer may spend of a budget in one period: what its own events say, and nothing
else. Periods are counted from 1970: "day" by days, "month" by months, each as the calendar of the
budget's zone has them; "total" has one, 0. All money is whole nano-dollars.
"""

from typing import Annotated, Final

from mesh.state.facts.fact import Fact, amount, said
from mesh.state.facts.serving import BUDGET_PERIODS

SINCE: Final = "0.6.0"
NUSD: Final = "nano-USD"
FLEET, USER, KEY, PROVIDER, JOB = "fleet", "user", "key", "provider", "job"
SCOPES: Final = (FLEET, USER, KEY, PROVIDER, JOB)
PERIODS: Final = BUDGET_PERIODS
# What of owned work a budget is about.
CLOUD, CLOUD_STOP, ALL = "cloud", "cloud, stop", "all"
OWNED: Final = (CLOUD, CLOUD_STOP, ALL)

HoldId = Annotated[str, said("Which hold; unique of its author", since=SINCE)]
First = Annotated[int, amount("First period it counts for", "days or months", since=SINCE)]
Last = Annotated[int, amount("Last period it counts for", "days or months", since=SINCE)]


class BudgetNamed(Fact, frozen=True, kw_only=True):
    """Which budget: these five together are its name. Another zone is another budget."""

    owner: Annotated[str, said("Key of the peer that alone says its cap", since=SINCE)]
    scope: Annotated[str, said('"fleet", "user", "key", "provider" or "job"', since=SINCE)]
    of: Annotated[str, said("Which user, key, provider or job; none = fleet", since=SINCE)] = ""
    per: Annotated[str, said('"day", "month" or "total"', since=SINCE)]
    zone: Annotated[str, said("Whose calendar, as IANA names it; none = UTC", since=SINCE)] = ""


class BudgetCapSet(Fact, frozen=True, kw_only=True):
    """What may be spent in each of those periods; the owner's later word counts. Its purse begins
    with it: others can spend what they are given of it."""

    budget: Annotated[BudgetNamed, said("Which budget; its owner is the author", since=SINCE)]
    cap_nusd: Annotated[int, amount("In each period", NUSD, since=SINCE)]
    first: First
    last: Last
    owned: Annotated[
        str,
        said(
            'Of owned devices: "cloud" = not counted, "cloud, stop" = not counted, but nothing'
            ' starts once the money is gone, "all" = counted; another is "cloud"',
            since=SINCE,
        ),
    ] = ""
    lifted: Annotated[bool, said("It limits nothing in those periods", since=SINCE)] = False


class BudgetGiven(Fact, frozen=True, kw_only=True):
    """Part of the author's purse is another peer's in each of those periods, 400 at most. It leaves
    at once."""

    give_id: Annotated[str, said("Which gift; unique of its author", since=SINCE)]
    budget: Annotated[BudgetNamed, said("Which budget", since=SINCE)]
    to: Annotated[str, said("Key of the peer that may take it", since=SINCE)]
    amount_nusd: Annotated[int, amount("In each period", NUSD, since=SINCE)]
    first: First
    last: Last


class BudgetTaken(Fact, frozen=True, kw_only=True):
    """The author takes a gift, as it was given: now it may spend it. Once for each gift."""

    give_id: Annotated[str, said("Which gift", since=SINCE)]
    giver: Annotated[str, said("Key of the peer that gave it", since=SINCE)]
    budget: Annotated[BudgetNamed, said("Which budget", since=SINCE)]
    amount_nusd: Annotated[int, amount("In each period", NUSD, since=SINCE)]
    first: First
    last: Last


class BudgetPart(Fact, frozen=True, kw_only=True):
    """One of the budgets a hold is in."""

    budget: Annotated[BudgetNamed, said("Which budget", since=SINCE)]
    period: Annotated[int, amount("Which period", "days or months", since=SINCE)]


class BudgetHeld(Fact, frozen=True, kw_only=True):
    """The most that something can cost is held in each of these budgets, before it is asked for."""

    hold_id: HoldId
    parts: Annotated[tuple[BudgetPart, ...], said("16 at most, none twice", since=SINCE)]
    amount_nusd: Annotated[int, amount("The most it can cost", NUSD, since=SINCE)]
    until_ms: Annotated[
        int, amount("If it was not begun by then it may be released", "ms UTC", since=SINCE)
    ]
    about: Annotated[str, said("Which job, rental or request", since=SINCE)] = ""


class BudgetSettled(Fact, frozen=True, kw_only=True):
    """What was held for cost this much, in every budget of the hold; the first word counts."""

    hold_id: HoldId
    cost_nusd: Annotated[int, amount("What it cost", NUSD, since=SINCE)]
    basis: Annotated[str, said('"measured", "estimated" or "invoiced"', since=SINCE)] = ""


class BudgetReleased(Fact, frozen=True, kw_only=True):
    """Nothing was bought with a hold. It counts unless the hold was settled."""

    hold_id: HoldId
    why: Annotated[str, said("A word of this program", since=SINCE)] = ""


class BudgetAdjusted(Fact, frozen=True, kw_only=True):
    """By its invoice, what was held for cost this much in all, not so much more or less; the later
    word counts."""

    hold_id: HoldId
    cost_nusd: Annotated[int, amount("What it cost in all", NUSD, since=SINCE)]


EVENTS: Final[dict[str, tuple[type[Fact], ...]]] = {
    "budget_cap_set": (BudgetCapSet,),
    "budget_given": (BudgetGiven,),
    "budget_taken": (BudgetTaken,),
    "budget_held": (BudgetHeld,),
    "budget_settled": (BudgetSettled,),
    "budget_released": (BudgetReleased,),
    "budget_adjusted": (BudgetAdjusted,),
}
