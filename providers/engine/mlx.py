"""MLX's server, of the package mlx-lm. Pure. Options as of 0.32; it has no key and no metrics."""

from typing import Final

from providers.engine.setup import Engine, Program, Setup

# As a plan names cache types; 0 = as the model computes.
KV_BITS: Final = {"f16": 0, "bf16": 0, "auto": 0, "q8": 8, "q8_0": 8, "q6": 6, "q4": 4, "q4_0": 4}


def programs(setup: Setup) -> tuple[Program, ...]:
    """The module, by the Python that has it."""
    return (
        Program(executable="mlx_lm.server", module="mlx_lm.server"),
        Program(module="mlx_lm.server"),
    )


def fault(setup: Setup) -> str:
    """Why it can't be."""
    if setup.kv_type not in KV_BITS:
        return f"MLX has no cache type {setup.kv_type!r}; try one of {', '.join(KV_BITS)}"
    return ""


def argv(setup: Setup, port: int) -> tuple[str, ...]:
    """Options of one server; a model's context is its own. With "=" for a value with a dash."""
    words = [
        f"--model={setup.model_path}",
        "--host=127.0.0.1",
        f"--port={port}",
        "--allowed-origins=http://127.0.0.1",  # by default any page a browser shows may ask it
        f"--decode-concurrency={setup.parallel}",
        f"--prompt-concurrency={setup.parallel}",
    ]
    if bits := KV_BITS[setup.kv_type]:
        words += [f"--kv-bits={bits}", "--quantized-kv-start=0"]
    return tuple(words)


def env(setup: Setup, port: int, key: str) -> dict[str, str]:
    """Offline: it would look for the model's name on a hub."""
    return {"HF_HUB_OFFLINE": "1"}


ENGINE: Final = Engine(
    name="mlx",
    programs=programs,
    argv=argv,
    env=env,
    ready="/health",
    dialect="openai",
    fault=fault,
)
