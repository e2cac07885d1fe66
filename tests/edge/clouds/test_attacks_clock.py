"""What a provider's wrong dates can make of an account: no healthy machine ends by one of them."""

import sys
import time

import pytest

from mesh.edge.clouds.adapters import own_ms
from mesh.edge.clouds.renting.clock import AccountClock
from providers.rental.reading import date_ms
from tests.edge.clouds.attacked import T0, Attacked

DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS


async def test_one_reply_with_a_date_years_ahead_ends_no_machine() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    peer.inner.dates = [T0 + 3 * YEAR_MS]
    await peer.steps(60, 5_000)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert (one.wanted, one.over, peer.cloud.ended) == (True, "", [])
    assert abs(peer.actor.clock.now() - peer.inner.now_ms) < 2_000


async def test_the_first_reply_of_all_with_a_date_years_ahead_ends_no_machine() -> None:
    peer = Attacked()
    peer.inner.dates = [T0 + 3 * YEAR_MS]
    rental_id = await peer.rented()
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert one.made_ms < T0 + DAY_MS
    assert peer.cloud.ended == []


async def test_dates_that_jump_with_each_reply_move_nothing_and_are_told() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    for at in range(400):
        peer.inner.dates.append(T0 + (at % 7 - 3) * YEAR_MS)
    await peer.steps(200, 5_000)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert (one.wanted, peer.cloud.ended) == (True, [])
    assert peer.actor.calls.trouble == "clock"
    assert ("", "clock") in peer.alarms


async def test_a_machine_whose_time_is_over_is_returned_though_dates_jump() -> None:
    peer = Attacked()
    rental_id = await peer.rented()
    for at in range(400):
        peer.inner.dates.append(T0 + (at % 7 - 3) * YEAR_MS)
    peer.pass_ms(3_600_000)
    await peer.steps(20, 5_000)
    one = peer.actor.rental(rental_id)
    assert one is not None
    assert (one.over, peer.cloud.ended[:1]) == ("life_over", [one.instance_id])


@pytest.mark.parametrize("text", ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_date_that_no_provider_has_is_none(text: str) -> None:
    assert date_ms(text) is None


def test_a_clock_put_right_by_seconds_needs_one_reply_alone() -> None:
    clock = AccountClock(lambda: T0)
    for _ in range(2):
        clock.hear("Mon, 21 Sep 2026 14:13:20 GMT", T0)
    assert clock.hear("Mon, 21 Sep 2026 14:13:50 GMT", T0) == 30_000


@pytest.mark.skipif(sys.platform != "linux", reason="the name of the clock is the kernel's")
def test_our_own_clock_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def read(clock: int) -> int:
        asked.append(clock)
        return 7_000_000

    monkeypatch.setattr(time, "clock_gettime_ns", read)
    assert (own_ms(), asked) == (7, [time.CLOCK_BOOTTIME])
