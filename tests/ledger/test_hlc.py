"""Hybrid time rises, whatever the wall clock does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger import hlc
from mesh.ledger.hlc import Stamp

STAMPS = st.builds(Stamp, st.integers(0, hlc.MAX_MS), st.integers(0, hlc.MAX_COUNTER))


@given(STAMPS, st.integers(0, hlc.MAX_MS))
def test_every_event_comes_after_the_last_one(last: Stamp, now: int) -> None:
    assert hlc.send(last, now) > last


@given(STAMPS, STAMPS)
def test_the_text_reads_back_and_sorts_like_the_clock_of_this_century(a: Stamp, b: Stamp) -> None:
    assert hlc.parse(hlc.render(a)) == a
    if len(hlc.render(a)) == len(hlc.render(b)):
        assert (hlc.render(a) < hlc.render(b)) == (a < b)


@given(STAMPS, STAMPS, st.integers(0, hlc.MAX_MS))
def test_a_peer_pulls_us_at_most_five_minutes_ahead(last: Stamp, remote: Stamp, now: int) -> None:
    assert hlc.receive(last, remote, now).ms <= max(last.ms, now + hlc.MAX_DRIFT_MS)


def test_the_counter_overflows_into_the_next_millisecond() -> None:
    assert hlc.send(Stamp(5, 99_999), 3) == Stamp(6, 0)


def test_a_timestamp_is_rfc_3339_in_utc() -> None:
    assert hlc.timestamp(1_790_000_000_007) == "2026-09-21T14:13:20.007Z"
    assert hlc.timestamp(0) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "1-1",
        "0000000000001-0001",
        "00000000000001-00001",
        "x" * 19,
        "-000000000001-00001",
        "9999999999999999-00000",
        "٠٠٠٠٠٠٠٠٠٠٠٠١-00001",
    ],
)
def test_anything_else_is_no_stamp(text: str) -> None:
    with pytest.raises(ValueError, match="not a clock stamp"):
        hlc.parse(text)
