"""An account's prices: asked for every five minutes, kept whole here, told in short to others."""

import json
import random

import pytest

from mathcore.units import NUSD
from mesh.edge.clouds.prices.known import known_quotes, ledger_quotes
from mesh.edge.clouds.prices.market import MAX_BACKOFF_MS
from mesh.ledger import codec
from mesh.policy.market import REFRESH_MS, TAKE_OVER_MS
from mesh.state.fold import apply
from mesh.state.market.market import SLOT_MS
from providers.rental.contract import Unread
from tests.edge.clouds.stand_in import VAST, Peer, StandIn, offer, profile
from tests.state.job_story import BEN, T0, event

USUAL = (offer(0.4), offer(0.5), offer(0.3, spot=True))


def payloads(peer: Peer) -> list[dict[str, object]]:
    return [one.payload for one in peer.emitted]


async def test_offers_are_kept_whole_and_told_in_groups() -> None:
    peer = Peer({VAST: StandIn(USUAL)})
    await peer.watch.turn()
    assert {one.offer_id for one in peer.watch.offers} == {"id-0.4", "id-0.5", "id-0.3"}
    (said,) = payloads(peer)
    assert (said["provider"], said["account"], said["offers"]) == ("vastai", "main", 3)
    rows = said["rows"]
    assert isinstance(rows, list)
    found = {(row.get("spot", False), row["n"], row["min_nusd"]) for row in rows}
    assert found == {(False, 2, 4 * NUSD // 10), (True, 1, 3 * NUSD // 10)}


async def test_an_event_has_nothing_of_single_machines() -> None:
    secret = offer(0.4, offer_id="offer-77", host_id="host-88")
    peer = Peer({VAST: StandIn((secret,))})
    await peer.watch.turn()
    text = json.dumps(payloads(peer))
    assert "77" not in text
    assert "88" not in text


async def test_a_provider_is_asked_every_five_minutes_and_no_sooner() -> None:
    cloud = StandIn(USUAL, profile(has_spot=False))
    peer = Peer({VAST: cloud})
    for step in range(61):
        peer.now = T0 + step * 10_000
        await peer.watch.turn()
    assert len(cloud.asked) == 3


async def test_spot_machines_are_asked_for_after_the_providers_own_pause() -> None:
    cloud = StandIn(USUAL)
    peer = Peer({VAST: cloud})
    await peer.watch.turn()
    assert [one.spot for one in cloud.asked] == [False, True]
    assert peer.paused == [6.0]


async def test_prices_that_stand_still_are_told_in_a_word() -> None:
    peer = Peer({VAST: StandIn(USUAL)})
    await peer.watch.turn()
    peer.now += REFRESH_MS
    await peer.watch.turn()
    assert payloads(peer)[1]["partial"] is True
    assert "rows" not in payloads(peer)[1]
    assert len(codec.encode(payloads(peer)[1])) < 120
    (latest,) = peer.state.market.latest().values()
    assert (latest.seen_ms, len(latest.rows)) == (peer.now, 2)


async def test_a_price_that_moved_is_told_alone_and_a_new_part_of_the_day_whole() -> None:
    cloud = StandIn(USUAL)
    peer = Peer({VAST: cloud})
    await peer.watch.turn()
    cloud.found = (offer(0.45), offer(0.5), offer(0.3, spot=True))
    peer.now += REFRESH_MS
    await peer.watch.turn()
    peer.now += SLOT_MS
    await peer.watch.turn()
    rows = [one["rows"] for one in payloads(peer)]
    assert [len(one) for one in rows] == [2, 1, 2]  # type: ignore[arg-type]
    assert [one.get("partial", False) for one in payloads(peer)] == [False, True, False]


async def test_others_end_up_with_what_this_peer_sees_to_a_twentieth() -> None:
    cloud = StandIn(profile=profile(has_spot=False))
    peer, chance = Peer({VAST: cloud}), random.Random(7)
    names = [f"RTX 40{n}0" for n in range(40)]
    for _ in range(100):
        kinds = chance.sample(names, 30)
        cloud.found = tuple(offer(chance.choice((0.4, 0.41, 0.6)), gpu=gpu) for gpu in kinds)
        peer.now += REFRESH_MS
        await peer.watch.turn()
        (latest,) = peer.state.market.latest().values()
        heard = {row.gpu: row.min_nusd for row in latest.rows}
        seen = {one.gpu: one.hourly_nusd for one in peer.watch.offers}
        assert heard.keys() == seen.keys()
        assert all(abs(heard[gpu] - seen[gpu]) <= seen[gpu] * 0.05 + 1 for gpu in seen)


async def test_an_hour_of_a_large_market_takes_few_bytes() -> None:
    cloud = StandIn(profile=profile(has_spot=False))
    peer, chance = Peer({VAST: cloud}), random.Random(3)
    prices = {f"RTX 40{n:02}": 0.4 for n in range(96)}
    for _ in range(12):
        for gpu in chance.sample(sorted(prices), 10):
            prices[gpu] *= chance.choice((0.9, 1.1))
        cloud.found = tuple(offer(price, gpu=gpu) for gpu, price in prices.items())
        peer.now += REFRESH_MS
        await peer.watch.turn()
    sizes = [len(codec.encode(one)) for one in payloads(peer)]
    assert sizes[0] < 16_000
    assert sum(sizes[1:]) / len(sizes[1:]) < 2_000


async def test_a_wrong_price_is_refused_with_a_reason_and_counted() -> None:
    bait = offer(0.01, gpu="B200", memory_bytes=183359 << 20)
    peer = Peer({VAST: StandIn((*USUAL, bait, offer(0), offer(90)))})
    await peer.watch.turn()
    reasons = [one.why for one in peer.watch.refused]
    assert "it has no price" in reasons
    assert any("more than 5 times" in why for why in reasons)
    assert payloads(peer)[0]["refused"] == len(reasons) == 3


async def test_what_cannot_be_rented_now_is_no_offer() -> None:
    peer = Peer({VAST: StandIn((offer(0.4, available=False),))})
    await peer.watch.turn()
    assert peer.watch.offers == ()


async def test_a_provider_that_fails_keeps_its_last_prices_and_is_asked_less_and_less() -> None:
    cloud = StandIn(USUAL, profile(has_spot=False))
    peer = Peer({VAST: cloud})
    await peer.watch.turn()
    cloud.found = Unread(why="429", text="too \x1b[31m many")
    times = []
    for step in range(1, 24 * 360):
        peer.now = T0 + step * 10_000
        before = len(cloud.asked)
        await peer.watch.turn()
        times += [peer.now] * (len(cloud.asked) - before)
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert gaps[:3] == [REFRESH_MS, 2 * REFRESH_MS, 4 * REFRESH_MS]
    assert max(gaps) == MAX_BACKOFF_MS
    assert len(peer.watch.offers) == 2
    assert len(peer.emitted) == 1
    assert peer.watch.troubles[VAST].why == "429"
    assert "\x1b" not in peer.watch.troubles[VAST].text


async def test_one_provider_that_fails_stops_no_other() -> None:
    peer = Peer({("a", "x"): StandIn(Unread(why="5xx")), VAST: StandIn(USUAL)})
    await peer.watch.turn()
    assert len(peer.watch.offers) == 3
    assert list(peer.watch.troubles) == [("a", "x")]


async def test_another_peer_with_the_key_takes_over_when_the_first_is_silent() -> None:
    cloud = StandIn(USUAL, profile(has_spot=False))
    peer = Peer({VAST: cloud})
    said = {"provider": VAST[0], "account": VAST[1], "refreshed_ms": T0 - 1}
    apply(peer.state, event("offers_refreshed", -1, BEN, **said))
    await peer.watch.turn()
    assert cloud.asked == []
    peer.now += TAKE_OVER_MS
    await peer.watch.turn()
    assert len(cloud.asked) == 1


async def test_an_account_of_another_peer_is_not_asked_for() -> None:
    cloud = StandIn(USUAL)
    await Peer({VAST: cloud}, owner=BEN).watch.turn()
    assert cloud.asked == []


async def test_a_peer_that_may_not_sign_still_knows_its_prices() -> None:
    peer = Peer({VAST: StandIn(USUAL)})
    peer.signs = False
    await peer.watch.turn()
    assert peer.emitted == []
    assert len(peer.watch.offers) == 3


async def test_a_key_that_is_taken_away_is_asked_no_more() -> None:
    held = {VAST: StandIn(USUAL, profile(has_spot=False))}
    peer, cloud = Peer(held), held[VAST]
    await peer.watch.turn()
    held.clear()
    peer.now += REFRESH_MS
    await peer.watch.turn()
    assert len(cloud.asked) == 1


@pytest.mark.parametrize("gpu", ["RTX\x1b[31m 4090", "RTX  4090 \n"])
async def test_a_providers_words_lose_what_is_not_to_be_printed(gpu: str) -> None:
    peer = Peer({VAST: StandIn((offer(0.4, gpu=gpu),))})
    await peer.watch.turn()
    (one,) = peer.watch.offers
    assert one.gpu.isprintable()


# What a peer knows


async def test_own_offers_go_before_the_ledger_and_the_ledger_before_the_table() -> None:
    peer = Peer({VAST: StandIn(USUAL)})
    table = {one.provider: one.source for one in known_quotes(peer.state, peer.now)}
    assert table == dict.fromkeys(("lambdalabs", "runpod", "vastai"), "typical")
    await peer.watch.turn()
    heard = {one.provider: one.source for one in known_quotes(peer.state, peer.now)}
    assert heard["vastai"] == "ledger"
    here = {one.provider: one.source for one in peer.watch.known()}
    assert here == {"vastai": "offer", "lambdalabs": "typical", "runpod": "typical"}


async def test_what_another_peer_saw_later_goes_before_ones_own_old_offers() -> None:
    peer = Peer({VAST: StandIn(USUAL)})
    await peer.watch.turn()
    row = {"gpu": "RTX 4090", "gpu_count": 1, "memory_bytes": 24 << 30, "n": 1}
    rows = [{**row, "min_nusd": NUSD // 2, "median_nusd": NUSD // 2}]
    at = TAKE_OVER_MS + REFRESH_MS
    said = {"provider": "vastai", "account": "main", "refreshed_ms": T0 + at, "rows": rows}
    apply(peer.state, event("offers_refreshed", at, BEN, **said))
    peer.now += at
    vast = [one for one in peer.watch.known() if one.provider == "vastai"]
    assert [(one.source, one.hourly_nusd) for one in vast] == [("ledger", NUSD // 2)]


async def test_offers_of_an_account_whose_key_is_gone_cannot_be_taken() -> None:
    held = {VAST: StandIn(USUAL)}
    peer = Peer(held)
    await peer.watch.turn()
    held.clear()
    assert peer.watch.offers == ()


async def test_a_price_of_another_peer_that_cannot_be_is_not_believed() -> None:
    peer = Peer({})
    row = {"gpu": "B200", "gpu_count": 1, "memory_bytes": 180 << 30, "n": 1}
    said = {"provider": "vastai", "account": "x", "refreshed_ms": T0}
    rows = [{**row, "min_nusd": NUSD // 100, "median_nusd": NUSD // 100}]
    apply(peer.state, event("offers_refreshed", 0, BEN, **said, rows=rows))
    assert ledger_quotes(peer.state, peer.now) == ()
    assert peer.state.market.latest()["vastai", "x"].author == BEN
