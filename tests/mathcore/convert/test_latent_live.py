"""Each family's conversion, loaded by real llama.cpp: names, shapes, bytes and states."""

import re
from pathlib import Path

import pytest

from mathcore.api import MIB, ContextShape, ModelSpec
from mathcore.convert.conversion import Conversion, matrix
from mathcore.convert.registry import find_draft_converter
from mathcore.engines.llamacpp.cache import kv_bytes, state_bytes
from mathcore.engines.llamacpp.memory import cache_groups
from mathcore.formats.config import convert
from mathcore.formats.gguf import spec_from_gguf, spec_from_parts
from mathcore.model.fields import Fields
from mathcore.model.spec import Tensor
from providers.sources.gguf import read_header
from tests.mathcore.engines.memory_configs import CONFIGS
from tests.support.llamacpp_oracle import Breakdown, ask
from tests.support.sparse_gguf import write_gguf

# llama.cpp of the wheel aborts when it builds plm's graph, whatever the file.
LOADED = [name for name in CONFIGS if name != "plm"]
DRAFTED = ["qwen3_5", "qwen3_5_moe", "glm_moe_dsa", "deepseek_v32", "glm4_moe_lite"]
SEQUENCES = 2
TOKENS = 1024  # of each sequence


def compressed_states_mib(log: str) -> float:
    """DeepSeek V4's, which llama.cpp logs apart."""
    return sum(float(found) for found in re.findall(r"state buffer size =\s*([\d.]+)", log))


def sequences_of(name: str) -> int:
    """llama.cpp cannot build T5's encoder for more than one."""
    return 1 if name in ("t5", "umt5") else SEQUENCES


def check(spec: ModelSpec, said: Breakdown, sequences: int) -> None:
    shape = ContextShape(context=TOKENS, sequences=sequences)
    plan = cache_groups(spec)
    assert said.parameters == spec.parameters
    assert said.cache_mib == pytest.approx(kv_bytes(plan, shape) / MIB, abs=0.03)
    states = sum(said.recurrent) + compressed_states_mib(said.log)
    assert states == pytest.approx(state_bytes(plan, shape) / MIB, abs=0.03)


def load(path: Path, found: Conversion, sequences: int) -> Breakdown:
    total = write_gguf(path, found)
    said = ask(path, context=TOKENS * sequences, sequences=sequences)
    assert said.model_bytes == total
    return said


@pytest.mark.parametrize("name", LOADED)
def test_llama_cpp_loads_the_conversion_and_keeps_what_we_say(tmp_path: Path, name: str) -> None:
    found = convert(CONFIGS[name])
    path = tmp_path / "model.gguf"
    said = load(path, found, sequences_of(name))
    spec = spec_from_parts(found.metadata, found.tensors, name)
    check(spec, said, sequences_of(name))
    # The file, read back, is the same model to us.
    assert spec_from_gguf(read_header(path), name).layers == spec.layers


@pytest.mark.parametrize("name", DRAFTED)
def test_draft_layers_weigh_but_keep_nothing_in_the_main_context(tmp_path: Path, name: str) -> None:
    fields = Fields(CONFIGS[name])
    converter = find_draft_converter(fields.text("model_type"))
    assert converter is not None
    found = converter(fields)
    spec = spec_from_parts(found.metadata, found.tensors, name)
    assert spec.draft_layers == 1
    assert (
        spec.parameters
        > spec_from_parts(
            convert(CONFIGS[name]).metadata, convert(CONFIGS[name]).tensors, name
        ).parameters
    )
    check(spec, load(tmp_path / "model.gguf", found, SEQUENCES), SEQUENCES)


def test_deepseek_v4_never_shares_its_cells_between_sequences(tmp_path: Path) -> None:
    found = convert(CONFIGS["deepseek_v4"])
    path = tmp_path / "model.gguf"
    write_gguf(path, found)
    spec = spec_from_parts(found.metadata, found.tensors, "v4")
    shape = ContextShape(context=TOKENS, sequences=SEQUENCES, unified=True)
    said = ask(path, context=TOKENS * SEQUENCES, sequences=SEQUENCES, unified=True)
    assert said.cache_mib == pytest.approx(kv_bytes(cache_groups(spec), shape) / MIB, abs=0.03)


def before_absorption(found: Conversion) -> Conversion:
    """The same model as files were written before llama.cpp split K and V of the latent."""
    heads, nope, rope, value, rank = 16, 128, 64, 128, 512
    metadata = dict(found.metadata)
    for name in ("key_length_mla", "value_length_mla"):
        metadata.pop(f"deepseek2.attention.{name}")
    metadata["deepseek2.attention.head_count_kv"] = heads
    metadata["deepseek2.attention.key_length"] = nope + rope
    metadata["deepseek2.attention.value_length"] = value
    tensors: list[Tensor] = []
    for tensor in found.tensors:
        if ".attn_v_b." in tensor.name:
            name = f"blk.{tensor.layer}.attn_kv_b.weight"
            tensors.append(matrix(name, rank, heads * (nope + value), tensor.layer))
        elif ".attn_k_b." not in tensor.name:
            tensors.append(tensor)
    return Conversion(metadata=metadata, tensors=tuple(tensors))


def test_a_file_from_before_absorption_caches_what_we_say(tmp_path: Path) -> None:
    found = before_absorption(convert(CONFIGS["deepseek_v2"]))
    spec = spec_from_parts(found.metadata, found.tensors, "old")
    assert {layer.kind for layer in spec.layers} == {"full"}
    check(spec, load(tmp_path / "model.gguf", found, SEQUENCES), SEQUENCES)
