"""How a server engine (vLLM, TGI, SGLang) lies on one host's cards, and what its log prints."""

from typing import Protocol, final

from mathcore.device import DeviceSpec
from mathcore.engines.footprint import Footprint
from mathcore.engines.options import EngineOptions
from mathcore.engines.sglang import SglangPool, sglang_footprint, sglang_pool, sglang_start
from mathcore.engines.tgi import tgi_options
from mathcore.engines.vllm.boot import Boot, boot, boot_footprint, longest
from mathcore.engines.vllm.cache import VllmShape, pages
from mathcore.engines.vllm.memory import AMPERE, HOPPER, UTILISATION_PERMILLE, CardKind
from mathcore.engines.vllm.start import rank_fault, shape_of, splits, start_of
from mathcore.hardware.described import usable_bytes
from mathcore.hardware.names import lookup_gpu
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.weights import Weights

# What these engines call the cache types of a question.
CACHE_NAMES: dict[str, str] = {"f16": "auto", "q8_0": "fp8"}
ONE_HOST: tuple[str, ...] = ("tgi", "sglang")  # a pipeline over cards is not planned for these
Figures = tuple[tuple[str, float], ...]


class Served(Protocol):
    """A start on so many cards of a host, whatever the engine."""

    cards: int
    stages: int
    usable_bytes: int  # of a card

    def need(self, batch: int) -> Footprint:
        """What `batch` requests of the full context take."""

    def sequences(self) -> int:
        """Requests of the full context at once; 0 where it would not start."""

    def longest(self, batch: int) -> int:
        """The longest context of so many requests at once."""

    def figures(self) -> Figures:
        """What its log prints."""


def shape_on(
    options: EngineOptions,
    engine: str,
    device: DeviceSpec,
    context: int,
    sequences: int,
    kv_type: str,
    ranks: int,
) -> VllmShape:
    """What vLLM or TGI is started with on cards like this, for so many sequences at once."""
    own = tgi_options(options) if engine == "tgi" else options
    start = start_of(own, card_bytes(device), device.model, ranks)
    return shape_of(start, own, context, sequences, CACHE_NAMES.get(kv_type, kv_type))


def share_permille(options: EngineOptions, engine: str) -> int:
    """The share of a card vLLM or TGI takes."""
    own = tgi_options(options) if engine == "tgi" else options
    return own.memory_permille or UTILISATION_PERMILLE


def card_kind(device: DeviceSpec) -> CardKind:
    """The constants of a card's architecture."""
    fact = lookup_gpu(device.model)
    return HOPPER if fact is not None and fact.arch in ("hopper", "blackwell") else AMPERE


def card_bytes(device: DeviceSpec) -> int:
    """What the driver shows an engine of a card's memory; an idle card may have more free."""
    fact = lookup_gpu(device.model)
    return max(usable_bytes(device.memory_bytes, fact), min(device.free_bytes, device.memory_bytes))


def _usable(device: DeviceSpec, requested: int, *, named: bool) -> int:
    """Bytes of a card a start may take: its share, and no more than is free.

    A share that was named and is not free stops the engine; one nobody named is set to what is.
    """
    missing = requested - device.free_bytes
    return (
        device.free_bytes - missing if named and missing > 0 else min(device.free_bytes, requested)
    )


@final
class VllmServed:
    """vLLM's or TGI's start."""

    def __init__(self, spec: ModelSpec, device: DeviceSpec, found: Boot, *, named: bool) -> None:
        self.spec = spec
        self.boot = found
        self.cards = found.cards
        self.stages = found.start.pipeline_parallel
        self.usable_bytes = _usable(device, found.requested_bytes, named=named)
        self.stopped = named and found.requested_bytes > device.free_bytes

    def need(self, batch: int) -> Footprint:
        """What `batch` requests of the full context take."""
        return boot_footprint(self.boot, batch)

    def sequences(self) -> int:
        """Requests of the full context at once; 0 where it would not start."""
        return 0 if self.stopped else self.boot.sequences

    def longest(self, batch: int) -> int:
        """The longest context of so many requests at once."""
        return 0 if self.stopped else longest(self.spec, self.boot, batch)

    def figures(self) -> Figures:
        """What a boot's log prints, in bytes and tokens."""
        found = self.boot
        first = found.stages[0]
        return (
            ("tensor_parallel", float(found.start.tensor_parallel)),
            ("pipeline_parallel", float(found.start.pipeline_parallel)),
            ("max_num_seqs", float(found.start.max_num_seqs)),
            ("max_num_batched_tokens", float(found.start.batched_tokens)),
            ("requested_bytes", float(found.requested_bytes)),
            ("weights_bytes", float(first.weights_bytes)),
            ("available_kv_cache_bytes", float(found.cache_bytes)),
            ("needed_kv_cache_bytes", float(found.needed_bytes)),
            ("attention_block_tokens", float(first.cut.attention_block)),
            ("gpu_blocks", float(found.blocks)),
            ("kv_cache_tokens", float(found.shown_tokens)),
            ("max_concurrency", round(found.concurrency, 2)),
        )


@final
class SglangServed:
    """SGLang's start."""

    def __init__(
        self, device: DeviceSpec, found: SglangPool, context: int, most: int, *, named: bool
    ) -> None:
        self.pool = found
        self.context = context
        self.most = most  # --max-running-requests; 0 = none named
        self.kind = card_kind(device)
        self.cards = found.start.ranks
        self.stages = 1
        beside = sglang_footprint(found, 0, 1, self.kind)
        states = beside.state_bytes // self.cards
        own = beside.card_bytes - found.weights_bytes - states
        self.usable_bytes = _usable(device, found.static_bytes, named=named) + own

    def need(self, batch: int) -> Footprint:
        """What `batch` requests of the full context take."""
        return sglang_footprint(self.pool, self.context, batch, self.kind)

    def sequences(self) -> int:
        """Requests of the full context at once."""
        room = self.pool.tokens // self.context
        return min(room, self.most) if self.most else room

    def longest(self, batch: int) -> int:
        """The longest context of so many requests at once."""
        return self.pool.tokens // batch

    def figures(self) -> Figures:
        """What its log prints."""
        found = self.pool
        return (
            ("tensor_parallel", float(found.start.ranks)),
            ("mem_fraction_static", found.start.static_permille / 1000),
            ("chunked_prefill_size", float(found.start.chunk_tokens)),
            ("cuda_graph_max_bs", float(found.start.graph_sequences)),
            ("weights_bytes", float(found.weights_bytes)),
            ("pool_bytes", float(found.pool_bytes)),
            ("max_total_num_tokens", float(found.tokens)),
        )


def served(
    spec: ModelSpec,
    weights: Weights,
    device: DeviceSpec,
    engine: str,
    options: EngineOptions,
    context: int,
    kv_type: str,
    split: tuple[int, int],
    extra_bytes: int = 0,
) -> Served | None:
    """The engine over (ranks, stages) cards; None where it cannot keep the model's cache.

    `extra_bytes` are weights beside the language model's, such as a vision tower's.
    """
    total, cache = card_bytes(device), CACHE_NAMES.get(kv_type, kv_type)
    named = options.memory_permille > 0
    try:
        if engine == "sglang":
            begun = sglang_start(options, total, split[0])
            pool = sglang_pool(spec, weights, begun, cache, total, extra_bytes)
            return SglangServed(device, pool, context, options.max_num_seqs, named=named)
        own = tgi_options(options) if engine == "tgi" else options
        start = start_of(own, total, device.model, split[0], split[1])
        kind = card_kind(device)
        found = boot(spec, weights, start, own, context, cache, kind, total, extra_bytes)
    except SpecError:
        return None
    return VllmServed(spec, device, found, named=named)


def start_fault(
    spec: ModelSpec, engine: str, options: EngineOptions, kv_type: str, cards: int
) -> str:
    """Why a server engine cannot start the model on so many cards at all; "" where it can."""
    ranks, stages = options.tensor_parallel or 1, options.pipeline_parallel or 1
    if ranks * stages > cards:
        return f"{engine} is told to use {ranks * stages} cards, and here are {cards}"
    if stages > 1 and engine in ONE_HOST:
        return f"{engine} is planned without a pipeline of stages"
    fault = rank_fault(spec, ranks)
    if fault:
        return f"{engine} cannot split the model over {ranks} cards: {fault}"
    shape = VllmShape(context=1, kv_type=CACHE_NAMES.get(kv_type, kv_type), tensor_parallel=ranks)
    try:
        pages(spec, shape)
    except SpecError as error:
        return f"{engine} cannot keep the model's cache: {error}"
    return ""


def candidates(
    spec: ModelSpec, engine: str, options: EngineOptions, cards: int
) -> list[tuple[int, int]]:
    """(ranks, stages) worth trying, fewest cards first: of each number of cards the widest split.

    TGI and SGLang split layers only. Where sizes are named, they alone.
    """
    out: list[tuple[int, int]] = []
    seen: list[int] = []
    for ranks, stages in splits(spec, options, cards):
        if ranks * stages in seen or (stages > 1 and engine in ONE_HOST):
            continue
        seen.append(ranks * stages)
        out.append((ranks, stages))
    return out
