"""vLLM's OpenAI server. Pure. Options and metrics as of 0.11 to 0.33."""

import re
from typing import Final

from providers.engine.setup import Engine, Memory, Program, Setup

GIB: Final = 1 << 30
# vllm:cache_config_info{…,kv_cache_memory_bytes="1073741824",…} 1.0
KV_BYTES: Final = re.compile(r'^vllm:cache_config_info\{.*?kv_cache_memory_bytes="(\d+)"', re.M)
# "Model loading took 14.99 GiB memory and 3.2 seconds"; "… 14.99 GiB and …" before 0.11.
WEIGHTS: Final = re.compile(r"Model loading took (\d+(?:\.\d+)?) Gi?B")
# As a plan names cache types, and as vLLM does; "auto" is the model's own 16 bits.
KV_TYPES: Final = {"f16": "auto", "bf16": "auto", "auto": "auto", "fp8": "fp8", "q8_0": "fp8"}


def programs(setup: Setup) -> tuple[Program, ...]:
    """Its module: a build for processors has another name, and `vllm serve` asks for its own."""
    module = "vllm.entrypoints.openai.api_server"
    return (Program(executable="vllm", module=module, words=("serve",)), Program(module=module))


def fault(setup: Setup) -> str:
    """Why it can't be."""
    if setup.kv_type not in KV_TYPES:
        return f"vLLM has no cache type {setup.kv_type!r}; try f16 or fp8"
    return ""


def argv(setup: Setup, port: int) -> tuple[str, ...]:
    """Options of one server; with "=", since a value may begin with a dash."""
    words = [
        f"--model={setup.model_path}",
        f"--served-model-name={setup.name}",
        "--host=127.0.0.1",
        f"--port={port}",
        f"--max-model-len={setup.context}",
        f"--max-num-seqs={setup.parallel}",
        f"--kv-cache-dtype={KV_TYPES[setup.kv_type]}",
    ]
    stages, ranks = _stages(setup)
    if ranks > 1:
        words.append(f"--tensor-parallel-size={ranks}")
    if stages > 1:
        words.append(f"--pipeline-parallel-size={stages}")
    if not setup.vendor:
        words.append("--enforce-eager")  # compiling for a processor takes minutes
    return tuple(words)


def _stages(setup: Setup) -> tuple[int, int]:
    """(stages one after the other, cards of each, which split its layers)."""
    stages = setup.stages or (setup.card_count if setup.split == "layer" else 1)
    return stages, max(1, setup.card_count // stages)


def _partition(setup: Setup) -> str:
    """Layers of each stage as the plan has them, where it says; "" lets vLLM deal evenly."""
    stages, ranks = _stages(setup)
    if stages == 1 or len(setup.tensor_split) != setup.card_count:
        return ""
    *layers, last = setup.tensor_split[::ranks]
    return ",".join(map(str, (*layers, last - 1)))  # the output layer is none of vLLM's


def env(setup: Setup, port: int, key: str) -> dict[str, str]:
    """Offline and without telemetry: a job's owner fetched what there is to fetch."""
    found = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_API_KEY": key,
        "VLLM_HOST_IP": "127.0.0.1",
    }
    if partition := _partition(setup):
        found["VLLM_PP_LAYER_PARTITION"] = partition
    if not setup.vendor:
        # Whole GiB are what it takes; unset it takes 4, or half of the machine.
        found["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, -(-setup.kv_bytes // GIB)))
        found["GLOO_SOCKET_IFNAME"] = "lo"
    return found


def memory(log: str, metrics: str) -> Memory:
    """Weights from its log, the cache from its metrics."""
    weights, cache = WEIGHTS.findall(log), KV_BYTES.search(metrics)
    return Memory(
        weights_bytes=round(sum(float(size) for size in weights) * GIB),
        kv_bytes=int(cache[1]) if cache else 0,
    )


ENGINE: Final = Engine(
    name="vllm",
    programs=programs,
    argv=argv,
    env=env,
    ready="/health",
    dialect="openai",
    fault=fault,
    metrics="/metrics",
    keyed=True,
    memory=memory,
)
