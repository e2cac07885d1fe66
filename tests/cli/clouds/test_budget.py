"""`fleet budget`: what is asked, how it looks, and each refusal in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mesh.cli import client
from mesh.cli.exits import CANNOT, NOT_ALLOWED, OK, UNREACHABLE, USAGE
from mesh.cli.writes import append
from mesh.config import fleet_home
from mesh.edge.identity import load_or_create
from mesh.state.facts.budget import BudgetCapSet, BudgetNamed
from mesh.state.facts.fact import encode
from tests.cli.clouds.conftest import Say, compare
from tests.cli.clouds.fixed_clouds import MINUTE, NOW, Clouds, refusal

USD = 10**9
WIDTHS = (60, 80)


def budget(name: str = "fleet per month", **changes: object) -> dict[str, Any]:
    """A row as `mesh.api.budgets.rows` makes it."""
    return {
        "name": name, "owner": "ana", "scope": "fleet", "of": None, "per": "month", "tz": "UTC",
        "period": "2026-09", "begin_ms": 1, "end_ms": 2, "owned": "cloud", "cap_nusd": 50 * USD,
        "out_nusd": 50 * USD, "held_nusd": 3 * USD, "spent_nusd": 12 * USD, "under_way_nusd": 0,
        "free_nusd": 25 * USD, "open_holds": 1, "holds": [HOLD], "mine": True, "counts": True,
        **changes,
    }  # fmt: skip


HOLD = {
    "hold_id": "h-1", "peer": "ana", "about": "rental r1x1x1xabc", "amount_nusd": 3 * USD,
    "held_ms": NOW - 5 * MINUTE, "until_ms": NOW,
}  # fmt: skip
STRANGE = dict.fromkeys(
    ("period", "cap_nusd", "out_nusd", "held_nusd", "spent_nusd", "under_way_nusd", "free_nusd",
     "owned", "open_holds", "begin_ms", "end_ms")
)  # fmt: skip
ROWS = [
    budget(),
    budget("user ben per day (Europe/Berlin)", period="2026-09-21", owned="stop", holds=[],
           cap_nusd=5 * USD, out_nusd=8 * USD, under_way_nusd=USD, owner="ben"),
    budget("key ci in total", period="in total", owned="all", counts=False, holds=[]),
    budget("job j-1 per month (Mars/Olympus)", **{**STRANGE, "holds": []}),
]  # fmt: skip
TOLD = {"text": "the budget fleet per month: 50 % of $50.00 is spent", "at_ms": NOW - 9 * MINUTE}

FAULTS = [
    {"fault": "overdrew", "peer": "cid", "nusd": 5 * USD, "name": "fleet per month",
     "period": "2026-09"},
    {"fault": "too much to keep", "peer": "dan", "nusd": 3, "name": None, "period": None},
]  # fmt: skip


@pytest.fixture
def daemon(clouds: Clouds) -> Clouds:
    clouds.answers["/v1/budgets"] = {"budgets": ROWS, "alarms": [TOLD], "faults": FAULTS}
    clouds.answers["POST /v1/budgets"] = {
        "name": "fleet per month", "cap_nusd": 50 * USD, "was_nusd": 0, "lifted": False,
        "new": True, "others": 2,
    }  # fmt: skip
    clouds.answers["POST /v1/budgets/grants"] = {
        "peer": "ben", "name": "fleet per month", "amount_nusd": 10 * USD, "from": "2026-09",
        "to": "2026-09", "give_id": "g-1",
    }  # fmt: skip
    return clouds


@pytest.mark.parametrize("width", WIDTHS)
def test_every_budget_is_a_line_and_what_is_held_below(
    daemon: Clouds, say: Say, width: int, *, updates_golden: bool
) -> None:
    said = say("budget", "show", "--holds", width=width)
    assert said.code == OK
    assert max(map(len, said.out.splitlines())) <= width
    assert "50 % of $50.00" in said.err
    told = " ".join(said.err.split())
    assert "(9m ago)" in told
    assert "cid overdrew the budget fleet per month by $5.00 in 2026-09" in told
    assert "dan: too much to keep" in told
    compare("budget-show", said.out, width, update=updates_golden)


def test_alone_it_shows_them_too_and_as_json_all_of_it(daemon: Clouds, say: Say) -> None:
    assert say("budget").out == say("budget", "show").out
    assert json.loads(say("budget", "-o", "json").out) == daemon.get("/v1/budgets")
    assert json.loads(say("budget", "show", "-o", "json").out)["budgets"] == ROWS


def test_where_there_are_none_a_first_one_is_named(daemon: Clouds, say: Say) -> None:
    daemon.answers["/v1/budgets"] = {"budgets": [], "alarms": [], "faults": []}
    assert "fleet budget set 50 --per month" in (said := say("budget")).out + said.err


def test_a_cap_is_sent_as_typed_and_said_as_it_is_now(daemon: Clouds, say: Say) -> None:
    said = say("budget", "set", "50")
    assert (said.code, said.out) == (OK, "the budget fleet per month is $50.00\n")
    assert "this peer alone spends of it" in said.err
    daemon.answers["POST /v1/budgets"]["new"] = False
    assert say("budget", "set", "60").err == ""
    say("budget", "set", "5", "--per", "day", "--user", "ben", "--tz", "Europe/Berlin", "--owned",
        "stop")  # fmt: skip
    daemon.answers["POST /v1/budgets"] = {"name": "job j", "cap_nusd": 0, "lifted": True}
    assert say("budget", "set", "--lift", "--job", "j").out == (
        "the budget job j limits nothing any more\n"
    )
    assert [body for _, body in daemon.posted] == [
        {"per": "month", "amount": "50"},
        {"per": "month", "amount": "60"},
        {"per": "day", "user": "ben", "tz": "Europe/Berlin", "owned": "stop", "amount": "5"},
        {"per": "month", "job": "j", "lift": True},
    ]


def test_a_grant_says_who_may_spend_how_much_in_which_months(daemon: Clouds, say: Say) -> None:
    said = say("budget", "grant", "ben", "10")
    assert said.out == "ben may spend $10.00 of the budget fleet per month, 2026-09\n"
    daemon.answers["POST /v1/budgets/grants"]["to"] = "2026-11"
    said = say("budget", "grant", "ben", "10", "--periods", "3", "--provider", "vastai")
    assert "each 2026-09 to 2026-11" in said.out.replace("\n", " ")
    assert daemon.posted[-1][1] == {
        "per": "month", "provider": "vastai", "peer": "ben", "amount": "10", "periods": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set",), "how many dollars?"),
        (("set", "5", "--lift"), "a lifted budget has no dollars"),
        (("set", "5", "--per", "week"), "'week'"),
        (("set", "5", "--owned", "mine"), "'mine'"),
        (("grant", "ben"), "DOLLARS"),
        (("grant", "ben", "1", "--periods", "0"), "'--periods'"),
        (("raise", "5"), "no command 'raise'"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_asks_nobody(
    daemon: Clouds, say: Say, words: tuple[str, ...], says: str
) -> None:
    said = say("budget", *words)
    assert said.code == USAGE
    assert says in said.error
    assert daemon.posted == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (refusal("OverBudget", "$2.00 are missing", "fleet budget show"), CANNOT),
        (refusal("WrongRole", "needs the role admin", "fleet peers", 403), NOT_ALLOWED),
    ],
)
def test_a_refusal_is_said_with_what_would_help(
    daemon: Clouds, say: Say, error: Exception, code: int
) -> None:
    daemon.answers["POST /v1/budgets/grants"] = error
    said = say("budget", "grant", "ben", "10")
    assert said.code == code
    assert str(error) in said.error
    assert "try: fleet" in said.error


def test_what_a_budget_limits_not_yet_is_said_aloud(daemon: Clouds, say: Say) -> None:
    told = "there is no job j yet: until there is one, the budget limits nothing"
    daemon.answers["POST /v1/budgets"] |= {"name": "job j per month", "new": False, "note": told}
    said = say("budget", "set", "50", "--job", "j")
    assert (said.code, said.out) == (OK, "the budget job j per month is $50.00\n")
    assert said.err == f"{told}\n"


def test_without_a_daemon_nothing_is_set(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    said = say("budget", "set", "5")
    assert said.code == UNREACHABLE
    assert "fleet up" in said.error


def test_with_the_daemon_down_the_ledger_is_read(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    assert say("note", "hello").code == OK  # there is a ledger now
    me = load_or_create(fleet_home()).author
    named = BudgetNamed(owner=me, scope="fleet", per="month")
    fact = BudgetCapSet(budget=named, cap_nusd=7 * USD, first=0, last=1000)
    append("budget_cap_set", "", encode(fact))
    (row,) = json.loads(say("budget", "-o", "json").out)["budgets"]
    assert (row["cap_nusd"], row["free_nusd"], row["mine"]) == (7 * USD, 7 * USD, True)
    assert "$7.00" in say("budget", "show").out
