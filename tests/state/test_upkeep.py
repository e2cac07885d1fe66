"""Drained and reserved devices: the owner's word, whenever and in whatever order it arrives."""

import random

import pytest

from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.fold import fold
from mesh.state.state import State
from mesh.state.upkeep import MAX_ENDED, MAX_RESERVATIONS
from tests.state.job_story import ANA, BEN, T0, arriving, event, owned, told

HOUR = 3_600_000


def reserve(at: int, name: str = "r1", by: str = BEN, **given: object):
    fields = {"from_ms": T0, "until_ms": T0 + HOUR, "reservation_id": name, "by": by}
    return event("device_reserved", at, **{**fields, **given})


def names(state: State, now: int = T0) -> list[str]:
    return [one.reservation_id for one in state.reserved("d", now)]


def test_a_drained_device_stays_drained_until_its_owner_resumes_it() -> None:
    story = [*owned("d"), event("device_drained", 1, reason_code="upgrade")]
    assert told(story).drained("d") == "upgrade"
    assert told([*story, event("device_resumed", 2)]).drained("d") == ""


def test_nobody_but_the_owner_drains_or_reserves() -> None:
    story = [
        *owned("d"),
        event("device_drained", 1, BEN, reason_code="upgrade"),
        event("device_reserved", 2, BEN, reservation_id="x", by=BEN, from_ms=1, until_ms=T0 + 9),
        event("device_drained", 3, reason_code="hardware"),
        event("device_resumed", 4, BEN),
    ]
    state = told(story)
    assert state.drained("d") == "hardware"
    assert names(state) == []


def test_a_reason_that_nobody_here_knows_is_another_one() -> None:
    story = [*owned("d"), event("device_drained", 1, reason_code="my secret project")]
    assert told(story).drained("d") == "other"


def test_a_reservation_ends_by_time_or_by_word() -> None:
    story = [*owned("d"), reserve(1), reserve(2, "r2", until_ms=T0 + 2 * HOUR)]
    assert names(told(story)) == ["r1", "r2"]
    assert names(told(story), T0 + HOUR) == ["r2"]
    assert names(told([*story, event("reservation_ended", 3, reservation_id="r2")])) == ["r1"]


@pytest.mark.parametrize(
    "given",
    [{"by": "ben"}, {"reservation_id": ""}, {"reservation_id": "x" * 41}, {"until_ms": T0 - 1}],
)
def test_a_reservation_that_makes_no_sense_is_none(given: dict) -> None:
    one = reserve(1)
    one.payload.update(given)
    assert names(told([*owned("d"), one])) == []


def test_it_survives_a_snapshot() -> None:
    story = [*owned("d"), event("device_drained", 1, reason_code="upgrade"), reserve(2)]
    state = told(story)
    state.cursor = state.event_count
    again = unpack(pack(state))
    assert again is not None
    assert (again.drained("d"), names(again)) == ("upgrade", ["r1"])
    assert digest(again) == digest(state)


def test_any_order_of_arrival_says_the_same() -> None:
    rng = random.Random(3)
    for _ in range(60):
        story = [*owned("d"), event("device_registered", 5, BEN, device="d")]
        for at in range(10, 120):
            author, name = rng.choice((ANA, BEN)), f"r{rng.randrange(50)}"
            kind = rng.choice(("device_drained", "device_resumed", "reserve", "reservation_ended"))
            if kind == "reserve":
                until = T0 + rng.randint(1, HOUR)
                given = {"reservation_id": name, "by": BEN, "from_ms": T0, "until_ms": until}
                story.append(event("device_reserved", at, author, **given))
            else:
                given = {"reason_code": "upgrade", "reservation_id": name}
                story.append(event(kind, at, author, **given))
        expected = told(story)
        found = fold(arriving(rng, story))
        assert digest(found) == digest(expected)


def test_many_reservations_are_bounded_and_an_end_is_not_forgotten() -> None:
    open_ones = [reserve(n, f"a{n}") for n in range(MAX_RESERVATIONS)]
    ends = [
        event("reservation_ended", 100 + n, reservation_id=f"a{n}") for n in range(MAX_RESERVATIONS)
    ]
    state = told([*owned("d"), *open_ones, *ends])
    assert names(state) == []
    more = [reserve(200 + n, f"b{n}") for n in range(3 * MAX_RESERVATIONS)]
    state = told([*owned("d"), *open_ones, *ends, *more])
    assert len(names(state)) == MAX_RESERVATIONS
    assert len(state.upkeep.words["d"][ANA].ended) <= MAX_ENDED
