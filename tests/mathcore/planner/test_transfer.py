"""How long a model takes from peer to peer, before an engine can load it."""

import pytest

from mathcore.planner.loading import TRANSFER_START_S, transfer_ms

GIGABIT, GB = 1_000_000_000, 1_000_000_000


def test_a_measured_line_says_it_best() -> None:
    found = transfer_ms(10 * GB, GIGABIT, 400_000_000)
    assert found.p50 == pytest.approx(200_000 + 1000 * TRANSFER_START_S)
    assert found.p90 < 1.25 * found.p50


def test_a_known_line_gives_its_net_rate_up_to_what_tls_can() -> None:
    assert transfer_ms(GB, GIGABIT, 0).p50 == pytest.approx(8_511 + 100, rel=0.01)
    fast = transfer_ms(GB, 100 * GIGABIT, 0)
    assert fast.p50 == pytest.approx(2_000 + 100, rel=0.01)
    assert fast.p90 > 1.4 * fast.p50


def test_an_unknown_line_is_taken_for_a_gigabit_with_a_wide_bar() -> None:
    known, unknown = transfer_ms(GB, GIGABIT, 0), transfer_ms(GB, 0, 0)
    assert unknown.p50 == pytest.approx(known.p50)
    assert unknown.p90 == pytest.approx(4 * unknown.p50)


def test_what_is_here_takes_no_time() -> None:
    assert transfer_ms(0, GIGABIT, 0).p90 == 0.0
