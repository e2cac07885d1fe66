"""What a member gone bad says of prices moves none that this peer saw itself, and ages none."""

import pytest

from mathcore.units import GIB, HOUR_MS, NUSD
from mesh.edge.clouds.prices.known import known_quotes
from mesh.state.market.groups import kind_of
from mesh.state.market.market import SLOT_MS
from mesh.state.market.quotes import OFFER, Quote
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, T0, event, told

CARD = kind_of("RTX 4090", 1, 24 * GIB, spot=False)
NOW = T0 + 10 * SLOT_MS


def seen(author: str, at: int, price: int, account: str = "main", refreshed_ms: int = 0):
    row = {
        "gpu": "RTX 4090", "gpu_count": 1, "memory_bytes": 24 * GIB, "n": 3,
        "min_nusd": price, "median_nusd": price,
    }  # fmt: skip
    said = {"provider": "vastai", "account": account, "rows": [row]}
    return event("offers_refreshed", at, author, refreshed_ms=refreshed_ms or T0 + at, **said)


def poisoned(price: int) -> State:
    mine = [seen(ANA, slot * SLOT_MS, NUSD) for slot in range(4)]
    bad = [
        seen(BEN, slot * SLOT_MS, price, account=f"x{n:02}") for slot in range(4) for n in range(16)
    ]
    return told([*mine, *bad])


@pytest.mark.parametrize("price", [1, 400 * NUSD])
def test_what_a_peer_saw_often_itself_is_usual_for_it_whatever_others_say(price: int) -> None:
    market = poisoned(price).market
    assert market.usual("vastai", NOW, ANA)[CARD].median_nusd == NUSD
    assert market.usual("vastai", NOW)[CARD].median_nusd == price


@pytest.mark.parametrize("ahead_ms", [-HOUR_MS, 0, 70 * 365 * 24 * HOUR_MS])
def test_a_word_of_another_with_whatever_date_hides_no_offer_that_can_be_taken(
    ahead_ms: int,
) -> None:
    state = told([seen(BEN, NOW - T0 + ahead_ms, 400 * NUSD)])
    mine = Quote(
        source=OFFER,
        provider="vastai",
        account="main",
        offer_id="7",
        gpu="RTX 4090",
        gpu_count=1,
        memory_bytes=24 * GIB,
        hourly_nusd=NUSD,
        at_ms=NOW - 200_000,
    )
    found = [one for one in known_quotes(state, NOW, [mine]) if one.provider == "vastai"]
    assert [one.offer_id for one in found] == ["7"]
