"""What a card computes with although it lies in host memory is copied there for as long.

The truth is llama.cpp's own word, on an MI300X (August 2026): compute buffers of models with 1, 2
or 4 layers on the card, and with all of them; 4,096 tokens, micro batches of 512, cache q8_0.
"""

from dataclasses import replace

import pytest

from mathcore.api import MIB, ContextShape, find_model, weigh
from mathcore.engines.llamacpp.fit import Split, cpu_experts, gpu_layers
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Placing, Sums, placed_footprint
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import ModelSpec
from mathcore.units import GIB

OLMOE: dict[str, object] = {
    "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "hidden_size": 2048,
    "intermediate_size": 1024, "num_hidden_layers": 16, "num_attention_heads": 16,
    "num_key_value_heads": 16, "num_experts": 64, "num_experts_per_tok": 8, "vocab_size": 50304,
    "max_position_embeddings": 4096, "norm_topk_prob": False, "tie_word_embeddings": False,
    "rope_theta": 10000.0, "clip_qkv": None,
}  # fmt: skip
GRANITE: dict[str, object] = {
    "architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "hidden_size": 1536,
    "intermediate_size": 512, "num_hidden_layers": 32, "num_attention_heads": 24,
    "num_key_value_heads": 8, "num_local_experts": 40, "num_experts_per_tok": 8,
    "vocab_size": 49155, "max_position_embeddings": 4096, "tie_word_embeddings": True,
    "attention_bias": False,
}  # fmt: skip


def known(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


MEASURED = [
    (spec_from_config(OLMOE, "olmoe"), "Q4_K_M", 172.37, 64.09),
    (spec_from_config(GRANITE, "granite-moe"), "Q4_K_M", 73.02, 61.04),
    (known("qwen3-0.6b"), "Q8_0", 41.64, 32.09),
]
SHAPE = ContextShape(context=4096, kv_type="q8_0")


@pytest.mark.parametrize(
    ("spec", "quant", "partial", "full"), MEASURED, ids=[one[0].name for one in MEASURED]
)
def test_the_compute_buffer_is_the_one_llama_cpp_named(
    spec: ModelSpec, quant: str, partial: float, full: float
) -> None:
    weights = weigh(spec, quant)
    for layers in (1, 2, 4):
        need = placed_footprint(spec, weights, SHAPE, Placing(gpu_layers=layers))
        assert need.compute_bytes / MIB == pytest.approx(partial, abs=0.006)
    need = placed_footprint(spec, weights, SHAPE, Placing())
    assert need.compute_bytes / MIB == pytest.approx(full, rel=0.005)


@pytest.mark.parametrize(
    "name",
    [
        "qwen3-30b-a3b", "gpt-oss-20b", "mixtral-8x7b", "deepseek-v2-lite", "llama-3.1-8b",
        "gemma-3-12b", "qwen3-next-80b-a3b", "lfm2-8b-a1b", "glm-4.5-air", "phi-4",
    ],
)  # fmt: skip
def test_a_layer_on_the_host_costs_a_card_at_least_its_largest_weight(name: str) -> None:
    spec = known(name)
    weights = weigh(spec, "Q4_K_M")
    sums = Sums(spec, weights, ContextShape(context=8192))
    largest = max(size for _, size in weights.largest)
    assert sums.first_compute(1, 0) > max(largest, sums.compute // 2)
    assert sums.first_compute(ALL_LAYERS, 0) == sums.first_compute(len(spec.layers) + 1, 0)
    if max(weights.expert_bytes) > 0:
        experts = max(size for name, size in weights.largest if "exps." in name)
        assert sums.first_compute(ALL_LAYERS, 1) > experts


def test_small_batches_are_computed_where_the_weights_lie() -> None:
    spec, weights = known("qwen3-30b-a3b"), weigh(known("qwen3-30b-a3b"), "Q4_K_M")
    small = Sums(spec, weights, ContextShape(context=8192, micro_batch=31))
    assert small.first_compute(1, 0) == small.compute
    large = Sums(spec, weights, ContextShape(context=8192, micro_batch=32))
    assert large.first_compute(1, 0) > large.compute


def test_only_the_first_card_computes_for_the_host() -> None:
    spec, weights = known("qwen3-30b-a3b"), weigh(known("qwen3-30b-a3b"), "Q4_K_M")
    sums = Sums(spec, weights, SHAPE)
    need = placed_footprint(spec, weights, SHAPE, Placing(cpu_experts=10, split=(1, 1)), sums)
    assert need.compute_bytes == sums.first_compute(ALL_LAYERS, 10) + sums.compute


@pytest.mark.parametrize("gib", [4, 6, 8, 12, 16])
def test_what_is_laid_out_fits_with_what_is_copied_and_one_more_layer_does_not(gib: int) -> None:
    spec, weights = known("qwen3-30b-a3b"), weigh(known("qwen3-30b-a3b"), "Q4_K_M")
    shape = ContextShape(context=8192)
    split = Split(spec, weights, shape, (gib * GIB,), 64 * GIB)
    layers, off = gpu_layers(split), cpu_experts(split)
    assert split.over(layers, 0) <= 0 < split.over(layers + 1, 0)
    assert split.over(ALL_LAYERS, off) <= 0 < split.over(ALL_LAYERS, off - 1)
    assert split.need(layers, 0).card_bytes <= gib * GIB
    assert split.need(ALL_LAYERS, off).card_bytes <= gib * GIB


def test_without_flash_attention_the_rows_are_copied_too() -> None:
    """K of a layer, one layer's scores in 32 bits, and the mask: there at once."""
    spec, weights = known("llama-3.1-8b"), weigh(known("llama-3.1-8b"), "Q4_K_M")
    shape = replace(SHAPE, kv_type="f16", flash=False)
    rows, scores, mask = 4096 * 1024 * 2, 32 * 4096 * 512 * 4, 4096 * 512 * 4
    assert Sums(spec, weights, shape).first_compute(1, 0) > rows + scores + mask
