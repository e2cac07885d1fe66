"""A memory shared with a processor: "fit" is said of what its GPU has whatever nobody stated."""

import pytest

from mathcore.api import GIB, Query, plan
from mathcore.catalogue.models import find_model
from mathcore.planner.capacity import capacity
from mathcore.planner.limits import kept_bytes
from mesh.edge.planning import what_ifs

# GiB the GPU was seen to have: the device's own report.
SEEN = [
    ("M3 Max 48GB", 36.00),
    ("M1 Max 64GB", 51.84),
    ("M5 Max 128GB", 107.52),
    ("Ryzen AI Max+ 395 128GB", 111.89),
    ("Ryzen AI Max+ 395 128GB (96GB carve-out)", 111.89),
]


@pytest.mark.parametrize(("text", "gib"), SEEN)
def test_what_a_device_reported_lies_in_the_range_planned_with(text: str, gib: float) -> None:
    (device,) = what_ifs([text]).values()
    assert device.sure_bytes <= (gib + 0.05) * GIB
    assert (gib - 0.05) * GIB <= device.free_bytes


@pytest.mark.parametrize(
    ("text", "quant", "fit"),
    [
        ("M1 Max 64GB", "Q4_K_M", "fit"),  # 43 GB of 48 at worst
        ("M1 Max 64GB", "Q5_K_M", "tight"),  # 46.9 of 48 at worst
        ("M1 Max 64GB macOS 26", "Q5_K_M", "fit"),
        ("M1 Max 64GB iogpu.wired_limit_mb=61440", "Q5_K_M", "fit"),
        ("M1 Max 64GB macOS 15", "Q5_K_M", "tight"),  # within the margin
        ("M1 Max 64GB macOS 26", "Q6_K", "no"),
        ("M1 Max 64GB iogpu.wired_limit_mb=61440", "Q6_K", "fit"),
        ("Strix Halo 128GB", "Q5_K_M", "fit"),
        ("Strix Halo 128GB", "Q8_0", "tight"),  # 75 GB of 62.5 to 111.9
        ("Strix Halo 128GB 96GB GTT", "Q8_0", "fit"),
        ("Strix Halo 128GB 62GB GTT", "Q8_0", "no"),
    ],
)
def test_what_fits_only_with_the_right_settings_is_tight(text: str, quant: str, fit: str) -> None:
    spec = find_model("llama-3.3-70b")
    assert spec is not None
    query = Query(model=spec, model_ref="", quant=quant, engine="llama.cpp")
    placements = plan(query, list(what_ifs([text]).values())).placements
    assert (placements[0].fit if placements else "no") == fit


def test_what_must_remain_is_the_margin_and_what_is_free_only_at_best() -> None:
    (device,) = what_ifs(["M5 Max 128GB"]).values()
    assert kept_bytes(device) == GIB + device.free_bytes - device.free_low_bytes
    (card,) = what_ifs(["RTX 4090"]).values()
    assert kept_bytes(card) == GIB


@pytest.mark.parametrize(
    ("text", "quant"),
    [("M4 16GB", "Q4_K_M"), ("M4 16GB macOS 26", "Q5_K_M"), ("M4 16GB macOS 15", "Q4_K_M")],
)
def test_where_nobody_names_a_type_the_one_that_fits_for_sure_is_chosen(
    text: str, quant: str
) -> None:
    """14B parameters and 8k: 10.9 GiB at Q5_K_M, 9.6 at Q4_K_M; 10.67 or 11.84 GiB free."""
    spec = find_model("qwen3-14b")
    assert spec is not None
    query = Query(model=spec, model_ref="", engine="llama.cpp", context=8192)
    assert plan(query, list(what_ifs([text]).values())).placements[0].quant == quant


def test_what_a_device_can_do_at_most_is_what_it_can_for_sure() -> None:
    spec = find_model("qwen3-14b")
    assert spec is not None
    asked = Query(model=spec, model_ref="m", quant="Q5_K_M")
    old, new, either = (
        capacity(asked, device)
        for text in ("M4 16GB macOS 15", "M4 16GB macOS 26", "M4 16GB")
        for device in what_ifs([text]).values()
    )
    assert old.context == either.context < new.context
