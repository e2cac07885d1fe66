"""The queue's promises, on queues nobody thought of; and proof that each of them can be broken."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.queue import account, backfill, order, queue, reasons
from mesh.policy.queue.queue import decide_queue
from tests.policy.queue import properties
from tests.policy.queue.properties import PROPERTIES

SEEDS = 1_000  # a broken queue must be found out within so many
NAMES = [one.__name__ for one in PROPERTIES]


@pytest.mark.parametrize("holds", PROPERTIES, ids=NAMES)
@settings(max_examples=150)
@given(rng=st.randoms(use_true_random=False))
def test_the_queue(holds: Callable[..., None], rng: random.Random) -> None:
    holds(decide_queue, rng)


def drain_is_lost(patch: pytest.MonkeyPatch) -> None:
    """As if a restart forgot that a device is drained."""
    known = reasons.closed
    patch.setattr(
        reasons, "closed", lambda room, now: known(room and replace(room, drained=""), now)
    )


def reservation_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backfill, "reserved", lambda *_: None)


def unloaded_jobs_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A reading made before a job loaded is taken for what is free."""
    patch.setattr(account.Account, "promise", lambda self, one: None)


def starts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(account.Account, "take", lambda self, need: None)


def first_in_line_is_pushed_back(patch: pytest.MonkeyPatch) -> None:
    """Whatever fits starts."""
    patch.setattr(backfill, "breaks", lambda *_: False)


def spare_is_given_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backfill, "charge", lambda *_: None)


def backoff_overtakes(patch: pytest.MonkeyPatch) -> None:
    """A job that was looked at and could not start goes behind those that came since."""
    known = order.rank
    patch.setattr(
        order, "rank", lambda job, now: (*known(job, now)[:3], -job.accepted_ms, job.job_id, 1)
    )


def waiting_lowers_a_rank(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(order, "aged", lambda job, now: job.priority - (now - job.accepted_ms) // 60_000)


def nobody_counts_skips(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(order, "new_skips", lambda *_: {})


def a_gang_counts_on_its_first_device(patch: pytest.MonkeyPatch) -> None:
    """What it takes of the others nobody has written down."""
    known = account.take
    patch.setattr(queue, "take", lambda found, parts: known(found, parts[:1]))


def a_gang_starts_where_its_first_device_has_room(patch: pytest.MonkeyPatch) -> None:
    known = account.fit
    patch.setattr(queue, "fit", lambda found, parts: known(found, parts[:1]))


def a_gang_is_promised_its_first_device(patch: pytest.MonkeyPatch) -> None:
    """The others' jobs may go on taking its other devices."""
    known = backfill._spare
    patch.setattr(backfill, "_spare", lambda trial, parts: known(trial, parts[:1]))


def a_gang_keeps_its_other_devices(patch: pytest.MonkeyPatch) -> None:
    """It ended, and only its first device is free again."""
    known = queue.accounts

    def leaking(rooms: Any, running: Any) -> Any:
        found, seen = known(rooms, running), leaked.setdefault(id(patch), {})
        seen.update({part.device_id: one for one in running for part in one.parts[1:]})
        for device_id, one in seen.items():
            if one not in running and device_id in found:
                found[device_id].take(one.need)
        return found

    leaked: dict[int, Any] = {}
    patch.setattr(queue, "accounts", leaking)


BROKEN: dict[Any, Callable[..., None]] = {
    drain_is_lost: properties.starts_nothing_where_it_may_not,
    reservation_is_lost: properties.starts_nothing_where_it_may_not,
    unloaded_jobs_are_not_counted: properties.books_no_byte_twice,
    starts_are_not_counted: properties.books_no_byte_twice,
    first_in_line_is_pushed_back: properties.never_delays_the_first,
    spare_is_given_twice: properties.never_delays_the_first,
    backoff_overtakes: properties.keeps_a_rank_by_waiting,
    waiting_lowers_a_rank: properties.keeps_a_rank_by_waiting,
    nobody_counts_skips: properties.starves_nobody,
    a_gang_counts_on_its_first_device: properties.books_no_byte_twice,
    a_gang_starts_where_its_first_device_has_room: properties.books_no_byte_twice,
    a_gang_is_promised_its_first_device: properties.never_delays_the_first,
    a_gang_keeps_its_other_devices: properties.gives_all_of_a_gang_back,
}


@pytest.mark.parametrize("breaks", BROKEN, ids=[one.__name__ for one in BROKEN])
def test_a_broken_queue_is_found_out(
    breaks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch)
    with pytest.raises(AssertionError):
        until_it_fails(BROKEN[breaks])


def until_it_fails(holds: Callable[..., None]) -> None:
    for seed in range(SEEDS):
        holds(queue.decide_queue, random.Random(seed))
