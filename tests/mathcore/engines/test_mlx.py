"""MLX against the peaks mlx-lm publishes (ml-explore/mlx-lm, mlx_lm/BENCHMARKS.md; M4 Max)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import GB, GIB, Layer, ModelSpec, spec_from_config, weigh
from mathcore.engines.mlx import layer_bytes, mlx_footprint
from mathcore.engines.mlx_scores import MlxShape

QWEN3_4B = spec_from_config(
    {
        "model_type": "qwen3",
        "hidden_size": 2560,
        "num_hidden_layers": 36,
        "intermediate_size": 9728,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "Qwen3-4B-Instruct-2507",
)
QWEN3_30B = spec_from_config(
    {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    },
    "Qwen3-30B-A3B-Instruct-2507",
)


@pytest.mark.parametrize(
    ("spec", "quant", "peak_gb"),
    [
        (QWEN3_4B, "MLX-16bit", 9.02),
        (QWEN3_4B, "MLX-8bit", 5.254),
        (QWEN3_4B, "MLX-6bit", 4.25),
        (QWEN3_4B, "MLX-5bit-g32", 4.0),
        (QWEN3_4B, "MLX-5bit", 3.86),
        (QWEN3_4B, "MLX-4bit-g32", 3.603),
        (QWEN3_4B, "MLX-4bit", 3.35),
        (QWEN3_30B, "MLX-8bit", 33.46),
        (QWEN3_30B, "MLX-6bit", 25.82),
        (QWEN3_30B, "MLX-5bit", 22.01),
        (QWEN3_30B, "MLX-4bit", 18.2),
    ],
)
def test_peaks_are_the_published_ones(spec: ModelSpec, quant: str, peak_gb: float) -> None:
    need = mlx_footprint(spec, weigh(spec, quant).total_bytes, MlxShape(context=2048 + 128))
    assert need.total_bytes / GB == pytest.approx(peak_gb, abs=0.1)


def test_a_cache_grows_by_256_tokens() -> None:
    layer = QWEN3_4B.layers[0]
    token = (layer.k_elements + layer.v_elements) * 2
    sizes = [layer_bytes(layer, MlxShape(context=n)) for n in (1, 256, 257)]
    assert sizes == [256 * token, 256 * token, 512 * token]


def test_a_quantised_cache_has_a_scale_and_a_bias_for_64_numbers() -> None:
    layer = QWEN3_4B.layers[0]
    plain, small = (layer_bytes(layer, MlxShape(context=256, kv_bits=b)) for b in (0, 8))
    assert small * 16 == plain * 17 // 2


def test_a_rotating_cache_peaks_at_its_window_and_one_chunk() -> None:
    sliding = Layer(
        kind="sliding",
        heads=8,
        kv_heads=8,
        head_dim=64,
        v_head_dim=64,
        k_elements=512,
        v_elements=512,
        window=1024,
    )
    assert layer_bytes(sliding, MlxShape(context=100_000)) == (1024 + 2048 - 1) * 1024 * 2


@given(
    context=st.integers(1, 100_000),
    more=st.integers(0, 50_000),
    sequences=st.integers(1, 8),
    extra=st.integers(0, 4),
    bits=st.sampled_from([4, 6, 8]),
)
def test_more_context_or_sequences_never_need_less_nor_more_precision_a_smaller_cache(
    context: int, more: int, sequences: int, extra: int, bits: int
) -> None:
    def need(shape: MlxShape) -> int:
        return mlx_footprint(QWEN3_4B, GIB, shape).total_bytes

    shape = MlxShape(context=context, sequences=sequences, kv_bits=bits)
    small = need(shape)
    assert small <= need(replace(shape, context=context + more))
    assert small <= need(replace(shape, sequences=sequences + extra))
    held = mlx_footprint(QWEN3_4B, GIB, shape)
    plain = mlx_footprint(QWEN3_4B, GIB, replace(shape, kv_bits=0))
    assert held.kv_bytes <= plain.kv_bytes  # its scores are no longer fused, so only the cache's
    assert held.total_bytes == held.card_bytes
