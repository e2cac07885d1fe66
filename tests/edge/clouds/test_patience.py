"""A question that would wait for long is answered at once, with the reason; no prices of an account
wait for those of another."""

import asyncio

import pytest

from mesh.edge.clouds.renting.wire import PATIENCE_MS
from mesh.policy.market import REFRESH_MS
from mesh.state.rentals.terms import HOUR_MS
from providers.rental.contract import Ask, Offer, Reply, Request, Unread
from tests.edge.clouds.attacked import Attacked
from tests.edge.clouds.stand_in import VAST, Peer, StandIn, offer

RUNPOD = ("runpod", "main")


class Asked(Attacked):
    """An account whose provider has offers."""

    def __init__(self) -> None:
        super().__init__()
        self.questions = 0
        vars(self.cloud)["offers"] = self._offers

    async def _offers(self, ask: Ask) -> tuple[Offer, ...]:
        self.questions += 1
        return (offer(),)

    def held(self, reply: Reply) -> None:
        """The provider answers so to a question for offers."""
        request = Request(op="offers", method="GET", path="/")
        self.actor._heard(request, reply, self.own_ms)


QUOTA = Reply(status=429, body={"error": "search_quota_exceeded"})


@pytest.mark.parametrize(
    ("reply", "why"),
    [(QUOTA, "quota"), (Reply(status=429, headers={"retry-after": "3600"}), "429")],
)
async def test_offers_that_are_held_for_hours_are_answered_at_once_with_the_reason(
    reply: Reply, why: str
) -> None:
    peer = Asked()
    await peer.steps(5)
    peer.held(reply)
    before = peer.own_ms
    assert await peer.actor.offers(Ask()) == Unread(why=why)
    assert (peer.own_ms, peer.questions) == (before, 0)
    peer.pass_ms(25 * HOUR_MS)
    assert await peer.actor.offers(Ask()) == (offer(),)


async def test_a_turn_that_comes_soon_is_waited_for() -> None:
    peer = Asked()
    await peer.steps(5)
    before = peer.own_ms
    peer.held(Reply(status=429, headers={"retry-after": "20"}))
    assert await peer.actor.offers(Ask()) == (offer(),)
    assert 20_000 <= peer.own_ms - before <= PATIENCE_MS


class Slow(StandIn):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__((offer(0.4),))
        self.may = asyncio.Event()

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        self.asked.append(ask)
        await self.may.wait()
        return await super().offers(ask)


async def test_a_provider_that_does_not_answer_stops_no_others_prices() -> None:
    slow, quick = Slow(), StandIn((offer(0.5),))
    peer = Peer({VAST: slow, RUNPOD: quick})
    looks, gone = 0, asyncio.Event()

    async def pause(seconds: float) -> None:
        nonlocal looks
        looks += 1
        peer.now += REFRESH_MS
        for _ in range(20):
            await asyncio.sleep(0)
        if looks > 3:
            gone.set()
            await asyncio.Event().wait()

    vars(peer.watch)["_pause"] = pause
    running = asyncio.create_task(peer.watch.run())
    await gone.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(slow.asked) == 1, "one question at a time"
    assert len(quick.asked) >= 3
    assert {one.account for one in peer.watch.offers} == {"main"}
    assert {one.provider for one in peer.watch.offers} == {"runpod"}


async def test_a_bug_in_one_accounts_prices_is_told_and_stops_no_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Bad(StandIn):
        async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
            raise KeyError("a bug")

    quick = StandIn((offer(0.5),))
    peer = Peer({VAST: Bad(), RUNPOD: quick})
    await peer.watch.turn()
    assert quick.asked
    assert "a bug" in capfd.readouterr().err
