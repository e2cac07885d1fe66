"""vLLM's cache against figures real boots printed and an independent trace of its source.

Sources: club-3090 issues 104, 294, 295, 612, 652, 1047; vllm threads 51041, 28228, 27017, 21348,
13061; spark-vllm-docker 396; redhat-performance/configiq 112; Apron's trace of vLLM 0.29.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import GIB, Layer, ModelSpec, SpecError
from mathcore.engines.vllm.cache import (
    VllmShape,
    block_count,
    largest_context,
    pages,
    shown_tokens,
    state_page_bytes,
)
from mathcore.model.spec import LayerState


def attention(kv_heads: int, side: int, window: int = 0) -> Layer:
    return Layer(
        kind="sliding" if window else "full",
        heads=kv_heads * 4,
        kv_heads=kv_heads,
        head_dim=side,
        v_head_dim=side,
        k_elements=kv_heads * side,
        v_elements=kv_heads * side,
        window=window,
    )


def delta(keys: int, values: int, side: int = 128) -> Layer:
    state = LayerState(
        kind="delta",
        conv_elements=0,
        state_elements=0,
        conv_width=4,
        inner=values * side,
        groups=keys,
        heads=values,
        state_size=side,
    )
    return Layer(kind="none", state=state)


def mamba2(heads: int, side: int, groups: int, size: int) -> Layer:
    state = LayerState(
        kind="mamba2",
        conv_elements=0,
        state_elements=0,
        conv_width=4,
        inner=heads * side,
        groups=groups,
        heads=heads,
        state_size=size,
    )
    return Layer(kind="none", state=state)


def latent(rank: int = 512, rope: int = 64) -> Layer:
    return Layer(kind="latent", heads=128, kv_heads=1, head_dim=rank + rope, k_elements=rank + rope)


def model(*layers: Layer, state_bytes: int = 0) -> ModelSpec:
    return ModelSpec(
        name="x",
        architecture="x",
        vocab=1000,
        hidden=1024,
        heads=8,
        feed_forward=4096,
        context_length=0,
        layers=layers,
        tensors=(),
        tied=False,
        parameters=1,
        active_parameters=1,
        state_bytes=state_bytes,
    )


# Qwen3.5/3.6-27B and -35B-A3B, Nemotron-3-Nano-30B-A3B, Gemma-4-31B as their configs say; the
# hybrids' ask for 32-bit states.
QWEN_27B = model(*[attention(4, 256)] * 16, *[delta(16, 48)] * 48, state_bytes=4)
QWEN_35B = model(*[attention(2, 256)] * 10, *[delta(16, 32)] * 30, state_bytes=4)
NEMOTRON = model(*[attention(2, 128)] * 6, *[mamba2(64, 64, 8, 128)] * 23, state_bytes=4)
GEMMA = model(*[attention(4, 512)] * 10, *[attention(16, 256, 1024)] * 50)


@pytest.mark.parametrize(
    ("spec", "block", "request_bytes"),
    [
        (QWEN_27B, 784, 17_520_656_384),
        (QWEN_35B, 1056, 5_514_854_400),
        (NEMOTRON, 2096, 1_725_628_416),
    ],
)
def test_hybrid_pages_are_those_of_the_trace(
    spec: ModelSpec, block: int, request_bytes: int
) -> None:
    cut = pages(spec, VllmShape(context=262_144))
    assert (cut.attention_block, cut.request_bytes) == (block, request_bytes)


def test_without_prefix_caching_one_state_is_kept() -> None:
    shape = VllmShape(context=262_144, prefix_caching=False)
    assert pages(QWEN_27B, shape).request_bytes == 17_366_515_712


def test_gemma_4_has_13637_blocks_a_request_of_2621440_bytes() -> None:
    cut = pages(GEMMA, VllmShape(context=262_144))
    assert (cut.blocks_per_request, cut.block_bytes) == (13_637, 2_621_440)


def test_an_fp8_cache_doubles_the_attention_block_and_pads_the_state_by_a_thousandth() -> None:
    shape = VllmShape(context=262_144, kv_type="fp8")
    cut = pages(QWEN_27B, shape)
    assert cut.attention_block == 1568
    state = QWEN_27B.layers[16].state
    assert state is not None
    page = state_page_bytes(state, shape, 4)
    assert round(100 * (cut.page_bytes - page) / page, 2) == 0.13


TP2 = VllmShape(context=262_144, kv_type="fp8", tensor_parallel=2)


@pytest.mark.parametrize(
    ("spec", "shape", "gib", "blocks", "tokens"),
    [
        (QWEN_35B, VllmShape(context=131_072, kv_type="fp8"), 5.98, 299, 567_978),
        (QWEN_35B, VllmShape(context=131_072, kv_type="fp8"), 6.01, 300, 569_878),
        (QWEN_27B, TP2, 9.84, 411, 619_202),
        # The log of these two has no size of the cache: the count of blocks is chosen.
        (QWEN_27B, replace(TP2, draft_tokens=3), 0.0, 424, 620_944),
        (QWEN_27B, replace(TP2, draft_tokens=3), 0.0, 425, 622_408),
    ],
)
def test_boots_of_hybrids_print_these_tokens(
    spec: ModelSpec, shape: VllmShape, gib: float, blocks: int, tokens: int
) -> None:
    cut = pages(spec, shape)
    if gib:
        # Logged to two decimals: the true size is up to half a hundredth off.
        near = (
            block_count(cut, int((gib - 0.005) * GIB)),
            block_count(cut, int((gib + 0.005) * GIB)),
        )
        assert near[0] <= blocks <= near[1]
    assert shown_tokens(cut, blocks, shape.context) == tokens


@pytest.mark.parametrize(("gib", "tokens"), [(64.68, 626_949), (103.92, 1_007_303)])
def test_boots_of_gemma_4_on_an_h200_print_these_tokens(gib: float, tokens: int) -> None:
    shape = VllmShape(context=262_144, in_flight=1)
    cut = pages(GEMMA, shape)
    blocks = [block_count(cut, int((gib + off) * GIB)) for off in (-0.005, 0.005)]
    assert any(
        abs(shown_tokens(cut, n, shape.context) - tokens) <= 1
        for n in range(blocks[0], blocks[1] + 1)
    )


@pytest.mark.parametrize(
    ("layers", "kv_heads", "tp", "context", "gib"),
    [(48, 4, 1, 262_144, 24.0), (62, 8, 2, 196_608, 23.25)],
)
def test_a_full_length_request_of_plain_attention_takes_what_the_log_says(
    layers: int, kv_heads: int, tp: int, context: int, gib: float
) -> None:
    spec = model(*[attention(kv_heads, 128)] * layers)
    cut = pages(spec, VllmShape(context=context, tensor_parallel=tp))
    assert cut.request_bytes / GIB == pytest.approx(gib, abs=0.005)


@pytest.mark.parametrize(
    ("layers", "kv_heads", "tp", "gib", "tokens"),
    [(48, 4, 1, 3.18, 34_736), (62, 8, 2, 22.5, 190_272)],
)
def test_the_largest_context_is_the_one_the_log_offers(
    layers: int, kv_heads: int, tp: int, gib: float, tokens: int
) -> None:
    spec = model(*[attention(kv_heads, 128)] * layers)
    shape = VllmShape(context=1, tensor_parallel=tp)
    low, high = (largest_context(spec, shape, int((gib + off) * GIB)) for off in (-0.005, 0.005))
    assert low <= tokens <= high


@pytest.mark.parametrize(("gib", "blocks"), [(3.81, 1952), (2.89, 1478)])
def test_llama_3_1_8b_has_the_blocks_the_log_counts(gib: float, blocks: int) -> None:
    cut = pages(model(*[attention(8, 128)] * 32), VllmShape(context=8192))
    low, high = (block_count(cut, int((gib + off) * GIB)) for off in (-0.005, 0.005))
    assert low <= blocks <= high


def test_qwen3_235b_on_four_cards_is_within_1_3_percent_of_the_least_rank() -> None:
    spec = model(*[attention(4, 128)] * 94)
    shape = VllmShape(context=1, tensor_parallel=4)
    assert largest_context(spec, shape, int(8.11 * GIB)) == pytest.approx(178_880, rel=0.013)


def test_kv_heads_are_copied_when_ranks_outnumber_them() -> None:
    spec = model(*[attention(2, 128)] * 4)
    sizes = [
        pages(spec, VllmShape(context=4096, tensor_parallel=tp)).request_bytes for tp in (1, 2, 8)
    ]
    assert sizes == [sizes[0], sizes[0] // 2, sizes[0] // 2]


def test_latent_caches_are_whole_on_every_rank_and_have_layouts_of_their_own() -> None:
    spec = model(*[latent()] * 61)
    for tp in (1, 8):
        cut = pages(spec, VllmShape(context=16, tensor_parallel=tp))
        assert cut.request_bytes == 16 * 61 * 1152
    small = pages(spec, VllmShape(context=16, kv_type="fp8_ds_mla"))
    assert small.request_bytes == 16 * 61 * 656


def test_what_vllm_does_not_take_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="kv_type"):
        pages(QWEN_27B, VllmShape(context=16, kv_type="q4_0"))
    with pytest.raises(SpecError, match="rwkv"):
        pages(
            model(
                Layer(kind="none", state=LayerState(kind="rwkv", conv_elements=1, state_elements=1))
            ),
            VllmShape(context=16),
        )


@given(
    spec=st.sampled_from([QWEN_27B, QWEN_35B, NEMOTRON, GEMMA]),
    context=st.integers(1, 500_000),
    more=st.integers(0, 500_000),
    draft=st.integers(0, 4),
)
def test_more_context_never_takes_fewer_blocks(
    spec: ModelSpec, context: int, more: int, draft: int
) -> None:
    small = VllmShape(context=context, draft_tokens=draft)
    large = replace(small, context=context + more)
    assert pages(spec, small).request_bytes <= pages(spec, large).request_bytes


@given(cache=st.integers(0, 64 * GIB))
def test_the_largest_context_fits_and_one_more_token_does_not(cache: int) -> None:
    shape = VllmShape(context=1)
    found = largest_context(QWEN_35B, shape, cache)
    for context, fits in ((found, True), (found + 1, False)):
        if context:
            cut = pages(QWEN_35B, replace(shape, context=context))
            assert (cut.blocks_per_request <= block_count(cut, cache)) == fits
