"""Which engine of a host a job runs by, and the program of ours that holds it there."""

import ast
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from providers.base import DependencyMissing
from providers.ssh.bring.engines import HostEngine, engine_on, engines_for, why_none
from providers.ssh.bring.program import engine_program
from providers.ssh.limits import LEAST_PYTHON
from providers.ssh.reading.facts import Engine, HostFacts

WHEEL = Engine(
    engine="llama.cpp",
    where="/home/a b/venv",
    version="2026.10",
    python="/home/a b/venv/bin/python3",
    python_version="3.11",
)
SERVER = Engine(engine="llama.cpp", where="/opt/llama/bin/llama-server")
CLI = Engine(engine="llama.cpp", where="/opt/llama/bin/llama-cli")
VLLM = Engine(
    engine="vllm",
    where="/opt/v",
    version="0.11",
    python="/opt/v/bin/python3",
    python_version="3.12",
)
OLLAMA = Engine(engine="ollama", where="/usr/local/bin/ollama")


def facts(*engines: Engine, python: str = "3.11") -> HostFacts:
    where = f"/usr/bin/python{python}" if python else ""
    return HostFacts(whole=True, engines=engines, python=where, python_version=python)


CHOICES = [
    (facts(SERVER, WHEEL), "llama.cpp", True, HostEngine(
        engine="llama.cpp", python=WHEEL.python, program="")),
    (facts(WHEEL, SERVER), "llama.cpp", False, HostEngine(
        engine="llama.cpp", python="/usr/bin/python3.11", program=SERVER.where)),
    (facts(VLLM, python="3.8"), "vllm", False, HostEngine(
        engine="vllm", python=VLLM.python, program="/opt/v/bin/vllm")),
    (facts(OLLAMA), "ollama", True, HostEngine(
        engine="ollama", python="/usr/bin/python3.11", program=OLLAMA.where)),
    (facts(Engine(engine="llama.cpp", where="/home/x/.local", version="1", python_version="3.11")),
     "llama.cpp", True, HostEngine(engine="llama.cpp", python="/usr/bin/python3.11", program="")),
]  # fmt: skip


@pytest.mark.parametrize(("found", "engine", "processor", "wanted"), CHOICES)
def test_an_engine_is_taken_where_the_probe_found_it_with_a_python_that_is_new_enough(
    found: HostFacts,
    engine: str,
    processor: bool,  # noqa: FBT001
    wanted: HostEngine,
) -> None:
    assert engine_on(found, engine, host="rig", processor=processor) == wanted


REFUSED = [
    (facts(WHEEL), "llama.cpp", False, "rig has no llama.cpp that jobs can run by"),
    (facts(CLI), "llama.cpp", True, "rig has no llama.cpp that jobs can run by"),
    (facts(Engine(engine="sglang", where="/x/sglang")), "sglang", False, "no sglang that jobs"),
    (facts(OLLAMA, python="3.9"), "ollama", True, "Python 3.10 or later on rig .*: it has 3.9"),
    (facts(OLLAMA, python=""), "ollama", True, "Python 3.10 or later on rig .*: it has none"),
    (facts(Engine(engine="llama.cpp", where="/x", version="1", python_version="3.12")),
     "llama.cpp", True, "needs Python 3.10"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "engine", "processor", "words"), REFUSED)
def test_an_engine_that_cannot_be_held_there_is_refused_in_one_line(
    found: HostFacts,
    engine: str,
    processor: bool,  # noqa: FBT001
    words: str,
) -> None:
    with pytest.raises(DependencyMissing, match=words):
        engine_on(found, engine, host="rig", processor=processor)
    assert engine not in engines_for(found, processor=processor)


def test_a_host_says_why_it_runs_none_of_its_engines() -> None:
    assert why_none(facts(), "rig") == why_none(facts(OLLAMA), "rig") == ""
    assert "it has 3.9" in why_none(facts(OLLAMA, SERVER, python="3.9"), "rig")


# What typing and others got after the oldest Python that must run it.
NEWER = {"Self", "Never", "LiteralString", "assert_never", "StrEnum", "override", "TaskGroup"}


def test_the_program_for_hosts_takes_the_standard_library_of_its_oldest_python_alone() -> None:
    name, data = engine_program()
    assert (name, data) == engine_program()
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        inside = {one.removesuffix(".py").replace("/", ".") for one in made.namelist()}
        for one in made.namelist():
            tree = ast.parse(made.read(one), feature_version=LEAST_PYTHON)
            assert not needs(tree) - inside, one
    ast.parse(zipfile.ZipFile(io.BytesIO(data)).read("__main__.py"), feature_version=(3, 6))


def needs(tree: ast.Module) -> set[str]:
    """Modules that must travel too; what only types or other systems need is not among them."""
    found = set[str]()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
            assert not NEWER & {alias.name for alias in node.names}
            if str(node.module) in ("providers", "providers.engine"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name for name in names if name.split(".")[0] not in KNOWN}
    return found


# The engine itself, in its own Python; psutil only where there is no /proc, and not needed there.
KNOWN = sys.stdlib_module_names | {"xllamacpp", "psutil"}


def test_the_program_says_what_it_lacks(tmp_path: Path) -> None:
    name, data = engine_program()
    (tmp_path / name).write_bytes(data)
    (tmp_path / "launch.json").write_text(
        '{"spec": {"setup": {"engine": "none", "model_path": "m"}}}'
    )
    bare = [sys.executable, "-I", "-S", str(tmp_path / name)]  # none of this machine's packages
    done = subprocess.run(
        bare, env={"FLEET_JOB_DIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "engine: 'none' is no engine that jobs run by" in done.stderr
    old = shutil.which("python3.8") or shutil.which("python3.9")
    if old is not None and subprocess.run([old, "-V"], capture_output=True).returncode == 0:
        done = subprocess.run([old, bare[-1]], capture_output=True, text=True, check=False)
        assert "engine: needs Python 3.10 or later, not 3." in done.stderr
