"""The type a hybrid's recurrent states are kept in decides how long vLLM's attention blocks are.

Blocks: vllm#24280 (Nemotron Nano 9B v2: 672), the boots of Qwen3-Next (544) and of club-3090's
Qwen3.5-27B (784), Apron's trace of Nemotron 3 Nano (2096); the others by the same arithmetic.
"""

from typing import Any

import pytest

from mathcore.api import ModelSpec, SpecError, find_model, spec_from_config
from mathcore.engines.vllm.cache import VllmShape, pages, state_number_bytes

NANO_9B_V2: dict[str, Any] = {
    "model_type": "nemotron_h",
    "hidden_size": 4480,
    "num_hidden_layers": 56,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 15680,
    "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    "mamba_num_heads": 128,
    "mamba_head_dim": 80,
    "ssm_state_size": 128,
    "conv_kernel": 4,
    "n_groups": 8,
    "expand": 2,
    "vocab_size": 131072,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "mamba_hidden_act": "silu",
    "mlp_hidden_act": "relu2",
    "use_conv_bias": True,
    "use_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
}


def block(spec: ModelSpec, **asked: Any) -> int:
    return pages(spec, VllmShape(context=8192, **asked)).attention_block


@pytest.mark.parametrize(
    ("key", "value", "tokens"),
    [
        (None, None, 672),
        ("mamba_ssm_cache_dtype", "auto", 672),
        ("mamba_ssm_cache_dtype", "bfloat16", 672),
        ("mamba_ssm_cache_dtype", "float32", 1312),
        ("mamba_ssm_dtype", "float32", 1312),
    ],
)
def test_a_state_has_the_models_type_unless_the_config_names_another(
    key: str | None, value: str | None, tokens: int
) -> None:
    config = NANO_9B_V2 if key is None else {**NANO_9B_V2, key: value}
    assert block(spec_from_config(config, "nano")) == tokens


def test_what_vllm_is_told_goes_before_the_config() -> None:
    nano = spec_from_config(NANO_9B_V2, "nano")
    assert block(nano, state_bytes=4) == 1312
    wide = spec_from_config({**NANO_9B_V2, "mamba_ssm_cache_dtype": "float32"}, "nano")
    assert block(wide, state_bytes=2) == 672


def test_a_type_nobody_keeps_a_state_in_is_refused_by_its_key() -> None:
    with pytest.raises(SpecError, match="mamba_ssm_cache_dtype: 'int3'"):
        spec_from_config({**NANO_9B_V2, "mamba_ssm_cache_dtype": "int3"}, "nano")


@pytest.mark.parametrize(
    ("name", "number_bytes", "tokens"),
    [
        ("qwen3-next-80b-a3b", 2, 544),
        ("qwen3.5-27b", 4, 784),
        ("qwen3.6-27b", 4, 784),
        ("qwen3.6-35b-a3b", 4, 1056),
        ("qwen3.5-122b-a10b", 4, 2096),
        ("nemotron-3-nano-30b-a3b", 4, 2096),
        ("nemotron-3-ultra-550b-a55b", 4, 8304),
        ("nemotron-h-8b", 2, 528),
        ("granite-4.0-h-small", 2, 528),
        ("jamba-v0.1", 2, 80),
        ("falcon-h1-7b", 2, 1568),
        ("kimi-linear-48b-a3b", 4, 1888),  # Kimi's states are 32-bit whatever the config says
    ],
)
def test_published_hybrids_have_these_states_and_blocks(
    name: str, number_bytes: int, tokens: int
) -> None:
    spec = find_model(name)
    assert spec is not None
    state = next(layer.state for layer in spec.layers if layer.state is not None)
    assert state_number_bytes(spec, state, VllmShape(context=1)) == number_bytes
    assert block(spec) == tokens


def test_groups_that_ranks_cannot_share_are_refused() -> None:
    nano = spec_from_config(NANO_9B_V2, "nano")
    assert block(nano, tensor_parallel=8) == 672
    with pytest.raises(SpecError, match="8 groups over 3 ranks"):
        block(nano, tensor_parallel=3)
