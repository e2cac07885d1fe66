"""The question a plan answers."""

from dataclasses import dataclass, replace
from typing import Literal, final

from mathcore.engines.draft import Draft
from mathcore.engines.flags import DEFAULTS, Flags
from mathcore.engines.footprint import NOTHING, Beside, ContextShape
from mathcore.engines.options import DEFAULT_OPTIONS, EngineOptions
from mathcore.model.spec import ModelSpec

Objective = Literal["cheapest", "fastest", "balanced"]
OBJECTIVES: tuple[Objective, ...] = ("cheapest", "fastest", "balanced")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an answer must keep to; None does not bind.

    Times are held against the p90 and rates against the p10: a promise kept nine times in ten.
    """

    max_latency_ms: int | None = None  # from loaded to the last token
    max_ttft_ms: int | None = None  # from the end of loading to the first token
    deadline_ms: int | None = None  # from now to the last token: waiting and loading count
    min_tokens_per_s: float | None = None  # of one sequence
    max_nusd_per_hour: int | None = None
    max_cost_nusd: int | None = None
    min_quality: float | None = None  # mathcore.quality: 1 = the 16-bit model


NO_LIMITS = Limits()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Run `batch` sequences of up to `context` tokens each through `model`."""

    model: ModelSpec
    model_ref: str
    quant: str | None = None
    kv_type: str | None = None  # None: 16 bits; "auto": whichever serves the objective
    batch: int = 1
    context: int = 4096  # tokens per sequence, prompt and answer together
    prompt_tokens: int = 512
    tokens: int = 128  # generated per sequence
    engine: str | None = None
    limits: Limits = NO_LIMITS
    objective: Objective = "balanced"
    on: str | None = None
    allow_beyond: bool = False  # a context longer than the model is published for, too
    sets: bool = True  # several devices together, too
    groups: tuple[tuple[str, ...], ...] | None = None  # ids of which a set is made; None = any
    flags: Flags = DEFAULTS  # what llama.cpp is told; other engines know none of it
    beside: Beside = NOTHING  # a projector, a draft model, adapters
    draft: Draft | None = None  # what the draft's bytes of `beside` are of
    most: int = 100  # placements wanted; those on the Pareto front come beside them
    options: EngineOptions = DEFAULT_OPTIONS

    @property
    def longest(self) -> int:
        """Tokens a context may have; 0 = any: the model says nothing, or more was asked for."""
        return 0 if self.allow_beyond else self.model.longest

    def resized(self, batch: int, context: int) -> "Query":
        """The same of another size: what drafts keeps a cache that grows with it."""
        beside = self.beside
        if self.draft is not None:
            beside = replace(beside, draft_bytes=self.draft.total_bytes(context, batch))
        return replace(self, batch=batch, context=context, beside=beside)

    def shape(self, kv_type: str) -> ContextShape:
        """The context llama.cpp is asked for, with this type of cache."""
        return self.flags.shape(self.model, self.context, self.batch, kv_type, self.beside)
