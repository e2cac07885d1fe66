"""Safetensors headers, honest and hostile, and the names they are placed by."""

import json
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import ModelSpec, SpecError, weigh
from mathcore.formats.safetensors import quant_name, spec_from_safetensors
from mathcore.formats.safetensors_header import (
    MAX_HEADER_BYTES,
    layer_of,
    parse_safetensors,
    placed,
)
from mathcore.quant.weights import QUANTS

MIB = 1 << 20
SIZES = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "U8": 1, "U32": 4, "I64": 8}


def framed(body: bytes) -> bytes:
    return struct.pack("<Q", len(body)) + body


def file_of(tensors: dict[str, tuple[str, list[int]]]) -> bytes:
    """A header of these tensors, their data laid out without holes."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, (kind, shape) in tensors.items():
        size = SIZES[kind]
        for part in shape:
            size *= part
        entries[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    return framed(json.dumps(entries).encode())


def llama_tensors(layers: int = 2, hidden: int = 64) -> dict[str, tuple[str, list[int]]]:
    out = {"model.embed_tokens.weight": ("BF16", [96, hidden])}
    for i in range(layers):
        p = f"model.layers.{i}."
        for name in (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ):
            out[f"{p}{name}.weight"] = ("BF16", [hidden, hidden])
        out[f"{p}input_layernorm.weight"] = ("BF16", [hidden])
        out[f"{p}post_attention_layernorm.weight"] = ("BF16", [hidden])
    out["model.norm.weight"] = ("BF16", [hidden])
    return out


CARD: dict[str, object] = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "vocab_size": 96,
    "num_key_value_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}


def spec_of(tensors: dict[str, tuple[str, list[int]]], **card: object) -> ModelSpec:
    found = parse_safetensors(file_of(tensors))
    return spec_from_safetensors({**CARD, **card}, list(found.tensors), "m")


def test_bytes_are_those_of_the_data_offsets() -> None:
    header = parse_safetensors(
        file_of({"a": ("F32", [3, 5]), "b": ("F8_E4M3", [7]), "c": ("I64", []), "d": ("U8", [0])})
    )
    assert header.data_bytes == 3 * 5 * 4 + 7 + 8
    assert [(t.name, t.rows, t.columns, t.dims) for t in header.tensors] == [
        ("a", 3, 5, 2),
        ("b", 1, 7, 1),
        ("c", 1, 1, 1),
        ("d", 1, 0, 1),
    ]


def test_a_folder_s_weights_are_exactly_its_files_and_its_layers_the_config_s() -> None:
    spec = spec_of(llama_tensors())
    total = (96 * 64 + 2 * (7 * 64 * 64 + 2 * 64) + 64) * 2
    weights = weigh(spec, spec.quant)
    assert weights.total_bytes == total
    assert weights.embedding_bytes == 96 * 64 * 2
    assert weights.layer_bytes == ((7 * 64 * 64 + 2 * 64) * 2,) * 2
    assert (spec.quant, spec.tied, len(spec.layers)) == ("HF-BF16", True, 2)


def test_an_output_layer_of_its_own_unties_the_model() -> None:
    spec = spec_of({**llama_tensors(), "lm_head.weight": ("BF16", [96, 64])})
    assert not spec.tied
    assert weigh(spec, spec.quant).output_bytes == 96 * 64 * 2


def test_a_packed_model_keeps_the_config_s_parameters_and_the_file_s_bytes() -> None:
    packed = {
        name: ("U32", [shape[0], shape[1] // 8]) if len(shape) == 2 else (kind, shape)
        for name, (kind, shape) in llama_tensors().items()
    }
    spec = spec_of(packed, quantization={"bits": 4, "group_size": 64})
    assert spec.parameters == spec_of(llama_tensors()).parameters
    assert spec.quant == "MLX-4bit"
    assert weigh(spec, spec.quant).embedding_bytes == 96 * 64 // 2


def test_a_forgotten_file_is_noticed() -> None:
    tensors = llama_tensors()
    first = {n: t for n, t in tensors.items() if "layers.1." not in n}
    with pytest.raises(SpecError, match="are all files there"):
        spec_of(first)
    with pytest.raises(SpecError, match="are all files there"):
        spec_of({n: t for n, t in tensors.items() if "embed" not in n})


def test_experts_become_one_tensor_with_all_their_bytes() -> None:
    names = [f"model.layers.3.mlp.experts.{i}.up_proj.weight" for i in range(5)]
    scales = {f"{n}_scale_inv": ("F32", [1, 2]) for n in names}
    header = parse_safetensors(file_of({**{n: ("F8_E4M3", [6, 4]) for n in names}, **scales}))
    stacked = placed(list(header.tensors))
    assert [(t.experts, t.layer, t.rows, t.columns, t.dims) for t in stacked] == [
        (5, 3, 30, 4, 3),
        (5, 3, 5, 2, 3),
    ]
    assert stacked[0].name == "model.layers.3.mlp.experts.*.up_proj.weight"


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.7.mlp.up_proj.weight", 7),
        ("transformer.h.0.attn.c_attn.weight", 0),
        ("backbone.layers.12.mixer.A_log", 12),
        ("language_model.model.layers.3.x.weight", 3),
        ("model.visual.blocks.4.attn.qkv.weight", -1),
        ("vision_tower.layers.2.w.weight", -1),
        ("mtp.layers.0.x.weight", -1),
        ("model.norm.weight", -1),
        ("layers.x.weight", -1),
    ],
)
def test_a_layer_is_known_by_its_name(name: str, layer: int) -> None:
    assert layer_of(name) == layer


def test_experts_in_one_tensor_are_counted_by_its_first_size() -> None:
    names = {"model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", [8, 4, 2, 16])}
    tensor = placed(list(parse_safetensors(file_of(names)).tensors))[0]
    assert (tensor.experts, tensor.rows * tensor.columns) == (8, 8 * 4 * 2 * 16)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "AWQ"),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, "AWQ-G64"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "GPTQ-INT4-G32"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "GPTQ-INT8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "FP8-BLOCK"),
        ({"quant_method": "fp8"}, "FP8"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "NF4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "INT8"),
        ({"quant_method": "bitsandbytes", "bnb_4bit_use_double_quant": True}, "NF4-DQ"),
    ],
)
def test_a_quantisation_has_the_name_it_is_planned_by(config: dict[str, object], name: str) -> None:
    assert quant_name({"quantization_config": config}, ()) == name
    assert name in QUANTS


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"bits": 4, "group_size": 64}, "MLX-4bit"),
        ({"bits": 8, "group_size": 32}, "MLX-8bit-g32"),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, "MLX-mxfp4"),
    ],
)
def test_an_mlx_quantisation_has_the_name_it_is_planned_by(
    config: dict[str, object], name: str
) -> None:
    assert quant_name({"quantization": config}, ()) == name
    assert name in QUANTS


def test_a_method_nobody_knows_keeps_its_own_name() -> None:
    assert quant_name({"quantization_config": {"quant_method": "new"}}, ()) == "new"


def entry(**changes: object) -> bytes:
    good = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}
    return framed(json.dumps({"t": good}).encode())


def huge_objects() -> bytes:
    return framed(b"{" + b",".join(b'"%d":{}' % i for i in range(100_000)) + b"}")


HOSTILE = [
    b"",
    b"\1\2",
    struct.pack("<Q", 1 << 60),
    struct.pack("<Q", 100) + b"{}",
    struct.pack("<Q", 0),
    framed(b"[]"),
    framed(b"{" * 60_000),
    framed(b"[" * 60_000),
    framed(b"[" + b"1," * 400_000 + b"1]"),
    framed(b"[" + b"1," * 2_000_000 + b"1]"),
    huge_objects(),
    framed(b"x" * (MAX_HEADER_BYTES + 1)),
    framed(b'{"a":1}'),
    framed(b'"' + "\U0001f600".encode() + b"x" * 4_000_000 + b'"'),
    framed(b"\xff\xfe{}"),
    entry(dtype="Q9"),
    entry(dtype=[1]),
    entry(shape=[1 << 60, 1 << 60]),
    entry(shape=[-1]),
    entry(shape=[2.0, 2]),
    entry(shape=[True, 4]),
    entry(shape="22"),
    entry(shape=[1] * 9),
    entry(data_offsets=[0, 15]),
    entry(data_offsets=[16, 0]),
    entry(data_offsets=[0]),
    entry(data_offsets=[4, 20]),
    entry(data_offsets=None),
    entry(shape=[[2], 2]),
]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_headers_are_refused_within_fifty_megabytes(place: int) -> None:
    tracemalloc.start()
    with pytest.raises(SpecError):
        parse_safetensors(HOSTILE[place])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * MIB


def test_overlapping_tensors_are_refused() -> None:
    two = {
        "a": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
        "b": {"dtype": "U8", "shape": [8], "data_offsets": [4, 12]},
    }
    with pytest.raises(SpecError, match="overlap"):
        parse_safetensors(framed(json.dumps(two).encode()))


def test_the_same_tensor_in_two_files_is_refused() -> None:
    header = parse_safetensors(file_of({"a": ("U8", [4])}))
    with pytest.raises(SpecError, match="twice"):
        placed([*header.tensors, *header.tensors])


@given(st.binary(max_size=300))
def test_noise_is_refused(body: bytes) -> None:
    with pytest.raises(SpecError):
        parse_safetensors(framed(b"\0" + body))
