"""The queue before a model's server: in turn, never more than its slots, and never for ever."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.gateway import slots as queue
from mesh.edge.gateway.slots import Closed, Door, Full, Slots


class Clock:
    """A test double: a steady clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def is_in(door: Door) -> bool:
    return door.begun_s is not None


def test_requests_are_let_in_in_their_turn() -> None:
    slots = Slots(1, Clock())
    first, second, third = (slots.join() for _ in range(3))
    assert [is_in(one) for one in (first, second, third)] == [True, False, False]
    assert (slots.place(second), slots.place(third), slots.waiting) == (0, 1, 2)
    slots.leave(first)
    assert (is_in(second), is_in(third), slots.place(third)) == (True, False, 0)


def test_who_goes_away_while_waiting_takes_nobodys_turn() -> None:
    slots = Slots(1, Clock())
    first, second, third = (slots.join() for _ in range(3))
    slots.leave(second)
    slots.leave(first)
    assert (is_in(third), is_in(second), slots.busy, slots.waiting) == (True, False, 1, 0)


@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_never_are_more_answered_than_there_are_slots_and_none_is_left_out(
    rng: random.Random, size: int
) -> None:
    slots, here, order = Slots(size, Clock()), list[Door](), list[Door]()
    for _ in range(60):
        if here and rng.random() < 0.5:
            slots.leave(here.pop(rng.randrange(len(here))))
        else:
            here.append(slots.join())
            order.append(here[-1])
        inside = [one for one in here if is_in(one)]
        assert len(inside) == slots.busy == min(size, len(here))
        waiting = [one for one in order if one in here and not is_in(one)]
        assert [slots.place(one) for one in waiting] == list(range(len(waiting)))
    for one in here:
        slots.leave(one)
    assert (slots.busy, slots.waiting) == (0, 0)


def test_a_full_queue_says_when_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_WAITING", 2)
    clock = Clock()
    slots = Slots(1, clock)
    door = slots.join()
    clock.now_s = 7.0
    slots.leave(door)
    for _ in range(3):
        slots.join()
    with pytest.raises(Full) as full:
        slots.join()
    assert (full.value.status, full.value.retry_after_s) == (503, 21)
    slots.answer_s = 1e9
    with pytest.raises(Full) as full:
        slots.join()
    assert full.value.retry_after_s == queue.MAX_RETRY_S


async def test_a_closed_door_lets_nobody_in_and_tells_those_who_wait() -> None:
    slots = Slots(1, Clock())
    inside, waiting = slots.join(), slots.join()
    slots.close()
    with pytest.raises(Closed):
        await waiting.comes(60)
    with pytest.raises(Closed):
        slots.join()
    assert await inside.comes(60)
    slots.leave(inside)
    slots.leave(waiting)
    slots.resize(5)
    assert (slots.busy, slots.waiting) == (0, 0)


async def test_more_slots_let_more_in_and_fewer_throw_nobody_out() -> None:
    slots = Slots(1, Clock())
    doors = [slots.join() for _ in range(4)]
    slots.resize(3)
    assert (slots.busy, slots.waiting) == (3, 1)
    slots.resize(0)
    assert (slots.size, slots.busy) == (1, 3)
    for one in doors[:2]:
        slots.leave(one)
    assert not is_in(doors[3])
    assert await doors[3].comes(0.001) is False
    slots.leave(doors[2])
    assert await doors[3].comes(60)


def test_a_server_is_idle_from_the_last_who_left() -> None:
    clock = Clock()
    slots = Slots(1, clock)
    door = slots.join()
    clock.now_s = 5.0
    assert slots.idle_s == 0.0
    slots.leave(door)
    clock.now_s = 8.0
    assert (slots.idle_s, slots.wait_s(0), slots.wait_s(1)) == (3.0, 0.0, 10.0)
