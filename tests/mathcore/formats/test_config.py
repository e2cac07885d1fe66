"""Model descriptions: read exactly or refused by field."""

import pytest

from mathcore.api import ModelSpec, SpecError, spec_from_config
from tests.mathcore.convert.attention_configs import types

LLAMA: dict[str, object] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", None),
        ("model_type", "mixtral-next"),
        ("model_type", 7),
        ("hidden_size", None),
        ("hidden_size", "4096"),
        ("hidden_size", True),
        ("hidden_size", 4096.0),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 2**60),
        ("num_key_value_heads", 5),
        ("vocab_size", None),
        ("intermediate_size", [1]),
        ("kv_lora_rank", 512),
        ("num_local_experts", 8),
        ("rope_scaling", "llama3"),
        ("tie_word_embeddings", "yes"),
        ("text_config", 7),
    ],
)
def test_a_field_we_cannot_read_is_named(field: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec_from_config({**LLAMA, field: value}, "x")
    assert caught.value.field == field


def test_a_nested_text_config_is_the_language_model() -> None:
    nested = {"model_type": "llava", "hidden_size": 1, "text_config": LLAMA}
    assert spec_from_config(nested, "x") == spec_from_config(LLAMA, "x")


def test_a_speaking_model_is_its_thinker() -> None:
    nested = {"model_type": "omni", "thinker_config": {"model_type": "t", "text_config": LLAMA}}
    assert spec_from_config(nested, "x") == spec_from_config(LLAMA, "x")


def test_configs_nested_without_end_are_refused() -> None:
    nested: dict[str, object] = LLAMA
    for _ in range(9):
        nested = {"text_config": nested}
    with pytest.raises(SpecError, match="deep"):
        spec_from_config(nested, "x")


def gemma_3_4b() -> ModelSpec:
    """google/gemma-3-4b-it: its text_config holds only what differs from the class."""
    text = {
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "sliding_window": 1024,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    }
    return spec_from_config({"model_type": "gemma3", "text_config": text}, "x")


def test_a_nested_config_is_filled_from_its_class() -> None:
    spec = gemma_3_4b()
    assert spec.vocab == 262208
    assert spec.parameters == 3_880_263_168  # 444 tensors of the published GGUF


def test_a_field_missing_at_the_top_is_not_filled() -> None:
    with pytest.raises(SpecError, match="hidden_size"):
        spec_from_config({"model_type": "llama", "vocab_size": 32064}, "x")


def test_a_window_that_is_switched_off_is_no_window() -> None:
    qwen = {**LLAMA, "model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}
    assert {layer.kind for layer in spec_from_config(qwen, "x").layers} == {"full"}


def test_gemma3_keeps_a_window_in_five_of_six_layers() -> None:
    gemma = {
        **LLAMA,
        "model_type": "gemma3_text",
        "head_dim": 256,
        "sliding_window": 1024,
        "num_hidden_layers": 12,
    }
    kinds = [layer.kind for layer in spec_from_config(gemma, "x").layers]
    assert kinds == (["sliding"] * 5 + ["full"]) * 2


def test_a_layer_kind_nobody_knows_is_refused() -> None:
    gemma = {
        **LLAMA,
        "model_type": "gemma3_text",
        "head_dim": 256,
        "sliding_window": 1024,
        "layer_types": [*types("SSSF")] * 3 + ["sparse_attention"] * 8,
    }
    with pytest.raises(SpecError) as caught:
        spec_from_config(gemma, "x")
    assert caught.value.field == "layer_types"
