"""Model descriptions: read exactly or refused by field."""

import pytest

from mathcore import CardError, spec_from_config

LLAMA: dict[str, object] = {
    "model_type": "llama", "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "num_hidden_layers": 32, "intermediate_size": 14336,
    "vocab_size": 128256,
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("model_type", None), ("model_type", "mixtral"), ("model_type", 7), ("hidden_size", None),
     ("hidden_size", "4096"), ("hidden_size", True), ("hidden_size", 4096.0),
     ("num_hidden_layers", 0), ("num_hidden_layers", 2**60), ("num_key_value_heads", 5),
     ("vocab_size", None), ("intermediate_size", [1]), ("kv_lora_rank", 512),
     ("num_local_experts", 8), ("rope_scaling", "llama3"), ("tie_word_embeddings", "yes")],
)  # fmt: skip
def test_a_field_we_cannot_read_is_named(field: str, value: object) -> None:
    with pytest.raises(CardError) as caught:
        spec_from_config({**LLAMA, field: value}, "x")
    assert caught.value.field == field


def test_a_nested_text_config_is_the_language_model() -> None:
    nested = {"model_type": "llava", "text_config": LLAMA}
    assert spec_from_config(nested, "x") == spec_from_config(LLAMA, "x")


def test_a_window_that_is_switched_off_is_no_window() -> None:
    qwen = {**LLAMA, "model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}
    assert {layer.kind for layer in spec_from_config(qwen, "x").layers} == {"full"}


def test_gemma3_keeps_a_window_in_five_of_six_layers() -> None:
    gemma = {**LLAMA, "model_type": "gemma3_text", "head_dim": 256, "sliding_window": 1024,
             "num_hidden_layers": 12}  # fmt: skip
    kinds = [layer.kind for layer in spec_from_config(gemma, "x").layers]
    assert kinds == (["sliding"] * 5 + ["full"]) * 2
