"""Who waits at the door: a flood from a few addresses pushes out itself and nobody else."""

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.transport.anteroom import (
    MAX_PER_ADDRESS,
    MAX_STRANGERS,
    MEMBER_SLOTS,
    Anteroom,
    Guest,
    place_of,
)
from mesh.edge.transport.listen import Limiter


class Hall:
    """An anteroom and who was put out of it."""

    def __init__(self) -> None:
        self.room, self.gone = Anteroom(), list[str]()

    def enter(self, place: str, name: str = "", *, expected: bool = False) -> Guest:
        guest = Guest(place, expected, self._end(name or place))
        self.room.enter(guest)
        return guest

    def _end(self, name: str) -> Callable[[], None]:
        return lambda: self.gone.append(name)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("ana.local", "ana.local"),
    ],
)
def test_a_host_is_one_place_however_many_addresses_it_takes(text: str, place: str) -> None:
    assert place_of(text) == place


def test_one_address_holds_a_few_places_and_then_its_own_oldest_leaves() -> None:
    hall = Hall()
    hall.enter("guest")
    for number in range(100):
        hall.enter("flood", f"flood {number}")
    assert hall.gone == [f"flood {number}" for number in range(100 - MAX_PER_ADDRESS)]
    assert len(hall.room) == MAX_PER_ADDRESS + 1


def test_who_asked_something_leaves_after_those_who_said_nothing() -> None:
    hall = Hall()
    for number in range(MAX_PER_ADDRESS):
        hall.enter("one", f"{number}").silent = number >= 3
    for _ in range(2):
        hall.enter("one", "new")
    assert hall.gone == ["3", "4"]


def test_in_a_full_room_whoever_holds_the_most_makes_way() -> None:
    hall = Hall()
    hall.enter("guest")
    for number in range(MAX_STRANGERS):
        hall.enter(f"flood {number % 9}")
    hall.enter("another guest")
    assert len(hall.room) == MAX_STRANGERS
    assert "guest" not in hall.gone
    assert hall.gone


def test_where_everybody_holds_one_place_the_oldest_makes_way() -> None:
    hall = Hall()
    for number in range(MAX_STRANGERS + 2):
        hall.enter(f"{number}")
    assert hall.gone == ["0", "1"]


def test_strangers_cannot_have_the_places_of_members() -> None:
    hall = Hall()
    hall.enter("ben", expected=True)
    for number in range(1000):
        hall.enter(f"flood {number}")
    assert "ben" not in hall.gone
    for number in range(MEMBER_SLOTS):
        hall.enter(f"member {number}", expected=True)
    assert hall.gone.count("ben") == 1
    assert len(hall.room) == MAX_STRANGERS + MEMBER_SLOTS


def test_a_member_that_floods_pushes_out_itself() -> None:
    hall = Hall()
    hall.enter("ben", expected=True)
    for _ in range(500):
        hall.enter("thief", expected=True)
        hall.enter("other thief", expected=True)
    assert "ben" not in hall.gone


@given(st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.booleans()), max_size=300))
def test_no_order_of_arrivals_breaks_a_bound(arrivals: list[tuple[str, bool]]) -> None:
    hall = Hall()
    for place, expected in arrivals:
        guest = hall.enter(place, expected=expected)
        assert guest in hall.room._guests
        strangers = [one for one in hall.room._guests if not one.expected]
        assert len(strangers) <= MAX_STRANGERS
        assert len(hall.room) - len(strangers) <= MEMBER_SLOTS
        each = Counter((one.place, one.expected) for one in hall.room._guests)
        assert max(each.values()) <= MAX_PER_ADDRESS
    assert len(hall.gone) + len(hall.room) == len(arrivals)


def test_a_members_rate_is_its_own_whatever_strangers_use_up() -> None:
    limiter = Limiter(1.0, 5, 2.0, 8)
    assert sum(limiter.allows(f"{number}", 0.0) for number in range(50)) == 8
    assert not limiter.allows("guest", 0.0)
    assert sum(limiter.allows("ben", 0.0, spare=True) for _ in range(50)) == 5
