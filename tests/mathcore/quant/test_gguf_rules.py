"""Block types are those llama.cpp's quantiser chooses, tensor by tensor."""

from collections import Counter

import pytest

from mathcore.api import ModelSpec, SpecError, find_model, spec_from_config
from mathcore.model.spec import Tensor
from mathcore.quant.ggml import FILE_TYPES, TYPE_NAMES
from mathcore.quant.gguf_rules import block_types, role_of, roles_of
from mathcore.quant.gguf_tables import MIXES
from tests.mathcore.quant.test_weights import dense, sparse


def types(spec: ModelSpec, quant: str) -> dict[str, str]:
    chosen = block_types(spec, quant, roles_of(spec.tensors))
    return {tensor.name: kind for tensor, kind in zip(spec.tensors, chosen, strict=True)}


def layers_with(spec: ModelSpec, quant: str, part: str, kind: str) -> list[int]:
    found = types(spec, quant)
    return [i for i in range(len(spec.layers)) if found.get(f"blk.{i}.{part}.weight") == kind]


def named(name: str) -> ModelSpec:
    spec = find_model(name)
    assert spec is not None
    return spec


def test_every_file_type_of_a_header_has_rules_and_every_rule_a_file_type() -> None:
    assert set(FILE_TYPES.values()) == set(MIXES)
    assert {mix.base for mix in MIXES.values()} <= set(TYPE_NAMES.values())


def test_the_first_and_last_eighth_and_every_third_layer_get_more_bits() -> None:
    spec = dense(num_hidden_layers=32)
    more = [*range(4), 6, 9, 12, 15, 18, 21, 24, 27, *range(28, 32)]
    assert layers_with(spec, "Q4_K_M", "ffn_down", "Q6_K") == more
    assert layers_with(spec, "Q4_K_M", "attn_v", "Q6_K") == more
    assert layers_with(spec, "Q4_K_S", "attn_v", "Q5_K") == [0, 1, 2, 3]
    assert layers_with(spec, "Q3_K_M", "ffn_down", "Q5_K") == [0, 1]


def test_shared_kv_heads_keep_v_better_at_few_bits() -> None:
    shared, own = dense(), dense(num_key_value_heads=8)
    assert types(shared, "Q2_K")["blk.5.attn_v.weight"] == "Q4_K"
    assert types(own, "Q2_K")["blk.5.attn_v.weight"] == "Q3_K"
    assert types(own, "IQ2_XS")["blk.5.attn_v.weight"] == "Q2_K"


def test_the_seventy_billion_models_keep_v_at_five_bits() -> None:
    # Qwen2.5-72B has 80 layers like Llama-70B; a Llama of 32 layers has no such rule.
    for name in ("llama-3-70b", "qwen2.5-72b"):
        assert types(named(name), "Q4_K_S")["blk.40.attn_v.weight"] == "Q5_K"
    assert types(named("llama-3-8b"), "Q4_K_S")["blk.20.attn_v.weight"] == "Q4_K"


def test_eight_experts_keep_attention_better() -> None:
    found = types(named("mixtral-8x7b"), "Q3_K_M")
    assert found["blk.9.attn_k.weight"] == found["blk.9.attn_v.weight"] == "Q8_0"
    assert found["blk.9.attn_output.weight"] == "Q5_K"
    lowest = types(named("mixtral-8x7b"), "IQ1_S")
    assert lowest["blk.9.attn_k.weight"] == lowest["blk.9.attn_v.weight"] == "Q4_K"


def test_only_stacked_experts_are_mxfp4() -> None:
    count = Counter((kind, "_exps." in name) for name, kind in types(sparse(), "MXFP4_MOE").items())
    assert count[("MXFP4", True)] == 27
    assert not any(kind == "MXFP4" and not routed for kind, routed in count)


def test_the_output_layer_or_the_embedding_in_its_place_gets_its_own_type() -> None:
    untied = types(dense(), "IQ2_M")
    assert (untied["output.weight"], untied["token_embd.weight"]) == ("Q5_K", "IQ3_S")
    tied = types(dense(tie_word_embeddings=True), "Q4_K_M")
    assert tied["token_embd.weight"] == "Q6_K"
    assert types(dense(), "Q4_K_M")["token_embd.weight"] == "Q4_K"


def test_a_falcon_has_rules_of_its_own() -> None:
    # As llama.cpp's quantiser logs in a dry run on a Falcon-40B.
    card: dict[str, object] = {
        "model_type": "falcon",
        "vocab_size": 65024,
        "hidden_size": 8192,
        "num_hidden_layers": 60,
        "num_attention_heads": 128,
        "num_kv_heads": 8,
        "new_decoder_architecture": True,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
    }
    spec = spec_from_config(card, "falcon-40b")
    found = types(spec, "Q4_K_M")
    assert found["output.weight"] == "Q8_0"
    assert layers_with(spec, "Q4_K_M", "ffn_down", "Q6_K") == [0, 1, 2]
    assert found["blk.3.ffn_down.weight"] == "Q5_K"
    assert found["blk.10.ffn_down.weight"] == "Q4_K"
    assert types(spec, "Q3_K_L")["blk.10.attn_output.weight"] == "Q4_K"


@pytest.mark.parametrize(
    ("columns", "quant", "kind"),
    [
        (576, "Q4_K_S", "Q5_0"),
        (576, "Q5_K_S", "Q5_1"),
        (576, "Q6_K", "Q8_0"),
        (576, "Q2_K_S", "Q4_0"),
        (576, "IQ1_M", "IQ4_NL"),
        (576, "TQ2_0", "Q4_0"),
        (528, "Q4_K_S", "F16"),
        (528, "Q8_0", "F16"),
        (528, "Q4_0", "F16"),
        (576, "GGUF-NVFP4", "NVFP4"),
    ],
)
def test_rows_that_are_no_whole_blocks_fall_back(columns: int, quant: str, kind: str) -> None:
    spec = dense(hidden_size=columns)
    assert types(spec, quant)["blk.8.attn_q.weight"] == kind


def test_rows_with_no_type_to_fall_back_to_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"token_embd.weight: rows of 576 .* Q1_0"):
        types(dense(hidden_size=576), "Q1_0")


@pytest.mark.parametrize(
    "part",
    [
        "attn_norm.weight",
        "ffn_gate_inp.weight",
        "ssm_conv1d.weight",
        "attn_q.bias",
        "position_embd.weight",
        "token_types.weight",
        "shortconv.conv.weight",
        "ssm_a",
        "time_mix_w1.weight",
        "indexer.k_proj.weight",
        "ffn_gate_tid2eid.weight",
    ],
)
def test_small_and_sensitive_matrices_are_kept(part: str) -> None:
    assert role_of(part) == "kept"


def test_a_router_stays_in_32_bits_and_a_vector_always() -> None:
    found = types(sparse(), "Q4_K_M")
    assert found["blk.0.ffn_gate_inp.weight"] == "F32"
    assert types(sparse(), "F16")["output_norm.weight"] == "F32"


def test_an_index_of_experts_is_whole_numbers() -> None:
    table = Tensor(name="blk.0.ffn_gate_tid2eid.weight", columns=6, rows=512, dims=2, layer=0)
    spec = dense()
    changed = ModelSpec(
        name="m",
        architecture="deepseek4",
        vocab=512,
        hidden=512,
        heads=8,
        feed_forward=1024,
        context_length=0,
        layers=spec.layers,
        tensors=(table,),
        tied=False,
        parameters=0,
        active_parameters=0,
    )
    assert types(changed, "Q4_K_M") == {table.name: "I32"}
