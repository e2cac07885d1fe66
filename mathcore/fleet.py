"""The question a plan answers."""

from dataclasses import dataclass
from typing import final

from mathcore.model import ModelSpec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Run `batch` sequences of up to `context` tokens each through `model`."""

    model: ModelSpec
    model_ref: str
    quant: str | None = None
    kv_type: str = "f16"
    batch: int = 1
    context: int = 4096  # tokens per sequence, prompt and answer together
    prompt_tokens: int = 512
    tokens: int = 128  # generated per sequence
    engine: str | None = None
    max_latency_ms: int | None = None
    on: str | None = None
