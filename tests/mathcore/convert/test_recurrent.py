"""States of recurrent layers, against logs and papers, and which layers have one."""

import pytest

from mathcore.api import ContextShape
from mathcore.engines.llamacpp.memory import context_bytes
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import LayerState, ModelSpec, SpecError
from tests.mathcore.engines.memory_configs import CONFIGS

MAMBA2_2_7B: dict[str, object] = {
    **CONFIGS["mamba2"],
    "hidden_size": 2560,
    "num_heads": 80,
    "n_groups": 1,
    "vocab_size": 50288,
}
QWEN3_5_2B: dict[str, object] = {
    **CONFIGS["qwen3_5"],
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "linear_num_value_heads": 16,
    "intermediate_size": 6144,
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 6,
    "tie_word_embeddings": True,
}


def spec_of(name: str, **changes: object) -> ModelSpec:
    return spec_from_config({**CONFIGS[name], **changes}, name)


def state_bytes(spec: ModelSpec, sequences: int = 1) -> int:
    """f32, whatever the cache type."""
    total = 0
    for layer in spec.layers:
        if layer.state is not None:
            total += layer.state.conv_elements + layer.state.state_elements
    return total * 4 * sequences


def attends(spec: ModelSpec) -> list[int]:
    return [i for i, layer in enumerate(spec.layers) if layer.k_elements > 0]


def test_mamba_2_8b_keeps_23_75_mib_per_slot() -> None:
    """ggml-org/llama.cpp PR #5328."""
    assert state_bytes(spec_of("mamba")) == 24_903_680


def test_mamba2_2_7b_keeps_what_its_shape_says() -> None:
    assert state_bytes(spec_from_config(MAMBA2_2_7B, "mamba2-2.7b")) == 171_900_928


@pytest.mark.parametrize(("sequences", "expected"), [(1, 20_201_472), (4, 80_805_888)])
def test_qwen3_5_2b_keeps_what_llama_cpp_logged(sequences: int, expected: int) -> None:
    """llama_memory_recurrent 77.06 MiB for 4 sequences; one checkpoint 19.266 MiB."""
    assert state_bytes(spec_from_config(QWEN3_5_2B, "2b"), sequences) == expected


def test_qwen3_5_2b_caches_3072_mib_of_its_whole_context() -> None:
    spec = spec_from_config(QWEN3_5_2B, "2b")
    cached = context_bytes(spec, ContextShape(context=262144)) - state_bytes(spec)
    assert cached == 3_221_225_472


def test_qwen3_6_27b_keeps_149_625_mib_per_sequence() -> None:
    """Qwen3.5 and 3.6 have the same shape; 598.50 MiB logged for 4 sequences."""
    assert state_bytes(spec_of("qwen3_5"), 4) == round(598.5 * (1 << 20))


def test_jamba_attends_in_every_eighth_layer() -> None:
    spec = spec_of("jamba")
    assert attends(spec) == [4, 12, 20, 28]
    assert state_bytes(spec) == 17_432_576
    shape = ContextShape(context=8192)
    assert context_bytes(spec, shape) - state_bytes(spec) == 134_217_728


def test_jamba_has_its_published_parameters() -> None:
    """51.6 billion: experts in every second layer only."""
    assert spec_of("jamba").parameters == 51_570_323_328


def test_falcon_h1_has_attention_and_a_state_in_every_layer() -> None:
    spec = spec_of("falcon_h1")
    assert len(attends(spec)) == 44
    assert all(layer.state is not None for layer in spec.layers)


def test_nemotron_layers_are_one_thing_each() -> None:
    spec = spec_of("nemotron_h")
    assert attends(spec) == [7, 18, 29, 40]
    wide = [i for i, layer in enumerate(spec.layers) if layer.feed_forward > 0]
    states = [i for i, layer in enumerate(spec.layers) if layer.state is not None]
    assert len(attends(spec)) + len(wide) + len(states) == 52
    assert not set(wide) & set(states)


def test_a_nemotron_may_list_its_layers_by_name() -> None:
    letters = {"M": "mamba", "*": "attention", "E": "moe"}
    pattern = str(CONFIGS["nemotron_h moe"]["hybrid_override_pattern"])
    names = [letters[letter] for letter in pattern]
    changed = {
        **CONFIGS["nemotron_h moe"],
        "hybrid_override_pattern": None,
        "num_hidden_layers": None,
        "layers_block_type": names,
    }
    assert spec_from_config(changed, "n") == spec_from_config(CONFIGS["nemotron_h moe"], "n")


def test_kimi_linear_reads_both_ways_of_naming_its_layers() -> None:
    old = spec_of("kimi_linear")
    assert attends(old) == [3, 7, 11, 15, 19, 23, 26]
    places = set(attends(old))
    names = ["full_attention" if i in places else "linear_attention" for i in range(27)]
    new = spec_of(
        "kimi_linear",
        linear_attn_config=None,
        layer_types=names,
        linear_num_heads=32,
        linear_head_dim=128,
        linear_conv_kernel_dim=4,
    )
    assert new == old
    state = old.layers[0].state
    assert state is not None
    assert (state.conv_elements, state.state_elements) == (3 * 3 * 4096, 32 * 128 * 128)


def test_a_granite_without_states_is_the_older_architecture() -> None:
    spec = spec_of(
        "granitemoehybrid",
        layer_types=["attention"] * 40,
        num_local_experts=0,
        num_experts_per_tok=0,
    )
    assert spec.architecture == "granite"
    assert len(attends(spec)) == 40


def test_lfm2_rounds_its_width_as_the_library_does() -> None:
    spec = spec_of("lfm2")
    assert (spec.feed_forward, spec.parameters) == (8192, 1_170_340_608)
    assert spec.layers[0].state == LayerState(
        kind="conv", conv_elements=2048 * 2, state_elements=0, conv_width=3
    )


def test_low_ranks_that_are_null_follow_the_librarys_rule() -> None:
    """fla-hub/rwkv7-1.5B-world's own ranks, from its hidden size."""
    ranks = ("decay_low_rank_dim", "a_low_rank_dim", "v_low_rank_dim", "gate_low_rank_dim")
    unset = spec_of("rwkv7", **dict.fromkeys(ranks))
    assert unset.parameters == spec_of("rwkv7").parameters


@pytest.mark.parametrize("model_type", ["rwkv5", "recurrent_gemma", "zamba2", "whisper"])
def test_what_llama_cpp_has_no_architecture_for_is_refused(model_type: str) -> None:
    with pytest.raises(SpecError, match=f"model_type: '{model_type}'"):
        spec_from_config({**CONFIGS["mamba"], "model_type": model_type}, "x")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mamba", "use_conv_bias", False),
        ("mamba", "intermediate_size", 4096),
        ("mamba2", "n_groups", 3),
        ("mamba2", "num_heads", 64),
        ("jamba", "mamba_expand", 3),
        ("falcon_h1", "mamba_n_heads", 25),
        ("nemotron_h", "hybrid_override_pattern", "M" * 51),
        ("nemotron_h", "hybrid_override_pattern", "X" * 52),
        ("qwen3_5", "linear_value_head_dim", 64),
        ("qwen3_5", "attn_output_gate", False),
        ("qwen3_5_moe", "mlp_only_layers", [0]),
        ("lfm2", "conv_bias", True),
        ("lfm2", "block_ffn_dim_multiplier", float("nan")),
        ("bamba", "attn_layer_indices", []),
        ("plamo2", "mamba_enabled", False),
        ("rwkv_hybrid", "wkv_version", 6),
    ],
)
def test_what_no_engine_loads_is_refused_by_name(name: str, field: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(name, **{field: value})
    assert caught.value.field == field


def test_the_newer_names_of_layers_are_read() -> None:
    newer = {"attention": "full_attention", "mamba": "linear_attention"}
    kinds = CONFIGS["granitemoehybrid"]["layer_types"]
    assert isinstance(kinds, list)
    assert spec_of("granitemoehybrid", layer_types=[newer[kind] for kind in kinds]) == spec_of(
        "granitemoehybrid"
    )
