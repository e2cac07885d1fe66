"""What a person mistypes and what others write: refused or cut, never taken for something else."""

import json

import pytest

from mesh.api.errors import RequestError
from mesh.api.rentals.asked import parse_rent
from mesh.api.rentals.rows import rental_rows
from mesh.cli.output import show_at
from mesh.edge.clouds.renting.writing import _clipped
from mesh.ledger.codec import MAX_INT
from mesh.state.rentals.requests import MAX_LIFE_MS
from tests.edge.clouds.attacked import CROOK, T0, Attacked


@pytest.mark.parametrize("cap", ["0", "$0", "0.0000000001", "99999999999999999999"])
def test_a_cap_of_nothing_or_of_all_money_is_refused(cap: str) -> None:
    with pytest.raises(RequestError, match="cap: .* is not between"):
        parse_rent({"life": "1h", "cap": cap})


def test_an_idle_time_longer_than_any_life_is_as_long_as_the_longest() -> None:
    assert parse_rent({"life": "1h", "idle": "99999999999d"}).idle_ms == MAX_LIFE_MS


@pytest.mark.parametrize("given", [10**30, MAX_INT + 1])
def test_a_sum_beyond_what_an_event_holds_is_the_most_that_it_holds(given: int) -> None:
    assert _clipped(given) == MAX_INT


async def test_rentals_of_64_kib_texts_and_of_any_year_can_be_shown() -> None:
    peer = Attacked()
    await peer.steps(20)
    peer.write("account_taken", epoch=1, peer=CROOK)
    long, most = "x" * 60_000, MAX_INT
    found = {"label": long, "instance_id": long, "rate_nusd": most, "since_ms": most}
    named = {"rental_id": "x", "turn": T0, "at_ms": T0}
    peer.write("orphan_found", job_id=long, request_id=long, expires_ms=most, **found, **named)
    peer.write("return_decided", why=long, **named)
    (row,) = rental_rows(peer.state, T0, {}, ended=True)
    assert len(json.dumps(row)) < 4_000
    assert show_at(row["expires_ms"]) == "?"
