"""Text Generation Inference. Pure. Options of its launcher as of 2.0 to 3.3."""

from typing import Final

from providers.engine.setup import Engine, Program, Setup

KV_TYPES: Final = {"f16": "auto", "bf16": "auto", "auto": "auto", "fp8": "fp8_e4m3fn"}


def programs(setup: Setup) -> tuple[Program, ...]:
    """The launcher, which starts a server for each card and a router before them."""
    return (Program(executable="text-generation-launcher"),)


def fault(setup: Setup) -> str:
    """Why it can't be."""
    if setup.kv_type not in KV_TYPES:
        return f"TGI has no cache type {setup.kv_type!r}; try f16 or fp8"
    return ""


def argv(setup: Setup, port: int) -> tuple[str, ...]:
    """Options of one launcher; its cards split every layer, it knows no other way."""
    words = [
        f"--model-id={setup.model_path}",
        "--hostname=127.0.0.1",
        f"--port={port}",
        f"--max-total-tokens={setup.context}",
        f"--max-input-tokens={max(1, setup.context - 1)}",
        f"--max-concurrent-requests={setup.parallel}",
        "--disable-custom-kernels" if not setup.vendor else "",
    ]
    if KV_TYPES[setup.kv_type] != "auto":
        words.append(f"--kv-cache-dtype={KV_TYPES[setup.kv_type]}")
    if setup.card_count > 1:
        words.append(f"--num-shard={setup.card_count}")
    return tuple(word for word in words if word)


def env(setup: Setup, port: int, key: str) -> dict[str, str]:
    """Offline and without telemetry."""
    return {"HF_HUB_OFFLINE": "1", "USAGE_STATS": "off", "API_KEY": key}


ENGINE: Final = Engine(
    name="tgi",
    programs=programs,
    argv=argv,
    env=env,
    ready="/health",
    dialect="tgi",
    fault=fault,
    metrics="/metrics",
    keyed=True,
)
