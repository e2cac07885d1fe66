"""What a device can do with a model at most: it fits, and one step more does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import GIB, DeviceSpec, ModelSpec, Query, Rate, find_model
from mathcore.engines.llamacpp.cache import CELL_PAD
from mathcore.planner.capacity import Model, capacity, largest_context, largest_sequences


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


SMALL = model("llama-3.2-1b")
LARGE = model("llama-3-70b")


def card(free_bytes: int, engine: str = "llama.cpp") -> DeviceSpec:
    return DeviceSpec(
        device_id="d",
        name="card",
        kind="apple" if engine == "mlx" else "gpu",
        model="",
        count=1,
        memory_bytes=free_bytes,
        free_bytes=free_bytes,
        free_basis="measured",
        bandwidth_bytes_per_s=10**12,
        bandwidth_basis="catalogue",
        flops=10**14,
        watts=300,
        engines=(engine,),
        location="",
        provider="local",
        ram_free_bytes=0,
        ram_bandwidth_bytes_per_s=0,
        rate=Rate(),
    )


@settings(max_examples=25)
@given(
    free=st.integers(GIB, 8 * GIB),
    sequences=st.integers(1, 4),
    engine=st.sampled_from(["llama.cpp", "mlx"]),
)
def test_the_largest_context_fits_and_one_step_more_does_not(
    free: int, sequences: int, engine: str
) -> None:
    quant = "MLX-4bit" if engine == "mlx" else "Q4_K_M"
    query = Query(model=SMALL, model_ref="m", batch=sequences)
    asked = Model(query, card(free, engine), engine)
    found = largest_context(asked, quant)
    if found:
        assert asked.fits(quant, sequences, found)
    if found < SMALL.context_length:
        assert not asked.fits(quant, sequences, found + CELL_PAD)


@settings(max_examples=25)
@given(free=st.integers(GIB, 8 * GIB), context=st.integers(1, 8192))
def test_the_largest_number_of_sequences_fits_and_one_more_does_not(
    free: int, context: int
) -> None:
    asked = Model(Query(model=SMALL, model_ref="m", context=context), card(free), "llama.cpp")
    found = largest_sequences(asked, "Q8_0")
    assert found == 0 or asked.fits("Q8_0", found, context)
    assert not asked.fits("Q8_0", found + 1, context)


@pytest.mark.parametrize(
    ("free_gib", "quant"),
    [
        (160, "F16"),
        (80, "Q8_0"),
        (60, "Q6_K"),
        (44, "Q4_K_M"),
        (24, "IQ2_M"),
        (18, "IQ1_M"),
        (14, ""),
    ],
)
def test_the_best_quantisation_is_the_first_of_the_ladder_that_fits(
    free_gib: int, quant: str
) -> None:
    found = capacity(Query(model=LARGE, model_ref="m"), card(free_gib * GIB))
    assert found.best_quant == quant
