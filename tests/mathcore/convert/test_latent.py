"""Latent and sparse attention: what is cached, against logs and papers, and old files."""

import pytest

from mathcore.api import ContextShape
from mathcore.convert.conversion import Conversion
from mathcore.engines.llamacpp.memory import context_bytes
from mathcore.formats.config import convert, spec_from_config
from mathcore.formats.gguf import spec_from_parts
from mathcore.model.spec import Layer, ModelSpec, SpecError
from tests.mathcore.engines.memory_configs import CONFIGS


def spec_of(name: str, **changes: object) -> ModelSpec:
    return spec_from_config({**CONFIGS[name], **changes}, name)


def without(found: Conversion, *keys: str) -> dict[str, object]:
    return {key: value for key, value in found.metadata.items() if key not in keys}


@pytest.mark.parametrize(
    ("tokens", "kv_type", "expected"),
    [
        # KV self size 2196.00 MiB: ggml-org/llama.cpp PR #11446
        (32768, "f16", 2_302_672_896),
        # KV self size 1166.62 MiB: ikawrakow/ik_llama.cpp PR #259
        (32768, "q8_0", 1_223_294_976),
        # 10.72 GiB at 160k: provide.ai/the-exact-kv-cache-usage-of-deepseek-v4
        (163840, "f16", 11_513_364_480),
    ],
)
def test_deepseek_v3_caches_what_its_logs_say(tokens: int, kv_type: str, expected: int) -> None:
    shape = ContextShape(context=tokens, kv_type=kv_type)
    assert context_bytes(spec_of("deepseek_v3"), shape) == expected


def test_deepseek_v3_caches_70272_bytes_per_token() -> None:
    """arXiv 2505.09343, in bf16."""
    layers = spec_of("deepseek_v3").layers
    assert sum(layer.k_elements + layer.v_elements for layer in layers) * 2 == 70_272


def test_deepseek_v3_has_its_published_parameters() -> None:
    spec = spec_of("deepseek_v3")
    assert (spec.parameters, spec.active_parameters) == (671_026_419_200, 37_552_297_472)


def test_a_file_from_before_absorption_caches_every_head() -> None:
    """n_embd_k_gqa = 24576, n_embd_v_gqa = 16384 per layer: ggml-org/llama.cpp PR #11397."""
    found = convert(CONFIGS["deepseek_v3"])
    metadata = without(
        found, "deepseek2.attention.key_length_mla", "deepseek2.attention.value_length_mla"
    )
    metadata["deepseek2.attention.head_count_kv"] = 128
    metadata["deepseek2.attention.key_length"] = 192
    metadata["deepseek2.attention.value_length"] = 128
    spec = spec_from_parts(metadata, found.tensors, "old")
    assert spec.layers[0].kind == "full"
    assert context_bytes(spec, ContextShape(context=32768)) == 163_745_628_160


def test_a_file_with_half_of_the_absorbed_keys_is_refused() -> None:
    found = convert(CONFIGS["deepseek_v3"])
    metadata = without(found, "deepseek2.attention.value_length_mla")
    with pytest.raises(SpecError, match="value_length_mla"):
        spec_from_parts(metadata, found.tensors, "half")


def test_minicpm3_caches_keys_and_values_of_every_head() -> None:
    layer = spec_of("minicpm3").layers[0]
    assert (layer.kind, layer.k_elements, layer.v_elements) == ("full", 40 * 96, 40 * 64)


def indexed(spec: ModelSpec) -> list[Layer]:
    return [layer for layer in spec.layers if layer.index_elements > 0]


def test_only_the_layers_with_an_indexer_of_their_own_keep_its_keys() -> None:
    """21 of 78 in llama.cpp's log of GLM-5.2."""
    own = indexed(spec_of("glm_moe_dsa"))
    assert (len(own), own[0].index_elements, own[0].index_v_elements) == (21, 128, 0)
    assert len(indexed(spec_of("deepseek_v32"))) == 61


@pytest.mark.parametrize(("context", "expected"), [(1048576, 21), (202752, 78)])
def test_a_glm_without_the_list_is_taken_for_its_generation(context: int, expected: int) -> None:
    spec = spec_of("glm_moe_dsa", indexer_types=None, max_position_embeddings=context)
    assert len(indexed(spec)) == expected


def test_minimax_keeps_values_for_its_indexer_too() -> None:
    own = indexed(spec_of("minimax_m3"))
    assert len(own) == 57
    assert {layer.index_v_elements for layer in own} == {128}


def test_deepseek_v4_compresses_4_or_128_tokens_into_a_row() -> None:
    layers = spec_of("deepseek_v4").layers
    assert [layers[i].ratio for i in range(5)] == [0, 0, 4, 128, 4]
    assert {(layer.kind, layer.window, layer.k_elements) for layer in layers} == {
        ("sliding", 128, 512)
    }
    states = [0 if layer.state is None else layer.state.state_elements for layer in layers]
    # csa and lid: 8 rows of 1024 and 256; hca: 128 rows of 512; each a value and a score
    assert states[1:4] == [0, 2 * 8 * (1024 + 256), 2 * 128 * 512]


def test_ratios_may_be_given_as_kinds_of_layers() -> None:
    kinds = {0: "sliding_attention", 4: "compressed_sparse_attention"}
    ratios = convert(CONFIGS["deepseek_v4"]).metadata["deepseek4.attention.compress_ratios"]
    assert isinstance(ratios, list)
    names = [kinds.get(ratio, "heavily_compressed_attention") for ratio in ratios]
    spec = spec_of("deepseek_v4", compress_ratios=None, layer_types=names)
    assert spec.layers == spec_of("deepseek_v4").layers


def test_kimi_k2_is_read_where_a_multimodal_card_nests_it() -> None:
    inner = {**CONFIGS["deepseek_v3"], "model_type": "kimi_k2", "num_attention_heads": 64}
    spec = spec_from_config({"model_type": "kimi_k25", "text_config": inner}, "k2.5")
    assert (spec.architecture, spec.heads) == ("deepseek2", 64)


def test_the_newer_list_of_dense_layers_is_read() -> None:
    kinds = ["dense"] * 3 + ["sparse"] * 58
    spec = spec_of("deepseek_v3", first_k_dense_replace=None, mlp_layer_types=kinds)
    assert spec == spec_of("deepseek_v3")
    with pytest.raises(SpecError, match="mlp_layer_types"):
        spec_of("deepseek_v3", first_k_dense_replace=None, mlp_layer_types=[*kinds[:-1], "dense"])


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("deepseek_v3", "attention_bias", True),
        ("deepseek_v3", "moe_layer_freq", 2),
        ("deepseek_v3", "num_experts_per_tok", 257),
        ("deepseek_v3", "first_k_dense_replace", 62),
        ("deepseek_v4", "compress_ratios", [16] * 44),
        ("deepseek_v4", "num_key_value_heads", 2),
        ("deepseek_v4", "scoring_func", "tanh"),
        ("minimax_m3", "moe_layer_freq", [0, 1, 0] + [1] * 57),
        ("glm_moe_dsa", "indexer_types", ["full"] * 77 + ["half"]),
        ("plm", "q_lora_rank", 512),
    ],
)
def test_what_no_engine_loads_is_refused_by_name(name: str, field: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(name, **{field: value})
    assert caught.value.field == field


def test_minimax_reads_the_newer_names_of_its_indexer() -> None:
    newer = spec_of(
        "minimax_m3",
        sparse_attention_config=None,
        moe_layer_freq=None,
        n_shared_experts=None,
        mlp_layer_types=["dense"] * 3 + ["sparse"] * 57,
        shared_intermediate_size=3072,
        index_n_heads=4,
        index_head_dim=128,
        index_topk_blocks=16,
        index_block_size=128,
        index_local_blocks=1,
    )
    assert newer == spec_of("minimax_m3")


def test_deepseek_v4_reads_which_layers_route_by_table() -> None:
    kinds = ["hash_moe"] * 3 + ["moe"] * 40
    newer = spec_of("deepseek_v4", num_hash_layers=None, mlp_layer_types=kinds)
    assert newer == spec_of("deepseek_v4")
    with pytest.raises(SpecError, match="mlp_layer_types"):
        spec_of("deepseek_v4", num_hash_layers=None, mlp_layer_types=kinds[::-1])


def test_the_pooled_indexer_caches_key_gate_and_pooled_key() -> None:
    own = indexed(spec_of("glm5_next"))
    assert (len(own), own[0].kind, own[0].index_elements) == (11, "latent", 3 * 128)


def test_kimi_k3_has_its_published_parameters() -> None:
    """2.8 trillion."""
    assert spec_of("kimi_linear k3").parameters == 2_779_483_135_584
