"""What an engine is started with beyond a model, its types and its context."""

from dataclasses import dataclass
from typing import final

# The builds our rules are read from; an answer names the one it is for.
BUILDS: dict[str, str] = {
    "llama.cpp": "llama.cpp b11549",
    "ollama": "Ollama 0.33",
    "vllm": "vLLM 0.33",
    "sglang": "SGLang 0.5",
    "tgi": "TGI 3.3",
    "mlx": "mlx 0.32.1",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Flags under the engines' own names; None and 0 leave an engine its own choice.

    Shares of a card's memory are in thousandths: 900 is 0.9.
    """

    memory_permille: int = 0  # vLLM: --gpu-memory-utilization; SGLang: --mem-fraction-static
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    tensor_parallel: int = 0
    pipeline_parallel: int = 0
    prefix_caching: bool | None = None
    state_bytes: int = 0  # vLLM: --mamba-ssm-cache-dtype
    enforce_eager: bool = False  # no CUDA graphs


DEFAULT_OPTIONS = EngineOptions()


def build_of(engine: str) -> str:
    """The build an answer about the engine is for."""
    return BUILDS[engine]
