"""What vLLM holds besides its cache."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import GIB, ModelSpec, find_model
from mathcore.engines.vllm.cache import VllmShape, largest_context
from mathcore.engines.vllm.memory import (
    AMPERE,
    HOPPER,
    activation_bytes,
    budget,
    graph_bytes,
    graph_count,
    vllm_footprint,
)


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


LLAMA = model("llama-3.1-8b")
WEIGHTS = 16_060_522_496  # bytes of the published safetensors


def test_graphs_are_captured_for_the_batch_sizes_vllm_lists() -> None:
    # 35 at 256 sequences and 51 at 1024 (Apron, from boots); sizes end at 512.
    assert [graph_count(n) for n in (1, 2, 4, 8, 256, 1024)] == [1, 2, 3, 4, 35, 51]
    shape = VllmShape(context=8192, sequences=256)
    assert graph_bytes(LLAMA, shape, HOPPER) == 32 * 35 * 537 * 1024


def test_an_8b_on_a_24_gib_card_has_room_for_some_20_thousand_tokens() -> None:
    shape = VllmShape(context=8192, sequences=256, batched_tokens=2048)
    found = budget(LLAMA, WEIGHTS, shape, AMPERE, 25_250_627_584)
    parts = (
        found.weights_bytes
        + found.non_torch_bytes
        + found.activation_bytes
        + found.graph_bytes
        + found.cache_bytes
    )
    assert parts == found.requested_bytes == 25_250_627_584 * 92 // 100
    assert found.largest_context == largest_context(LLAMA, shape, found.cache_bytes)
    assert found.shown_tokens // 16 * 16 <= found.blocks * 16


def test_a_card_too_small_for_the_weights_has_no_cache() -> None:
    found = budget(LLAMA, WEIGHTS, VllmShape(context=8192), AMPERE, 8 * GIB)
    assert (found.cache_bytes, found.shown_tokens, found.largest_context) == (0, 0, 0)


@given(
    context=st.integers(1, 100_000),
    more=st.integers(0, 100_000),
    sequences=st.integers(1, 64),
    extra=st.integers(0, 64),
    tp=st.sampled_from([1, 2, 4, 8]),
)
def test_more_context_or_sequences_never_needs_less_and_terms_sum_up(
    context: int, more: int, sequences: int, extra: int, tp: int
) -> None:
    shape = VllmShape(context=context, sequences=sequences, tensor_parallel=tp)
    small = vllm_footprint(LLAMA, WEIGHTS, shape, HOPPER)
    for larger in (
        replace(shape, context=context + more),
        replace(shape, sequences=sequences + extra),
    ):
        assert small.total_bytes <= vllm_footprint(LLAMA, WEIGHTS, larger, HOPPER).total_bytes
    assert small.card_bytes * tp == small.total_bytes
    assert activation_bytes(LLAMA, shape) > 0
