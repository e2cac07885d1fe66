"""Configs under other names than Hugging Face's are the same models."""

import pytest

from mathcore.api import ModelSpec, SpecError, find_model, spec_from_config
from mathcore.convert.registry import why_not

DEEPSEEK_V3: dict[str, object] = {
    "vocab_size": 129_280,
    "dim": 7168,
    "inter_dim": 18_432,
    "moe_inter_dim": 2048,
    "n_layers": 61,
    "n_dense_layers": 3,
    "n_heads": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "n_activated_experts": 8,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "dtype": "fp8",
}
DEEPSEEK_V2: dict[str, object] = {
    **DEEPSEEK_V3,
    "vocab_size": 102_400,
    "dim": 5120,
    "inter_dim": 12_288,
    "moe_inter_dim": 1536,
    "n_layers": 60,
    "n_dense_layers": 1,
    "n_routed_experts": 160,
    "n_shared_experts": 2,
    "n_activated_experts": 6,
}
LLAMA_3: dict[str, object] = {
    "dim": 4096,
    "n_layers": 32,
    "n_heads": 32,
    "n_kv_heads": 8,
    "vocab_size": 128_256,
    "multiple_of": 1024,
    "ffn_dim_multiplier": 1.3,
    "norm_eps": 1e-05,
    "rope_theta": 500_000.0,
}
LLAMA_2: dict[str, object] = {
    "dim": 4096,
    "multiple_of": 256,
    "n_heads": 32,
    "n_layers": 32,
    "norm_eps": 1e-05,
    "vocab_size": -1,
}
MISTRAL: dict[str, object] = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14_336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "vocab_size": 32_768,
}


def read(config: dict[str, object]) -> ModelSpec:
    return spec_from_config(config, "x")


def same(ours: ModelSpec, name: str) -> None:
    known = find_model(name)
    assert known is not None
    assert ours.layers == known.layers
    assert ours.tensors == known.tensors


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (DEEPSEEK_V3, "deepseek-v3"),
        ({**LLAMA_3, "use_scaled_rope": True}, "llama-3.1-8b"),
        (LLAMA_3, "llama-3-8b"),
        (LLAMA_2, "llama-2-7b"),
        (
            {**LLAMA_2, "dim": 5120, "n_heads": 40, "n_layers": 40},
            "llama-2-13b",
        ),
        (
            {
                **LLAMA_3,
                "dim": 2048,
                "ffn_dim_multiplier": 1.5,
                "multiple_of": 256,
                "n_layers": 16,
                "use_scaled_rope": True,
            },
            "llama-3.2-1b",
        ),
        (
            {**LLAMA_3, "dim": 8192, "n_heads": 64, "n_layers": 80, "multiple_of": 4096},
            "llama-3-70b",
        ),
        (MISTRAL, "mistral-7b-v0.3"),
        (
            {
                **MISTRAL,
                "vocab_size": 32_000,
                "moe": {"num_experts_per_tok": 2, "num_experts": 8},
            },
            "mixtral-8x7b",
        ),
    ],
)
def test_a_native_config_is_the_published_model(config: dict[str, object], name: str) -> None:
    same(read(config), name)


def test_deepseek_v2_has_no_bias_in_its_gate_and_v2_lite_is_the_code_s_default() -> None:
    """236 and 15.7 billion parameters (DeepSeek-V2's model cards)."""
    assert round(read(DEEPSEEK_V2).parameters / 1e9, 1) == 235.7
    lite = read({"dim": 2048, "n_layers": 27, "kv_lora_rank": 512, "inter_dim": 10_944})
    assert round(lite.parameters / 1e9, 1) == 15.7


def test_its_rope_s_reach_is_its_context() -> None:
    assert read(DEEPSEEK_V3).context_length == 163_840
    assert read({**LLAMA_3, "use_scaled_rope": True}).context_length == 131_072
    assert read(LLAMA_3).context_length == 0  # params.json does not say


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**MISTRAL, "q_lora_rank": 1536}, "q_lora_rank"),
        ({**MISTRAL, "n_layers": "32"}, "n_layers"),
        ({**LLAMA_3, "vocab_size": "big"}, "vocab_size"),
        ({**DEEPSEEK_V3, "n_heads": True}, "n_heads"),
    ],
)
def test_a_native_field_that_cannot_be_read_is_named(config: dict[str, object], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(config)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("model_type", "lacking"),
    [
        ("mllama_text_model", "cross attention to images"),
        ("phi3small", "block-sparse attention"),
        ("recurrent_gemma", "gated linear recurrence"),
        ("xlstm", "matrix memories"),
        ("zamba2", "attention shared among Mamba layers"),
    ],
)
def test_what_llama_cpp_cannot_run_either_is_refused_for_that_reason(
    model_type: str, lacking: str
) -> None:
    with pytest.raises(SpecError, match=f"llama.cpp has no {lacking}"):
        read({"model_type": model_type, "hidden_size": 4096})
    assert why_not("brand_new") == "'brand_new' is not supported yet"
