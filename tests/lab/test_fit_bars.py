"""Four of five rows of devices and models nobody measured lie in their bars."""

import random
from math import sqrt
from statistics import fmean

import pytest

from scripts.lab.fit_bars import (
    Miss,
    bars_of,
    bars_without_device,
    half_width,
    pooled,
    robust,
    spread,
    spreads_of,
    student,
)


def drawn(seed: int, devices: int, sds: tuple[float, float, float]) -> list[Miss]:
    """Rows of devices whose errors have these standard deviations: between devices, between setups
    on one, between rows of one."""
    draw = random.Random(seed)
    models = {f"m{j}": draw.gauss(0.0, sds[1]) for j in range(5)}
    out = []
    for i in range(devices):
        own = draw.gauss(0.0, sds[0])
        for model in models:
            setup = draw.gauss(0.0, sds[1])
            for _ in range(4):
                error = own + setup + draw.gauss(0.0, sds[2])
                out.append(
                    Miss(
                        what="decode",
                        kind="known",
                        place="gddr",
                        device=f"d{i}",
                        setup=f"s {model}",
                        model=model,
                        device_out=error,
                        model_out=setup + draw.gauss(0.0, sds[2]),
                    )
                )
    return out


@pytest.mark.parametrize("sds", [(0.2, 0.1, 0.05), (0.05, 0.2, 0.1), (0.4, 0.1, 0.1)])
def test_bars_of_many_devices_hold_four_of_five_rows_of_another(
    sds: tuple[float, float, float],
) -> None:
    inside = []
    for seed in range(12):
        rows = drawn(seed, 10, sds)
        bars = bars_without_device(rows)
        inside += [
            low <= one.device_out <= high for one, (low, high) in zip(rows, bars, strict=True)
        ]
    assert 0.75 <= fmean(inside) <= 0.92


def test_few_devices_say_less_of_the_next_one_than_many() -> None:
    widths = []
    for count in (2, 4, 16):
        rows = drawn(3, 16, (0.2, 0.1, 0.05))[: 20 * count]
        low, high = bars_of(rows)["decode", "known", "gddr"]
        widths.append(high - low)
    assert widths[0] > widths[2]


def test_one_absurd_row_does_not_make_a_class_absurd() -> None:
    rows = drawn(1, 8, (0.1, 0.1, 0.05))
    wild = [*rows[1:], Miss(**{**_fields(rows[0]), "device_out": 5.0, "model_out": 5.0})]
    sane, after = (bars_of(some)["decode", "known", "gddr"] for some in (rows, wild))
    assert after[1] - after[0] < 1.3 * (sane[1] - sane[0])


def _fields(one: Miss) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}


def test_a_class_nobody_measured_has_the_wider_bar_of_all() -> None:
    bars = bars_of(drawn(2, 8, (0.1, 0.1, 0.05)))
    own, any_class = bars["decode", "known", "gddr"], bars["decode", "known", ""]
    assert any_class[1] - any_class[0] > own[1] - own[0]


def test_bars_are_written_under_the_names_the_planner_looks_up() -> None:
    found = spreads_of(drawn(4, 6, (0.1, 0.1, 0.05)))
    assert set(found) == {"decode gddr known", "decode known"}
    assert all(low < 0.0 < high for low, high in found.values())


def test_student_s_t_at_the_90th_percentile() -> None:
    """Tables have 1.886, 1.638, 1.372 and 1.325 for 2, 3, 10 and 20 degrees of freedom."""
    for degrees, value in ((2, 1.886), (3, 1.638), (10, 1.372), (20, 1.325)):
        assert student(degrees) == pytest.approx(value, abs=0.002)
    assert student(2.5) == pytest.approx((1.886 + 1.638) / 2)


def test_a_mean_square_counts_far_errors_no_further_than_the_cut() -> None:
    near = [0.1, -0.1] * 10
    assert robust(near) == pytest.approx(0.01)
    assert robust([*near, 9.0]) < 0.02


def test_without_a_device_the_bar_is_that_of_the_pooled_variances() -> None:
    middle, half = half_width(spread([]), pooled([]))
    assert middle == 0.0
    assert half == pytest.approx(student(1.5) * sqrt(2 * (0.03 + 0.02 + 0.01)))
