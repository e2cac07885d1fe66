"""What we compute against what a real llama.cpp server allocates; a child, for it may abort."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mathcore.api import MIB, ContextShape, ModelSpec, weigh
from mathcore.engines.llamacpp.memory import compute_bytes, context_bytes
from mathcore.formats.gguf import spec_from_gguf
from providers.sources.gguf import read_header
from tests.mathcore.fixtures import write_sparse

CHILD = Path(__file__).with_name("llamacpp_child.py")
# layers, hidden, feed-forward, heads, KV heads, vocabulary
SHAPES = {"tiny": (4, 128, 384, 8, 2, 384), "wide": (4, 1024, 4096, 16, 4, 2048)}


def engine_log(model: Path, tokens: int, sequences: int) -> str:
    """llama.cpp's log up to its last allocation; then the child has served its purpose."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(model), str(tokens), str(sequences)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    lines: list[str] = []
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line)
            if "compute buffer size" in line:
                break
        child.kill()
    return "".join(lines)


def mib(log: str, name: str) -> float:
    found = re.findall(name + r" size\s*=\s*([0-9.]+) MiB", log)
    assert found, f"llama.cpp did not print '{name}':\n{log[-2000:]}"
    return float(found[0])


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("truth") / f"{request.param}.gguf"
    write_sparse(path, *SHAPES[request.param])
    return path


def spec_of(path: Path) -> ModelSpec:
    return spec_from_gguf(read_header(path), path.stem)


@pytest.mark.parametrize(("context", "sequences"), [(1000, 1), (2048, 2), (700, 3)])
def test_memory_is_what_llama_cpp_allocates(model: Path, context: int, sequences: int) -> None:
    spec = spec_of(model)
    shape = ContextShape(context=context, sequences=sequences)
    log = engine_log(model, context * sequences, sequences)
    cache = context_bytes(spec, shape)
    assert mib(log, "llama_kv_cache:") == pytest.approx(cache / MIB, abs=0.006)
    weights = weigh(spec, spec.quant).total_bytes
    assert mib(log, "model buffer") == pytest.approx(weights / MIB, abs=0.02)
    compute = compute_bytes(spec, shape)
    assert mib(log, "compute buffer") == pytest.approx(compute / MIB, rel=0.003, abs=0.02)
