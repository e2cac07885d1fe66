"""Joules by trapezoids, against sums done by hand."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from providers.telemetry.energy import MAX_GAP_MS, Meter, Point, added


def joules(
    samples: Iterable[Point], start_ms: int, end_ms: int, tdp_mw: int | None = None
) -> tuple[int | None, str]:
    """(millijoules, basis) of a stretch of time; samples outside it only give its ends' power.

    basis: "measured"; "estimated" where more than a tenth rests on `tdp_mw`; (None, "unknown")
    where neither says.
    """
    meter = Meter(start_ms, tdp_mw)
    for point in samples:
        meter.add(point, end_ms)
        if point.at_ms >= end_ms:
            break
    return meter.finish(end_ms)


def test_steady_power_is_watts_times_seconds() -> None:
    points = [Point(1_000 * second, 300_000) for second in range(11)]
    assert joules(points, 0, 10_000) == (3_000_000, "measured")


def test_between_two_readings_power_goes_straight() -> None:
    """From 100 W to 300 W in 10 s: 2,000 J; its second half: (200 + 300) / 2 W for 5 s."""
    points = [Point(0, 100_000), Point(10_000, 300_000)]
    assert joules(points, 0, 10_000) == (2_000_000, "measured")
    assert joules(points, 5_000, 10_000) == (1_250_000, "measured")
    assert joules(points, 0, 5_000) == (750_000, "measured")


def test_attempts_that_share_a_device_share_what_it_draws() -> None:
    points = [Point(0, 300_000, None, 2), Point(10_000, 300_000, None, 2)]
    assert joules(points, 0, 10_000) == (1_500_000, "measured")


def test_a_short_attempt_between_two_readings_has_what_was_drawn_then() -> None:
    points = [Point(0, 100_000), Point(15_000, 100_000)]
    assert joules(points, 7_000, 8_000) == (100_000, "measured")


def test_without_readings_it_is_the_share_of_the_tdp_and_says_so() -> None:
    busy = [Point(1_000 * second, None, 50) for second in range(11)]
    assert joules(busy, 0, 10_000, tdp_mw=400_000) == (2_000_000, "estimated")
    assert joules([], 0, 10_000, tdp_mw=400_000) == (4_000_000, "estimated")


def test_without_readings_and_without_a_tdp_it_is_unknown_not_0() -> None:
    assert joules([], 0, 10_000) == (None, "unknown")
    assert joules([Point(0), Point(10_000)], 0, 10_000) == (None, "unknown")


def test_a_gap_is_not_bridged() -> None:
    points = [Point(0, 100_000), Point(MAX_GAP_MS + 1, 100_000)]
    assert joules(points, 0, MAX_GAP_MS + 1) == (None, "unknown")
    energy, basis = joules(points, 0, MAX_GAP_MS + 1, tdp_mw=200_000)
    assert basis == "estimated"
    assert energy == 200 * (MAX_GAP_MS + 1)


def test_no_time_is_unknown() -> None:
    assert joules([Point(0, 100_000)], 5_000, 5_000) == (None, "unknown")


@given(
    st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 700_000)), min_size=3),
    st.data(),
)
def test_a_time_cut_in_two_has_the_energy_of_both_halves(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    points, at = [], 0
    for gap, power in steps:
        points.append(Point(at, power))
        at += gap
    end = points[-1].at_ms
    cut = data.draw(st.integers(1, end - 1))
    whole, first, second = (joules(points, *ends)[0] for ends in ((0, end), (0, cut), (cut, end)))
    assert whole is not None
    assert first is not None
    assert second is not None
    assert abs(whole - first - second) <= 2 + len(points)  # each stretch is rounded once


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 700_000)), min_size=2))
def test_a_meter_that_is_fed_as_readings_come_says_the_same(steps: list[tuple[int, int]]) -> None:
    points, at = [], 0
    for gap, power in steps:
        points.append(Point(at, power))
        at += gap
    meter = Meter(0)
    for point in points:
        meter.add(point)
    assert meter.result() == joules(points, 0, points[-1].at_ms)


def test_what_several_devices_drew_is_known_where_each_is() -> None:
    assert added([(5, "measured"), (7, "measured")]) == (12, "measured")
    assert added([(5, "measured"), (7, "estimated")]) == (12, "estimated")
    assert added([(5, "measured"), (None, "unknown")]) == (None, "unknown")
    assert added([]) == (None, "unknown")
