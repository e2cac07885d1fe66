"""A config's quantisation has one name, or is refused by the field that has none."""

import pytest

from mathcore.api import SpecError
from mathcore.model.fields import Fields
from mathcore.quant.config import quant_of_config

Card = dict[str, object]


def named(card: Card) -> str:
    return quant_of_config(Fields(card))


def config(method: str, **fields: object) -> Card:
    return {"torch_dtype": "bfloat16", "quantization_config": {"quant_method": method, **fields}}


def group(kind: str, bits: int, **fields: object) -> Card:
    return {"weights": {"type": kind, "num_bits": bits, **fields}}


def packed(*groups: Card) -> Card:
    places = {f"group_{i}": given for i, given in enumerate(groups)}
    return config("compressed-tensors", config_groups=places)


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ({"torch_dtype": "bfloat16"}, "HF-BF16"),
        ({"dtype": "float16"}, "HF-F16"),
        (config("awq", bits=4, group_size=128), "AWQ"),
        (config("awq", bits=4, group_size=64), "AWQ-G64"),
        (config("gptq", bits=4, group_size=128), "GPTQ-INT4"),
        (config("gptq", bits=4, group_size=32), "GPTQ-INT4-G32"),
        (config("gptq", bits=8, group_size=128), "GPTQ-INT8"),
        (config("fp8", weight_block_size=[128, 128]), "FP8-BLOCK"),
        (config("fp8"), "FP8"),
        (config("fbgemm_fp8"), "FP8-ROW"),
        (config("mxfp4"), "MXFP4"),
        (config("bitsandbytes", load_in_4bit=True), "NF4"),
        (config("bitsandbytes", load_in_4bit=True, bnb_4bit_use_double_quant=True), "NF4-DQ"),
        (config("bitsandbytes", load_in_8bit=True), "INT8"),
        (config("modelopt", quant_algo="NVFP4"), "NVFP4"),
        (packed(group("float", 4, group_size=16, strategy="tensor_group")), "NVFP4"),
        (packed(group("int", 4, group_size=32, strategy="group")), "W4A16-G32"),
        (packed(group("float", 8, group_size=None, strategy="channel")), "FP8-ROW"),
        (packed(group("int", 8, group_size=None, strategy="channel")), "INT8"),
        ({"quantization": {"bits": 4, "group_size": 64}}, "MLX-4bit"),
        ({"quantization": {"bits": 8, "group_size": 32}}, "MLX-8bit-g32"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}, "MLX-mxfp4"),
    ],
)
def test_a_known_quantisation_has_its_name(card: Card, name: str) -> None:
    assert named(card) == name


@pytest.mark.parametrize(
    ("card", "field"),
    [
        ({}, "dtype"),
        ({"torch_dtype": "int3"}, "torch_dtype"),
        (config("aqlm"), "quantization_config.quant_method"),
        ({"quantization_config": {}}, "quantization_config.quant_method"),
        (config("awq", group_size=128), "quantization_config.bits"),
        (config("awq", bits=3, group_size=128), "quantization_config"),
        (config("gptq", bits=4, group_size=-1), "quantization_config"),
        (config("gptq", bits="4", group_size=128), "quantization_config.bits"),
        (config("fp8", weight_block_size=[64, 64]), "quantization_config.weight_block_size"),
        (config("fp8", quant_algo="MIXED_PRECISION"), "quantization_config.quant_algo"),
        (config("modelopt"), "quantization_config.quant_algo"),
        (config("modelopt", quant_algo="MIXED_PRECISION"), "quantization_config.quant_algo"),
        (config("bitsandbytes"), "quantization_config.load_in_4bit"),
        (config("compressed-tensors"), "quantization_config.config_groups"),
        (packed(), "quantization_config.config_groups"),
        (
            packed(group("float", 8, strategy="tensor"), group("int", 8, strategy="channel")),
            "quantization_config.config_groups",
        ),
        (
            packed(group("int", 2, strategy="group", group_size=7)),
            "quantization_config.config_groups.group_0.weights.num_bits",
        ),
        ({"quantization": {"bits": 4}}, "quantization.group_size"),
        ({"quantization": {"bits": 4, "group_size": 16}}, "quantization.group_size"),
        ({"quantization": {"bits": 4, "group_size": 32, "mode": "x"}}, "quantization.mode"),
        ({"quantization": [4]}, "quantization"),
    ],
)
def test_what_has_no_name_is_refused_by_field(card: Card, field: str) -> None:
    with pytest.raises(SpecError) as refused:
        named(card)
    assert refused.value.field == field
