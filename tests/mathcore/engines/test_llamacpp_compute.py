"""llama.cpp's buffers and caches against rows it was recorded allocating (library build 0.5)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.api import ContextShape, ModelSpec, find_model, spec_from_config
from mathcore.engines.llamacpp.allocator import ALIGN, Graph
from mathcore.engines.llamacpp.cache import cache_refusal
from mathcore.engines.llamacpp.compute_buffer import buffer_bytes
from mathcore.engines.llamacpp.graph_input import Stretch, shortened
from mathcore.engines.llamacpp.memory import (
    LIBRARY,
    SERVER,
    cache_groups,
    compute_bytes,
    context_bytes,
    micro_batch_of,
)


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


LLAMA = model("llama-3.1-8b")
MOE = model("qwen3-30b-a3b")
# deepseek-ai/DeepSeek-V3, the fields that decide sizes.
LATENT = spec_from_config(
    {
        "model_type": "deepseek_v3",
        "hidden_size": 7168,
        "num_hidden_layers": 61,
        "intermediate_size": 18432,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 3,
        "moe_layer_freq": 1,
        "n_group": 8,
        "topk_group": 4,
        "num_attention_heads": 128,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "vocab_size": 129280,
        "tie_word_embeddings": False,
        "max_position_embeddings": 163840,
    },
    "DeepSeek-V3",
)


def shape(context: int, sequences: int = 1, **changes: object) -> ContextShape:
    made = ContextShape(context=context // sequences, sequences=sequences)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "asked", "context", "compute"),
    [
        (LLAMA, shape(4096), 536_870_912, 279_447_552),
        (LLAMA, shape(8192, flash=False), 1_073_741_824, 599_795_712),
        (LLAMA, shape(32_768, kv_type="q8_0"), 2_281_701_376, 287_836_160),
        (LLAMA, shape(32_768, micro_batch=2048), 4_294_967_296, 1_117_790_208),
        (LLAMA, shape(32_768, 4), 4_294_967_296, 279_447_552),
        (LLAMA, shape(32_768, 4, unified=True), 4_294_967_296, 279_447_552),
        (LATENT, shape(32_768), 2_302_672_896, 461_383_680),
    ],
)
def test_a_context_takes_what_llama_cpp_recorded(
    spec: ModelSpec, asked: ContextShape, context: int, compute: int
) -> None:
    assert context_bytes(spec, asked) == context
    assert compute_bytes(spec, asked, LIBRARY) == compute


def test_latent_caches_have_no_values_whatever_the_type() -> None:
    # Logs: 137.25 MiB at 2048 f16, 72.91 MiB q8_0 (jukofyork, ikawrakow).
    assert context_bytes(LATENT, shape(2048)) == 61 * 2048 * 576 * 2
    assert context_bytes(LATENT, shape(2048, kv_type="q8_0")) == 61 * 2048 * 612


def test_k_and_v_may_have_types_of_their_own() -> None:
    mixed = context_bytes(LLAMA, shape(4096, kv_type="q8_0", v_type="q4_0"))
    assert mixed == 32 * 4096 * 1024 // 32 * (34 + 18)


def test_what_llama_cpp_refuses_is_refused() -> None:
    assert "flash attention" in cache_refusal(LLAMA, "f16", "q8_0", flash=False)
    assert cache_refusal(LLAMA, "q8_0", "f16", flash=False) == ""
    assert "head size" in cache_refusal(model("phi-2"), "q4_0")
    assert "unknown cache type" in cache_refusal(LLAMA, "q9_9")


def test_a_server_keeps_one_row_of_logits_per_sequence() -> None:
    assert compute_bytes(LLAMA, shape(4096), SERVER) < compute_bytes(LLAMA, shape(4096), LIBRARY)


@pytest.mark.parametrize("name", ["llama-3-70b", "gemma-3-27b", "qwen3-30b-a3b"])
def test_leaving_out_repeated_layers_changes_nothing(name: str) -> None:
    spec = model(name)
    cache = cache_groups(spec)
    short = cache.graph_model
    whole = Stretch(short.every, short.kinds, 0, len(short.every) + 1)
    whole.layers = short.every
    assert len(short.layers) < len(whole.layers) == len(spec.layers)
    kinds = shortened(short.kinds)
    assert shortened(kinds) == kinds
    for build in (SERVER, LIBRARY):
        for asked in (shape(4096), shape(32_768, 2), shape(8192, flash=False)):
            batch = micro_batch_of(cache, asked, build)
            assert buffer_bytes(short, batch, whole) == buffer_bytes(short, batch)


def test_a_tensor_lives_until_its_last_reader() -> None:
    graph = Graph()
    first = graph.leaf(1000)
    second = graph.node(2000, [first])
    third = graph.over(2000, [second])  # takes its source's place
    graph.kept[third] = True
    graph.expand(third)
    assert graph.peak_bytes() == 1024 + 2048
    assert graph.start[third] == graph.start[second] == 1024
    assert ALIGN == 64


@settings(max_examples=30, deadline=None)
@given(
    spec=st.sampled_from([LLAMA, MOE, LATENT]),
    context=st.integers(1, 60_000),
    more=st.integers(0, 60_000),
    sequences=st.integers(1, 4),
)
def test_more_context_never_needs_less_in_all(
    spec: ModelSpec, context: int, more: int, sequences: int
) -> None:
    def total(asked: ContextShape) -> int:
        return context_bytes(spec, asked) + compute_bytes(spec, asked)

    small = ContextShape(context=context, sequences=sequences)
    assert total(small) <= total(replace(small, context=context + more))
    assert total(small) <= total(replace(small, sequences=sequences + 1))
    assert total(replace(small, kv_type="q8_0")) <= total(small)
