"""Ollama runs llama.cpp's server: the same memory, from defaults of its own.

Context lengths by memory: Ollama's documentation (docs/context-length.mdx); slots multiply them.
"""

from mathcore.engines.footprint import ContextShape
from mathcore.units import GIB

PARALLEL = 1  # OLLAMA_NUM_PARALLEL's default


def default_context(memory_bytes: int) -> int:
    """num_ctx when nobody sets it, by the memory of all GPUs together."""
    if memory_bytes < 24 * GIB:
        return 4096
    return 32_768 if memory_bytes < 48 * GIB else 262_144


def ollama_shape(
    memory_bytes: int,
    trained: int,
    context: int = 0,
    parallel: int = PARALLEL,
    kv_type: str = "f16",
) -> ContextShape:
    """What Ollama asks llama.cpp for; 0 = its default, at most what the model was trained for."""
    wanted = context if context > 0 else default_context(memory_bytes)
    if trained > 0:
        wanted = min(wanted, trained)
    return ContextShape(context=wanted, sequences=parallel, kv_type=kv_type)
