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
    build: str = ""  # of the engine asked about, "0.28.1"; "" = the newest our rules know


DEFAULT_OPTIONS = EngineOptions()


# Engines of which releases are told apart.
VERSIONED: tuple[str, ...] = ("vllm", "sglang", "mlx")


def build_of(engine: str, options: EngineOptions = DEFAULT_OPTIONS) -> str:
    """The build an answer about the engine is for."""
    name = BUILDS[engine]
    return f"{name.partition(' ')[0]} {options.build}" if options.build else name


def release(text: str) -> tuple[int, int, int]:
    """The numbers of a release: "v0.31" is (0, 31, 0), and so is "0.31.0.post1"; ValueError for
    anything else."""
    plain, _, post = text.strip().removeprefix("v").partition(".post")
    parts = plain.split(".")
    numbered = all([part.isdigit() for part in parts]) and (post.isdigit() or post == "")
    if not 2 <= len(parts) <= 3 or not numbered:
        raise ValueError(f"'{text}' is no release: 0.31.2 is one")
    numbers = [int(part) for part in parts]
    return (numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0)
