"""Every term of a llama.cpp context against real llama.cpp, live, for models of real shapes."""

from pathlib import Path

import pytest

from mathcore.api import MIB, ContextShape, find_model
from mathcore.catalogue.models import find_row
from mathcore.engines.llamacpp.cache import kv_bytes, state_bytes
from mathcore.engines.llamacpp.memory import cache_groups, compute_bytes, output_bytes
from mathcore.formats.config import convert
from mathcore.formats.gguf import spec_from_parts
from tests.mathcore.engines.memory_configs import CONFIGS
from tests.support.llamacpp_oracle import ask
from tests.support.sparse_gguf import write_gguf

NAMED = (
    "llama-3.1-8b",
    "llama-3-70b",
    "qwen2.5-7b",
    "qwen3-30b-a3b",
    "gemma-3-27b",
    "gpt-oss-20b",
    "phi-4",
    "mixtral-8x7b",
)
LATENT = ("deepseek_v3", "deepseek_v2", "glm_moe_dsa", "kimi_linear")
RECURRENT = (
    "mamba",
    "mamba2",
    "jamba",
    "falcon_h1",
    "nemotron_h",
    "nemotron_h moe",
    "qwen3_next",
    "qwen3_5",
    "lfm2",
)
CONTEXT, SEQUENCES = 4096, 2


def card_of(name: str) -> dict[str, object]:
    row = find_row(name)
    return dict(row.config) if row is not None else CONFIGS[name]


@pytest.mark.parametrize("name", [*NAMED, *LATENT, *RECURRENT])
def test_cache_states_compute_buffer_and_output_are_llama_cpps(name: str, tmp_path: Path) -> None:
    found = convert(card_of(name))
    path = tmp_path / "model.gguf"
    write_gguf(path, found)
    said = ask(path, context=CONTEXT * SEQUENCES, sequences=SEQUENCES, outputs=SEQUENCES)
    spec = spec_from_parts(found.metadata, found.tensors, name, "")
    shape = ContextShape(context=CONTEXT, sequences=SEQUENCES)
    cache = cache_groups(spec)
    # Logged to two decimals per buffer.
    assert said.cache_mib == pytest.approx(kv_bytes(cache, shape) / MIB, abs=0.03)
    assert sum(said.recurrent) == pytest.approx(state_bytes(cache, shape) / MIB, abs=0.02)
    assert said.compute_mib == pytest.approx(compute_bytes(spec, shape) / MIB, abs=0.02)
    assert said.output_mib == pytest.approx(output_bytes(spec, shape) / MIB, abs=0.01)


@pytest.mark.parametrize(
    ("wanted", "shape"),
    [
        ({"flash": False}, ContextShape(context=8192, flash=False)),
        ({"k": "q8_0", "v": "q4_0"}, ContextShape(context=8192, kv_type="q8_0", v_type="q4_0")),
        ({"ubatch": 128}, ContextShape(context=8192, micro_batch=128)),
        (
            {"sequences": 4, "unified": True, "outputs": 4},
            ContextShape(context=2048, sequences=4, unified=True),
        ),
        ({"swa_full": True}, ContextShape(context=8192, full_window=True)),
    ],
)
def test_so_they_are_however_the_context_is_asked_for(
    wanted: dict[str, object], shape: ContextShape, tmp_path: Path
) -> None:
    spec = find_model("gemma-3-27b")
    assert spec is not None
    path = tmp_path / "model.gguf"
    write_gguf(path, convert(card_of("gemma-3-27b")))
    said = ask(path, **{"context": 8192, "outputs": 1, **wanted})
    assert said.cache_mib == pytest.approx(kv_bytes(cache_groups(spec), shape) / MIB, abs=0.03)
    assert said.compute_mib == pytest.approx(compute_bytes(spec, shape) / MIB, abs=0.02)
