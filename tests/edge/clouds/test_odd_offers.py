"""Whatever an adapter makes of a provider's words: it becomes an event to sign, or is refused."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.ledger import codec
from mesh.state.market.groups import MAX_ROWS
from providers.rental.contract import Offer
from tests.edge.clouds.stand_in import VAST, Peer, StandIn

NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.integers(0, 64) | st.just(24 << 30)
TEXTS = st.text(max_size=200) | st.sampled_from(["RTX 4090", "H100 SXM", "\x1b[31mred", ""])
OFFERS = st.builds(
    Offer,
    provider=st.just("vastai"),
    offer_id=TEXTS,
    gpu=TEXTS,
    gpu_count=NUMBERS,
    memory_bytes=NUMBERS,
    hourly_nusd=NUMBERS | st.integers(1, 10**10),
    spot=st.booleans(),
    region=TEXTS,
    host_id=TEXTS,
    available=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(first=st.lists(OFFERS, max_size=12), then=st.lists(OFFERS, max_size=12))
async def test_odd_offers_are_refused_or_told(first: list[Offer], then: list[Offer]) -> None:
    cloud = StandIn(tuple(first))
    peer = Peer({VAST: cloud})
    await peer.watch.turn()
    cloud.found = tuple(then)
    peer.now += 300_000
    await peer.watch.turn()
    assert len(peer.emitted) == 2
    for one in peer.emitted:
        assert codec.decode(codec.encode(one.payload)) == one.payload
    for quote in peer.watch.known():
        assert quote.hourly_nusd > 0
        assert quote.gpu.isprintable()
    (latest,) = peer.state.market.latest().values()
    assert len(latest.rows) <= MAX_ROWS
