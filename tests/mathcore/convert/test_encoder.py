"""Encoders keep nothing; a decoder that attends to one keeps its own tokens only."""

import pytest

from mathcore.api import ContextShape
from mathcore.engines.llamacpp.memory import context_bytes
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import ModelSpec, SpecError
from tests.mathcore.engines.memory_configs import CONFIGS


def spec_of(name: str, **changes: object) -> ModelSpec:
    return spec_from_config({**CONFIGS[name], **changes}, name)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bert", 33_212_160),  # bge-small-en-v1.5 without its pooler
        ("xlm-roberta", 566_703_104),  # bge-m3 without its pooler and the two padding positions
        ("nomic_bert", 136_731_648),
        ("modernbert", 149_014_272),
        ("bert jina v2", 136_777_728),  # without its pooler
        ("xlm-roberta jina v3", 558_314_496),  # without pooler and adapters
    ],
)
def test_an_embedding_model_caches_nothing(name: str, parameters: int) -> None:
    spec = spec_of(name)
    assert context_bytes(spec, ContextShape(context=512)) == 0
    assert {layer.kind for layer in spec.layers} == {"none"}
    assert spec.parameters == parameters


def test_t5_caches_its_decoders_tokens() -> None:
    spec = spec_of("t5")
    assert spec.encoder_layers == 6
    assert spec.parameters == 60_506_624  # t5-small
    assert all(layer.cross for layer in spec.layers)
    cached = context_bytes(spec, ContextShape(context=512))
    assert cached == 6 * 2 * 512 * 512 * 2


def test_a_gated_t5_has_three_feed_forward_matrices() -> None:
    wide = spec_of("t5", feed_forward_proj="gated-gelu").parameters
    assert wide - spec_of("t5").parameters == 12 * 512 * 2048


def test_the_table_of_positions_loses_its_padding_rows() -> None:
    tensors = {tensor.name: tensor for tensor in spec_of("xlm-roberta").tensors}
    assert tensors["position_embd.weight"].rows == 8192


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("bert", "position_embedding_type", "relative_key"),
        ("bert jina v2", "feed_forward_type", "original"),
        ("nomic_bert", "n_positions", 4096),
        ("nomic_bert", "qkv_proj_bias", True),
        ("t5", "num_decoder_layers", 4),
        ("t5", "feed_forward_proj", "swish"),
    ],
)
def test_what_no_engine_loads_is_refused_by_name(name: str, field: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(name, **{field: value})
    assert caught.value.field == field


def test_the_global_layers_of_modernbert_may_be_listed() -> None:
    kinds = ["full_attention" if i % 3 == 0 else "sliding_attention" for i in range(22)]
    newer = spec_of("modernbert", global_attn_every_n_layers=None, layer_types=kinds)
    assert newer == spec_of("modernbert")
    with pytest.raises(SpecError, match="layer_types"):
        spec_of("modernbert", global_attn_every_n_layers=None, layer_types=[*kinds[1:], kinds[0]])
