"""Architectures no config.json is converted to, in real llama.cpp: a relative's file under their
name, which is all they are to it: the same tensors, and a cache of their own or none."""

from pathlib import Path

import pytest

from mathcore.api import MIB, ContextShape
from mathcore.convert.conversion import Conversion
from mathcore.engines.llamacpp.cache import kv_bytes
from mathcore.engines.llamacpp.memory import cache_groups, compute_bytes
from mathcore.formats.config import convert
from mathcore.formats.gguf import spec_from_gguf, spec_from_parts
from providers.sources.gguf import read_header
from tests.mathcore.convert.attention_configs import CONFIGS
from tests.support.llamacpp_oracle import ask
from tests.support.sparse_gguf import write_gguf

# Their architecture -> the config whose tensors they have.
RELATIVES: dict[str, str] = {
    "dream": "qwen2",  # diffusion models keep nothing: every step reads the whole text again
    "llada": "mistral",
    "llada-moe": "qwen3_moe",
    "rnd1": "qwen3_moe",
    "gemma-embedding": "gemma3",  # an encoder, which keeps nothing either
    "llama-embed": "mistral",
    "maincoder": "qwen3",
    "paddleocr": "ernie4_5",
}
KEEP_NOTHING = ("dream", "llada", "llada-moe", "rnd1", "gemma-embedding")
CONTEXT, SEQUENCES = 1024, 2


def renamed(found: Conversion, arch: str) -> Conversion:
    """The same file, said to be of another architecture."""
    old = str(found.metadata["general.architecture"])
    metadata = {
        f"{arch}{key.removeprefix(old)}" if key.startswith(f"{old}.") else key: value
        for key, value in found.metadata.items()
    }
    return Conversion(metadata={**metadata, "general.architecture": arch}, tensors=found.tensors)


@pytest.mark.parametrize("arch", list(RELATIVES))
def test_llama_cpp_loads_it_and_keeps_what_we_say(arch: str, tmp_path: Path) -> None:
    found = renamed(convert(CONFIGS[RELATIVES[arch]]), arch)
    path = tmp_path / "model.gguf"
    size = write_gguf(path, found)
    said = ask(path, context=CONTEXT * SEQUENCES, sequences=SEQUENCES, outputs=SEQUENCES)
    spec = spec_from_parts(found.metadata, found.tensors, arch)
    shape = ContextShape(context=CONTEXT, sequences=SEQUENCES)
    kept = kv_bytes(cache_groups(spec), shape)
    assert said.model_bytes == size
    assert said.parameters == spec.parameters
    assert (kept == 0) == (arch in KEEP_NOTHING)
    assert said.cache_mib == pytest.approx(kept / MIB, abs=0.03)
    # A mask among the tokens of one pass, which we leave out where nothing is kept, is the rest.
    assert said.compute_mib == pytest.approx(compute_bytes(spec, shape) / MIB, rel=0.02)
    assert spec_from_gguf(read_header(path), arch).layers == spec.layers
