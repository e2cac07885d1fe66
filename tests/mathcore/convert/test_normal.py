"""What libraries settle while they load a config: lists, nulls, windows and names of layers."""

import pytest

from mathcore.api import ModelSpec, SpecError, spec_from_config
from mathcore.catalogue.models import find_row
from tests.mathcore.engines.memory_configs import CONFIGS

QWEN3: dict[str, object] = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151_936,
    "max_position_embeddings": 40_960,
    "tie_word_embeddings": False,
}


def read(config: dict[str, object]) -> ModelSpec:
    return spec_from_config(config, "x")


def test_a_list_of_the_same_kv_heads_is_one_number() -> None:
    assert read({**QWEN3, "num_key_value_heads": [8] * 36}) == read(QWEN3)


def test_layers_may_differ_in_their_kv_heads() -> None:
    spec = read({**QWEN3, "num_key_value_heads": [8, 4] * 18})
    assert [layer.kv_heads for layer in spec.layers] == [8, 4] * 18
    assert [layer.k_elements for layer in spec.layers[:2]] == [1024, 512]
    narrower = 18 * 2 * 4096 * 512
    assert read(QWEN3).parameters - spec.parameters == narrower


@pytest.mark.parametrize("listed", [[8] * 35, [8] * 35 + [5], [8] * 35 + ["8"], []])
def test_a_list_that_is_not_one_number_for_each_layer_is_refused(listed: list[object]) -> None:
    with pytest.raises(SpecError) as caught:
        read({**QWEN3, "num_key_value_heads": listed})
    assert caught.value.field == "num_key_value_heads"


def test_null_heads_follow_from_the_heads_there_are() -> None:
    spec = read({**QWEN3, "num_key_value_heads": None, "head_dim": None})
    assert {(layer.kv_heads, layer.head_dim) for layer in spec.layers} == {(32, 128)}


@pytest.mark.parametrize("field", ["num_key_value_heads", "head_dim"])
def test_an_absent_field_is_still_no_null(field: str) -> None:
    absent = {key: value for key, value in QWEN3.items() if key != field}
    with pytest.raises(SpecError, match="missing"):
        read(absent)


def test_a_window_that_llama_cpp_does_not_read_keeps_every_token() -> None:
    windowed = {
        **QWEN3,
        "use_sliding_window": True,
        "sliding_window": 4096,
        "max_window_layers": 18,
    }
    assert read(windowed).layers == read(QWEN3).layers


@pytest.mark.parametrize("name", ["gemma-2-9b", "gemma-3-1b", "gpt-oss-20b"])
def test_a_null_window_slides_nowhere(name: str) -> None:
    row = find_row(name)
    assert row is not None
    spec = read({**row.config, "sliding_window": None})
    assert {layer.window for layer in spec.layers} <= {0, spec.context_length}


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("glm5_next", {"indexed_attention": "deepseek_sparse_attention"}),
        ("granitemoehybrid", {"mamba": "linear_attention", "attention": "full_attention"}),
        ("qwen3_next", {"linear_attention": "mamba", "full_attention": "attention"}),
        ("qwen3_5", {"full_attention": "attention"}),
    ],
)
def test_layers_are_read_under_the_names_transformers_gives_them(
    name: str, renamed: dict[str, str]
) -> None:
    config = CONFIGS[name]
    kinds = config.get("layer_types")
    assert isinstance(kinds, list)
    other = {**config, "layer_types": [renamed.get(kind, kind) for kind in kinds]}
    assert read(other) == read(config)


def test_a_kind_of_layer_nobody_knows_is_refused_by_name() -> None:
    config = CONFIGS["lfm2"]
    layers = config["num_hidden_layers"]
    assert isinstance(layers, int)
    with pytest.raises(SpecError, match="'wormhole' is not supported yet"):
        read({**config, "layer_types": ["wormhole"] * layers})
