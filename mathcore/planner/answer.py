"""What a plan answers with: placements, refusals, and the terms behind them."""

from dataclasses import dataclass
from typing import Literal, final

from mathcore.band import Band
from mathcore.engines.footprint import Footprint
from mathcore.planner.query import Query
from mathcore.planner.refusals import Refusal
from mathcore.price import RatePart
from mathcore.speed.terms import Run
from mathcore.speed.work import Work


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to put a model on a device, and whether its memory allows it."""

    engine: str
    quant: str
    kv_type: str
    cards: int
    gpu_layers: int  # layers on the accelerators; all of them unless offloaded
    cpu_experts: int  # layers whose routed experts stay in RAM
    footprint: Footprint
    spare_bytes: int  # on the fullest card; below 0 it does not fit
    host_spare_bytes: int  # in RAM beside it
    moved_share: float = -1.0  # of the bytes a token reads, in RAM by overrides; -1 = by the above
    stages: int = 1  # of a pipeline over its cards; the others split every layer
    build: str = ""  # of the engine
    log: tuple[tuple[str, float], ...] = ()  # figures the engine's own log prints of such a start

    @property
    def fits(self) -> bool:
        return self.spare_bytes >= 0 and self.host_spare_bytes >= 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One device's part in a set. Bytes are over the cards it gives, together."""

    device_id: str
    name: str
    cards: int
    layers: int  # the output layer counts as one; cards that split every layer each count all
    need_bytes: int
    free_bytes: int
    terms: tuple[tuple[str, float], ...]  # seconds of all generated tokens, by cause
    first_layer: int = 0  # the first of its layers


# "tight": it fits, within the margin that should stay free.
Fit = Literal["fit", "tight"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One device that can do it, or a set. Rates are of the whole batch; a p90 is the promise.

    A set's id and name are its members', joined; a single device has no `members`.
    """

    device_id: str
    name: str
    provider: str
    layout: Layout
    fit: Fit
    free_bytes: int
    tokens_per_s: Band
    prefill_tokens_per_s: Band
    ttft_ms: Band
    load_ms: Band  # from the command to an engine with the weights
    load_basis: str
    answer_ms: Band  # from there to the last token: what placements are ranked by
    duration_ms: Band  # both: what deadlines and bills count
    wait_ms: int  # until the device is free
    cost_nusd: Band  # of `duration_ms`: what it will be billed at
    answer_cost_nusd: Band  # of `answer_ms`: what placements are ranked by
    cost_lacks: tuple[RatePart, ...]  # parts nobody stated: with any, the cost is a lower bound
    quality: float  # mathcore.quant.quality
    basis: str
    terms: tuple[tuple[str, float], ...]  # seconds by cause, for --explain
    run: Run  # what the speed model was asked, so that a measurement can correct it
    work: Work
    score: float  # the objective's number; smaller is better
    pareto: bool  # nothing else is at once cheaper, faster and better
    members: tuple[Member, ...] = ()
    quality_band: Band | None = None  # by what was published of models like this one
    quality_usual: bool = True  # False: a type taken only where nothing better fits

    @property
    def engine(self) -> str:
        return self.layout.engine

    @property
    def quant(self) -> str:
        return self.layout.quant

    @property
    def footprint(self) -> Footprint:
        return self.layout.footprint


WayKind = Literal["device", "engine", "quant", "offload", "context", "batch"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """One change to a question nothing answers that makes something answer it; it was planned."""

    kind: WayKind
    text: str  # one sentence, with the bytes
    options: tuple[str, ...]  # of the command line, to be added: ("--quant", "IQ4_XS")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer: placements best first, refusals by device; where nothing fits, what would do."""

    query: Query
    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...]
    more: int = 0  # placements found and not given
    not_asked: int = 0  # devices `query.on` left out
    ways_out: tuple[WayOut, ...] = ()
    notes: tuple[str, ...] = ()  # what was assumed, and what the figures leave out
