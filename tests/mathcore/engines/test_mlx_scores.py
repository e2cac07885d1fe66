"""What MLX holds of attention scores: measured growth of the prefill (omlx#2025, rMLX#337)."""

from dataclasses import replace

import pytest

from mathcore.api import GB, Layer, ModelSpec, SpecError, find_model
from mathcore.engines.mlx import workspace_bytes
from mathcore.engines.mlx_scores import MlxShape, attention_bytes, fused, score_bytes


def model(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def head(size: int, value: int = 0, kind: str = "full", window: int = 0) -> Layer:
    return Layer(
        kind="sliding" if kind == "sliding" else "full",
        heads=16,
        kv_heads=4,
        head_dim=size,
        v_head_dim=value or size,
        window=window,
    )


@pytest.mark.parametrize(
    ("name", "context", "measured_gb"),
    [
        ("qwen3.6-27b", 32_768, 3.2),
        ("qwen3.6-27b", 131_072, 12.9),
        ("qwen3.6-27b", 245_760, 24.2),
        ("qwen3.6-35b-a3b", 152_576, 10.0),
    ],
)
def test_scores_grow_as_measured(name: str, context: int, measured_gb: float) -> None:
    spec, shape = model(name), MlxShape(context=context)
    assert attention_bytes(spec, shape) / GB == pytest.approx(measured_gb, rel=0.01)
    assert workspace_bytes(spec, shape) / GB == pytest.approx(measured_gb, rel=0.04)


@pytest.mark.parametrize(
    ("size", "build", "scores"),
    [
        (64, "0.31.2", "fused"),
        (80, "0.31.2", "fused"),
        (128, "0.31.2", "fused"),
        (72, "0.32.0", "whole"),
        (72, "0.32.1", "fused"),
        (96, "v0.31", "whole"),
        (96, "0.33", "fused"),
        (128, "0.22.0", "whole"),
        (192, "0.33.0", "whole"),
        (256, "0.32.1", "whole"),
        (256, "0.33.0", "whole"),
        (512, "0.33.0", "whole"),
    ],
)
def test_head_sizes_are_fused_from_these_releases_on(size: int, build: str, scores: str) -> None:
    found = fused(head(size), MlxShape(context=4096, build=build))
    assert ("fused" if found else "whole") == scores


def test_size_256_is_fused_on_an_m5_with_a_new_mlx_for_long_chunks_only() -> None:
    shape = MlxShape(context=32_768, build="0.33.0", neural=True)
    assert fused(head(256), shape)
    assert not fused(head(256), replace(shape, build="0.32.1"))
    assert not fused(head(256), replace(shape, prefill_chunk=512))


def test_keys_and_values_of_different_size_and_quantised_caches_are_never_fused() -> None:
    shape = MlxShape(context=32_768)
    assert not fused(head(192, 128), shape)
    assert not fused(head(128), replace(shape, kv_bits=8))


def test_a_window_bounds_the_scores_and_a_batch_multiplies_them() -> None:
    far, near = MlxShape(context=65_536), MlxShape(context=1000)
    sliding = head(256, kind="sliding", window=1024)
    assert score_bytes(sliding, far) == 16 * 2048 * (1023 + 2048) * 2
    assert score_bytes(sliding, near) == 16 * 1000 * 1000 * 2
    assert score_bytes(sliding, replace(far, sequences=3)) == 3 * score_bytes(sliding, far)
    assert score_bytes(Layer(kind="none"), far) == 0


@pytest.mark.parametrize(
    ("name", "gb"),
    [
        ("gemma-2-9b", 2.2),  # 16 heads of 256
        ("gemma-3-27b", 0.0),  # 32 of 128
        ("llama-3.1-8b", 0.0),
        ("gpt-oss-20b", 0.0),
        ("qwen3-next-80b-a3b", 2.1),  # 16 of 256
        ("deepseek-v3", 19.3),  # 128 heads' rotary scores, and 128 x 256 expanded numbers a token
    ],
)
def test_at_32k_models_hold_these_scores(name: str, gb: float) -> None:
    held = attention_bytes(model(name), MlxShape(context=32_768))
    assert held / GB == pytest.approx(gb, abs=0.06)


def test_a_build_that_is_no_release_is_refused() -> None:
    for text in ("new", "0", "0.31.2.1", ""):
        with pytest.raises(SpecError, match="build"):
            fused(head(64), MlxShape(context=1, build=text))
