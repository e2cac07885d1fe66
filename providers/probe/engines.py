"""Which engines are installed here, found without starting or importing any."""

import importlib.util
import shutil
from dataclasses import dataclass
from typing import final

PROGRAMS = (
    ("llama.cpp", "llama-server"),
    ("llama.cpp", "llama-cli"),
    ("ollama", "ollama"),
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("tgi", "text-generation-launcher"),
)
MODULES = (("llama.cpp", "xllamacpp"), ("vllm", "vllm"), ("sglang", "sglang"), ("mlx", "mlx_lm"))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEngine:
    """An engine and where it is. `runs`: as a registry ships it, it runs on the processor."""

    engine: str
    program: str
    where: str
    runs: bool


def probe_engines(path: str | None = None) -> tuple[FoundEngine, ...]:
    """Programs on `path` (default: PATH), then importable modules."""
    programs = [(engine, name, shutil.which(name, path=path)) for engine, name in PROGRAMS]
    modules = [(engine, name, _module(name)) for engine, name in MODULES]
    return tuple(
        FoundEngine(engine=engine, program=name, where=where, runs=name == "xllamacpp")
        for engine, name, where in (*programs, *modules)
        if where
    )


def _module(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)
