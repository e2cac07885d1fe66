"""Two keys of one account list the same machines: each rental is one account's, and costs there."""

from typing import Any

import pytest

from mesh.policy.rentals.elsewhere import ELSEWHERE, former_accounts, known_elsewhere
from mesh.policy.rentals.listing import Whole, heard_listing
from mesh.policy.rentals.values import Say
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import GRACE_MS, HOUR_MS, MIN_MS
from providers.rental.contract import Made, Row
from tests.policy.rentals.desk import USD, Desk, row

BEFORE = {"provider": "vastai", "account": "the key before"}
RENTAL = "r0x1x1xabc"
LABEL = "fl-m1-r0x1x1xabc-{:08x}"


class Rotated(Desk):
    """Peer "A" has the account "main"; a machine was rented with another key of it."""

    def __init__(self, author: str = "A") -> None:
        super().__init__()
        self.author = author
        self.write("account_taken", author, epoch=1, peer=author, **BEFORE)

    def rent_before(self, **changed: Any) -> Row:
        """Its row; written now, with the machine's id."""
        expires_ms = self.now + HOUR_MS
        label = LABEL.format(expires_ms // 1000)
        intent = {
            "request_id": "r0", "label": label, "quote_nusd": USD, "reserved_nusd": USD,
            "first_rate_nusd": USD, "life_ms": HOUR_MS, "expires_ms": expires_ms,
        }  # fmt: skip
        self.step("rental_intended", **(intent | changed))
        self.step("create_called")
        self.step("create_answered", instance_id="7", why="answered")
        return row(self.before, label=label)

    def step(self, kind: str, **payload: Any) -> None:
        self.now += 1
        named = {"rental_id": RENTAL, "turn": self.now, "at_ms": self.now}
        self.write(kind, self.author, **BEFORE, **named, **payload)

    @property
    def before(self) -> Rental:
        return self.rentals.account("vastai", "the key before").rentals[RENTAL]

    def seen_here(self, *rows: Row) -> list[Say]:
        held = {("vastai", "main")}
        elsewhere = known_elsewhere(self.rentals, ("vastai", "main"), held)
        whole = Whole(rows=rows, begun_ms=self.now, ended_ms=self.now)
        return heard_listing(self.account, self.seen, whole, "A", "m1", elsewhere=elsewhere)


@pytest.mark.parametrize("author", ["A", "B"])
def test_what_another_key_rented_is_not_found_and_metered_a_second_time(author: str) -> None:
    desk = Rotated(author)
    listed = desk.rent_before()
    assert desk.seen_here(listed) == []
    desk.step("return_decided", why="cancelled")
    assert desk.seen_here(listed) == [], "who rented it returns it"
    desk.now = desk.before.expires_ms + GRACE_MS
    assert desk.seen_here(listed) == []
    desk.now += 1
    (say,) = desk.seen_here(listed)
    assert (say.kind, say.rental_id) == ("orphan_found", RENTAL), "it is late: anybody's by now"


def test_what_ended_there_and_is_listed_still_is_found_here() -> None:
    desk = Rotated("B")
    listed = desk.rent_before()
    ends = dict.fromkeys(("end_ms", "last_ms", "proved_ms"), desk.now)
    desk.step("absence_confirmed", why="cancelled", **ends)
    assert [say.kind for say in desk.seen_here(listed)] == ["orphan_found"]
    both = {("vastai", "main"), ("vastai", "the key before")}
    assert known_elsewhere(desk.rentals, ("vastai", "main"), both) == {RENTAL}, (
        "who works on both accounts finds it in its own"
    )


def test_what_was_found_before_its_intent_was_known_costs_once_after_that() -> None:
    """Of two peers that did not meet for a while, each with a key of its own."""
    desk = Rotated("B")
    other = Rotated("B")
    listed = other.rent_before()
    desk.say(*desk.seen_here(listed))
    copy = desk.account.rentals[RENTAL]
    assert (copy.state, copy.author) == ("provisioning", "")
    desk.now += 5 * MIN_MS
    assert copy.cost_nusd(desk.now) > 0
    desk.rent_before()
    desk.say(*desk.seen_here(listed))
    assert (copy.state, copy.why, copy.cost_nusd(desk.now)) == ("absent", ELSEWHERE, 0)
    assert desk.before.is_open
    assert desk.seen_here(listed) == [], "it is not back: it never was here"
    desk.now += 2 * HOUR_MS
    assert desk.next().op != "charges", "its account asks what it cost"


def test_a_members_word_on_an_account_hides_no_machine_beyond_its_labels_time() -> None:
    desk = Rotated("0")
    listed = desk.rent_before(expires_ms=desk.now + 1000 * HOUR_MS, life_ms=1000 * HOUR_MS)
    desk.now += HOUR_MS + GRACE_MS + 1000
    assert [say.kind for say in desk.seen_here(listed)] == ["orphan_found"]


def test_a_key_that_lists_what_another_rented_opens_its_account() -> None:
    desk = Rotated()
    listed = desk.rent_before()
    before = ("vastai", "the key before")

    def found(*rows: Row, me: str = "A", account: str = "main") -> object:
        return former_accounts(desk.rentals, ("vastai", account), rows, ("m1",), me)

    assert found(listed) == {before}
    assert found() == found(row(desk.before, label="mine")) == frozenset()
    assert found(listed, me="B") == frozenset(), "another peer works on what is its own"
    assert found(listed, account="the key before") == frozenset()
    ends = dict.fromkeys(("end_ms", "last_ms", "proved_ms"), desk.now)
    desk.step("absence_confirmed", why="cancelled", **ends)
    assert found(listed) == frozenset()


def test_rentals_of_this_account_are_heard_as_ever() -> None:
    desk = Rotated()
    desk.rent_before()
    one = desk.rent()
    desk.created(one, Made(instance_id="9"))
    says = desk.seen_here(row(one, instance_id="9"))
    assert [say.kind for say in says] == ["instance_changed"]
