"""Ollama's server. Pure. Its environment as of 0.6 to 0.13.

It keeps models under names, so the supervisor hands it the file first (`blob_of`, `create`), and
takes the name back at the end; a file of Ollama's own store is there already.
"""

import re
from typing import Final

from providers.engine.setup import ALL_LAYERS, Engine, Program, Setup

BLOB: Final = re.compile(r"sha256-([0-9a-f]{64})$")
KV_TYPES: Final = ("f16", "q8_0", "q4_0")


def programs(setup: Setup) -> tuple[Program, ...]:
    """The executable."""
    return (Program(executable="ollama", words=("serve",)),)


def fault(setup: Setup) -> str:
    """Why it can't be."""
    if setup.kv_type not in KV_TYPES:
        return f"Ollama has no cache type {setup.kv_type!r}; try one of {', '.join(KV_TYPES)}"
    return ""


def argv(setup: Setup, port: int) -> tuple[str, ...]:
    """It is told all by its environment."""
    return ()


def env(setup: Setup, port: int, key: str) -> dict[str, str]:
    """One model, never unloaded while the job lasts."""
    found = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_CONTEXT_LENGTH": str(setup.context),
        "OLLAMA_NUM_PARALLEL": str(setup.parallel),
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_KV_CACHE_TYPE": setup.kv_type,
        "OLLAMA_NOPRUNE": "1",  # it would remove blobs that no name of its own holds
    }
    if setup.kv_type != "f16":
        found["OLLAMA_FLASH_ATTENTION"] = "1"  # without it the type is passed over
    if setup.card_count > 1:
        found["OLLAMA_SCHED_SPREAD"] = "1"  # over all cards, also where one would do
    return found


def options(setup: Setup) -> dict[str, object]:
    """What each request says of how the model is loaded; the same words, so it is loaded once."""
    found: dict[str, object] = {"num_ctx": setup.context}
    if not setup.vendor:
        found["num_gpu"] = 0
    elif setup.gpu_layers != ALL_LAYERS:
        found["num_gpu"] = setup.gpu_layers
    if setup.threads:
        found["num_thread"] = setup.threads
    return found


def blob_of(model_path: str) -> str:
    """The digest in the name of a file of its own store, as hex; "" for any other file."""
    found = BLOB.search(model_path)
    return found[1] if found else ""


def created_name(digest: str) -> str:
    """What the model is called while the job lasts."""
    return f"fleet-{digest[:12]}"


def create(digest: str) -> dict[str, object]:
    """The body of POST /api/create."""
    named = {"model.gguf": f"sha256:{digest}"}
    return {"model": created_name(digest), "files": named, "stream": False}


ENGINE: Final = Engine(
    name="ollama",
    programs=programs,
    argv=argv,
    env=env,
    ready="/api/version",
    dialect="ollama",
    fault=fault,
)
