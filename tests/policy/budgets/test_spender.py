"""One process spends from its peer's purse: in all nested budgets or in none, and never twice."""

import pytest

from mesh.ledger.event import Event
from mesh.policy.budgets.nesting import believes_all, nested
from mesh.policy.budgets.spender import Spender
from mesh.policy.budgets.values import About, Ask, Refusal
from mesh.state.budgets import word as word_module
from mesh.state.budgets.budget import Budget
from mesh.state.budgets.budgets import Budgets
from mesh.state.facts.budget import FLEET, JOB, KEY, USER, BudgetGiven, BudgetHeld
from mesh.state.facts.fact import Fact
from mesh.state.facts.serving import DAY, MONTH, TOTAL
from tests.state.held_budgets import FLEET_MONTH, NOV, T0, USD, Tale

ANN = Budget("A", USER, "ann", MONTH, "")
CENT = USD // 100


def ask(name: str, nusd: int) -> Ask:
    return Ask(hold_id=name, most_nusd=nusd, now_ms=T0, until_ms=T0 + 100, about="job j1")


class Desk:
    """A process of peer A: what it says, and its disk."""

    def __init__(self, *caps: tuple[int, Budget]) -> None:
        self.tale, self.spender = Tale(), Spender("A")
        for usd, budget in caps:
            self.tale.cap(usd, budget, *((0, 0) if budget.per == TOTAL else (NOV, NOV)))

    @property
    def book(self) -> Budgets:
        return self.tale.book

    def reserve(
        self, name: str, nusd: int, *groups: tuple[Budget, ...], now_ms: int = T0
    ) -> BudgetHeld | Refusal | None:
        ask = Ask(hold_id=name, most_nusd=nusd, now_ms=now_ms, until_ms=now_ms + 100)
        return self.spender.reserve(self.book, ask, groups or [(FLEET_MONTH,)])

    def write(self, fact: object) -> Event:
        assert isinstance(fact, Fact)
        return self.tale.say("A", fact)

    def held(self, name: str, nusd: int) -> None:
        """Reserved, on disk and begun."""
        self.write(self.reserve(name, nusd))
        assert self.spender.begin(self.book, name)


def test_of_fifty_calls_of_five_cents_a_dollar_admits_twenty_before_any_is_written() -> None:
    desk = Desk((1, FLEET_MONTH))
    made = [desk.reserve(f"r{at}", 5 * CENT) for at in range(50)]
    assert sum(isinstance(one, BudgetHeld) for one in made) == 20
    assert desk.spender.free(desk.book, FLEET_MONTH, NOV) == 0
    for one in made[:20]:
        desk.write(one)
    assert desk.spender.free(desk.book, FLEET_MONTH, NOV) == 0, "and none counts twice"


def test_a_hold_is_in_all_nested_budgets_or_in_none() -> None:
    desk = Desk((100, FLEET_MONTH), (10, ANN))
    refused = desk.reserve("big", 11 * USD, (FLEET_MONTH,), (ANN,))
    assert isinstance(refused, Refusal)
    assert (refused.budget, refused.missing_nusd) == (ANN, USD)
    assert desk.spender.free(desk.book, FLEET_MONTH, NOV) == 100 * USD
    desk.write(desk.reserve("fits", 10 * USD, (FLEET_MONTH,), (ANN,)))
    assert desk.book.money("A", FLEET_MONTH, NOV).held == 10 * USD
    assert desk.book.money("A", ANN, NOV).held == 10 * USD


def test_a_refusal_names_the_amount_missing_and_the_budget() -> None:
    desk = Desk((3, FLEET_MONTH))
    refused = desk.reserve("r", 5 * USD)
    assert isinstance(refused, Refusal)
    assert refused.text == (
        "the budget fleet per month has $3.00 left in 2026-11 on this peer, and this may cost"
        " $5.00: $2.00 are missing"
    )
    assert "fleet budget show" in refused.hint


def test_budgets_of_several_owners_add_up_and_one_of_them_pays() -> None:
    second = FLEET_MONTH._replace(owner="B")
    desk = Desk((3, FLEET_MONTH), (9, second))
    desk.tale.gave("B", "A", 5, budget=second)
    desk.tale.took("A", "B", 5, budget=second)
    (group,) = nested(desk.book, About(), T0, believes=believes_all)
    assert set(group) == {FLEET_MONTH, second}
    desk.write(desk.reserve("r", 4 * USD, group))
    assert desk.book.money("A", second, NOV).held == 4 * USD
    desk.write(desk.reserve("s", 3 * USD, group))
    assert isinstance(desk.reserve("t", 2 * USD, group), Refusal)


def test_nothing_is_called_before_its_hold_is_on_disk_and_then_once() -> None:
    desk = Desk((3, FLEET_MONTH))
    made = desk.reserve("r", USD)
    assert not desk.spender.begin(desk.book, "r")
    desk.write(made)
    assert desk.spender.begin(desk.book, "r")
    assert not desk.spender.begin(desk.book, "r")


def test_it_is_settled_once_and_may_cost_more_than_was_held() -> None:
    desk = Desk((3, FLEET_MONTH))
    desk.held("r", USD)
    said = desk.spender.settle(desk.book, "r", 2 * USD)
    assert desk.spender.settle(desk.book, "r", 2 * USD) is None
    assert desk.spender.release(desk.book, "r", "late") is None
    desk.write(said)
    assert desk.spender.settle(desk.book, "r", 2 * USD) is None
    assert desk.book.used(FLEET_MONTH, NOV) == (0, 2 * USD)


def test_an_end_that_could_not_be_written_may_be_said_again() -> None:
    desk = Desk((3, FLEET_MONTH))
    desk.held("r", USD)
    said = desk.spender.settle(desk.book, "r", USD)
    assert said is not None
    desk.spender.unwritten(said)
    assert desk.spender.settle(desk.book, "r", USD) == said


def test_what_surely_was_not_written_is_free_again() -> None:
    desk = Desk((3, FLEET_MONTH))
    held = desk.reserve("r", 2 * USD)
    gave = desk.spender.give(desk.book, "g", FLEET_MONTH, "B", USD, first=NOV, last=NOV)
    assert desk.spender.free(desk.book, FLEET_MONTH, NOV) == 0
    assert isinstance(held, BudgetHeld)
    assert isinstance(gave, BudgetGiven)
    desk.spender.unwritten(held)
    desk.spender.unwritten(gave)
    assert desk.spender.free(desk.book, FLEET_MONTH, NOV) == 3 * USD


def test_only_holds_that_this_process_never_used_lapse() -> None:
    desk = Desk((9, FLEET_MONTH))
    desk.held("begun", USD)
    desk.write(desk.reserve("idle", USD))
    desk.write(desk.reserve("young", USD, now_ms=T0 + 500))
    assert desk.spender.lapsed(desk.book, T0 + 99) == []
    assert desk.spender.lapsed(desk.book, T0 + 100) == ["idle"]
    desk.write(desk.spender.release(desk.book, "idle", "lapsed"))
    assert not desk.spender.begin(desk.book, "idle")
    assert desk.book.money("A", FLEET_MONTH, NOV).held == 2 * USD


def test_after_a_crash_every_open_hold_may_be_spent_whatever_the_clock_says() -> None:
    desk = Desk((9, FLEET_MONTH))
    for name in ("ran", "absent", "unknown"):
        desk.write(desk.reserve(name, USD))
    desk.spender = Spender("A")
    assert desk.spender.lapsed(desk.book, T0 + 10**12) == []
    assert desk.spender.doubtful(desk.book) == ["absent", "ran", "unknown"]
    assert not desk.spender.begin(desk.book, "ran"), "who called is not known"
    desk.write(desk.spender.settle(desk.book, "ran", USD // 2, "estimated"))
    desk.write(desk.spender.release(desk.book, "absent", "absent"))
    assert desk.spender.doubtful(desk.book) == ["unknown"]
    assert desk.book.used(FLEET_MONTH, NOV) == (USD, USD // 2)


def test_an_invoice_is_booked_once_though_it_is_read_often() -> None:
    desk = Desk((9, FLEET_MONTH))
    desk.held("r", 2 * USD)
    assert desk.spender.adjust(desk.book, "r", USD) is None, "it is not settled yet"
    desk.write(desk.spender.settle(desk.book, "r", 2 * USD))
    desk.write(desk.spender.adjust(desk.book, "r", USD))
    assert desk.spender.adjust(desk.book, "r", USD) is None
    assert desk.spender.adjust(desk.book, "other", USD) is None
    assert desk.book.used(FLEET_MONTH, NOV) == (0, USD)


def test_a_gift_leaves_before_it_is_written_and_only_what_there_is_in_each_period() -> None:
    desk = Desk()
    desk.tale.cap(10, last=NOV + 2)
    desk.write(desk.reserve("r", 4 * USD))
    made = desk.spender.give(desk.book, "g", FLEET_MONTH, "B", 6 * USD, first=NOV, last=NOV + 2)
    assert isinstance(made, BudgetGiven)
    again = desk.spender.give(desk.book, "h", FLEET_MONTH, "B", USD, first=NOV, last=NOV)
    assert isinstance(again, Refusal)
    assert again.missing_nusd == USD
    late = desk.spender.give(desk.book, "i", FLEET_MONTH, "B", USD, first=NOV, last=NOV + 3)
    assert isinstance(late, Refusal), "the fourth period has no cap"


def test_a_call_that_can_mean_nothing_is_a_mistake() -> None:
    desk = Desk((3, FLEET_MONTH))
    desk.write(desk.reserve("r", USD))
    for name, nusd in (("r", USD), ("s", -1)):
        with pytest.raises(ValueError, match="nothing can be held"):
            desk.reserve(name, nusd)
    for to, nusd in (("A", USD), ("B", 0)):
        with pytest.raises(ValueError, match="nothing can be given"):
            desk.spender.give(desk.book, "g", FLEET_MONTH, to, nusd, first=NOV, last=NOV)


def test_more_open_holds_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.policy.budgets.spender.MAX_HOLDS", 2)
    assert word_module.MAX_HOLDS > 2
    desk = Desk((3, FLEET_MONTH))
    desk.write(desk.reserve("r", 1))
    desk.reserve("s", 1)
    refused = desk.reserve("t", 1)
    assert isinstance(refused, Refusal)
    assert refused.code == "TooManyHolds"


def test_more_budgets_than_a_hold_can_be_in_are_refused() -> None:
    desk = Desk()
    groups = [(FLEET_MONTH._replace(scope=KEY, of=f"k{at}"),) for at in range(17)]
    refused = desk.reserve("r", 0, *groups)
    assert isinstance(refused, Refusal)
    assert refused.code == "TooManyBudgets"
    assert isinstance(desk.reserve("r", 0, *groups[:16]), BudgetHeld)


def test_a_budget_whose_calendar_is_not_known_here_is_refused_and_named() -> None:
    mars = FLEET_MONTH._replace(zone="Mars/Olympus")
    desk = Desk((3, mars))
    groups = nested(desk.book, About(), T0, believes=believes_all)
    assert groups == [(mars,)]
    for owned in (False, True):
        refused = desk.spender.admit(desk.book, ask("r", 1), groups, owned=owned)
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.budget) == ("UnknownZone", mars)


# Which budgets, and what of owned work


def test_budgets_nest_from_the_fleet_to_the_job_and_others_do_not_count() -> None:
    job, key = Budget("A", JOB, "j1", TOTAL, ""), Budget("B", KEY, "k1", MONTH, "")
    day = Budget("A", FLEET, "", DAY, "")
    desk = Desk((1, job), (2, key), (3, FLEET_MONTH), (4, ANN))
    desk.tale.cap(9, day, 20_000, 20_100)
    about = About(user="ann", key="k1", job="j1")
    assert nested(desk.book, about, T0, believes=believes_all) == [
        (FLEET_MONTH,),
        (ANN,),
        (key,),
        (job,),
    ]
    assert nested(desk.book, About(), T0, believes=believes_all) == [(FLEET_MONTH,)]
    assert nested(desk.book, about, T0, believes=lambda one: one.owner == "A")[2:] == [(job,)]


def test_a_lifted_budget_limits_nothing_and_without_any_nothing_is_held() -> None:
    desk = Desk((3, FLEET_MONTH))
    desk.tale.cap(0, first=NOV, last=NOV, lifted=True)
    assert nested(desk.book, About(), T0, believes=believes_all) == []
    made = desk.spender.reserve(desk.book, ask("r", 10**14), [])
    assert made is None


@pytest.mark.parametrize(
    ("word", "left", "spent"),
    [("cloud", True, True), ("cloud, stop", True, False), ("all", False, False), ("?", True, True)],
)
def test_owned_work_goes_on_stops_or_pays_as_its_policy_says(
    word: str,
    left: bool,  # noqa: FBT001
    spent: bool,  # noqa: FBT001
) -> None:
    desk = Desk()
    desk.tale.cap(5, first=NOV, last=NOV, owned=word)
    groups = nested(desk.book, About(), T0, believes=believes_all)

    def admit(name: str) -> BudgetHeld | Refusal | None:
        return desk.spender.admit(desk.book, ask(name, 2 * USD), groups, owned=True)

    first = admit("r")
    assert (first is None) == left
    if isinstance(first, BudgetHeld):
        desk.write(first)
    desk.write(desk.reserve("cloud", 3 * USD if first else 5 * USD))
    second = admit("s")
    assert (second is None) == spent
    assert spent or isinstance(second, Refusal)


def test_cloud_work_is_held_whatever_the_policy_of_owned_work() -> None:
    desk = Desk()
    desk.tale.cap(5, first=NOV, last=NOV, owned="cloud")
    groups = nested(desk.book, About(), T0, believes=believes_all)
    made = desk.spender.admit(desk.book, ask("r", USD), groups, owned=False)
    assert isinstance(made, BudgetHeld)
    assert (made.about, made.amount_nusd) == ("job j1", USD)


def test_owned_work_does_not_stop_where_another_peer_has_the_money() -> None:
    desk = Desk()
    desk.tale.cap(5, first=NOV, last=NOV, owned="cloud, stop")
    other = Spender("B")
    groups = nested(desk.book, About(), T0, believes=believes_all)

    def admit() -> BudgetHeld | Refusal | None:
        return other.admit(desk.book, ask("r", USD), groups, owned=True)

    assert desk.book.money("B", FLEET_MONTH, NOV).free == 0
    assert admit() is None
    desk.write(desk.reserve("all", 5 * USD))
    refused = admit()
    assert isinstance(refused, Refusal)
    assert refused.text.startswith("the budget fleet per month is used up in 2026-11: $5.00 of $5")
    assert (refused.budget, refused.missing_nusd) == (FLEET_MONTH, 1)
