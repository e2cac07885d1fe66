"""What a device can do with a model at most: every inverse question of `capacity`, answered once.

Whether something fits is the planner's own layout, one card if it can be, else as many as there
are; within what is free there for sure. Where flags of llama.cpp say where layers and experts lie,
it is that very layout, and what it leaves to the host must fit there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.footprint import MAX_CONTEXT, MAX_SEQUENCES
from mathcore.engines.llamacpp.cache import CELL_PAD
from mathcore.engines.llamacpp.device.backends import backend_bytes
from mathcore.engines.llamacpp.fit import Split, cpu_experts, gpu_layers
from mathcore.engines.mlx import KV_BITS
from mathcore.engines.ollama import OllamaStart, ollama_start, slots
from mathcore.engines.options import build_of
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.answer import Layout
from mathcore.planner.layouts import DeviceFit, backend_of
from mathcore.planner.query import NO_LIMITS, Query
from mathcore.planner.refusals import NO_CONTEXT, NO_QUANT, query_refusal
from mathcore.planner.search import Search
from mathcore.quant.families import FAMILIES
from mathcore.quant.ladder import ladder, nats_of
from mathcore.quant.weights import Weights, quant_fault, weigh

LLAMACPP, MLX = "llama.cpp", "mlx"
OLLAMA = "ollama"  # llama.cpp's memory, with slots and a batch of its own choice
ENGINES: tuple[str, ...] = (LLAMACPP, MLX, OLLAMA)
SIXTEEN_BITS = "f16"  # the cache of a question that names none


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The most of each kind; 0 or "" where nothing fits, -1 where RAM does not help either.

    All but `best_quant` are at `quant`; `context` is per sequence at the batch asked about,
    `sequences` at the context asked about. Layers count the output as one, as llama.cpp does, and
    are those the flags name where they name any.
    """

    device: DeviceSpec
    engine: str
    build: str
    quant: str
    best_quant: str
    context: int
    sequences: int
    gpu_layers: int  # of `layers`; all of them when it fits
    layers: int
    cpu_experts: int  # layers whose experts must stay in RAM; 0 when it fits
    quality: float  # at `quant`: 1 = as published
    told: bool = False  # by flags: its layers and experts hold together, not one or the other
    chosen: OllamaStart | None = None  # what Ollama starts with where nobody says otherwise


@final
class Model:
    """A question about a model, on a device with an engine."""

    __slots__ = ("device", "engine", "query", "roomy", "weighed")

    def __init__(self, query: Query, device: DeviceSpec, engine: str) -> None:
        kv_type = query.kv_type or SIXTEEN_BITS
        self.query = replace(query, engine=engine, kv_type=kv_type, limits=NO_LIMITS)
        self.device = device
        self.engine = engine
        # Wholly on the device, unless flags say what lies beside it.
        ram = device.ram_free_bytes if query.flags.places else 0
        self.roomy = replace(device, free_bytes=device.sure_bytes, ram_free_bytes=ram)
        self.weighed: dict[str, Weights] = {}

    @property
    def spec(self) -> ModelSpec:
        """The model."""
        return self.query.model

    def weights(self, quant: str) -> Weights:
        """Its bytes at a quantisation, weighed once."""
        if quant not in self.weighed:
            self.weighed[quant] = weigh(self.spec, quant)
        return self.weighed[quant]

    def layouts(self, quant: str, batch: int, context: int) -> list[Layout]:
        """How the planner would lay it out at this size."""
        query, weights = self.query.resized(batch, context), self.weights(quant)
        kv_type, column = query.kv_type or SIXTEEN_BITS, None
        if FAMILIES[self.engine] == "gguf":
            search = Search(query, {})
            micro = search.micro_batch(self.engine, self.device, weights)
            column = search.column(quant, kv_type, weights, micro)
        fit = DeviceFit(query, self.roomy, self.engine, quant, kv_type, weights, column)
        return fit.layouts()

    def fits(self, quant: str, batch: int, context: int) -> bool:
        """Whether so many sequences of such a context fit within what is free for sure."""
        return any(layout.fits for layout in self.layouts(quant, batch, context))

    def best(self) -> str:
        """The best type that fits the question; a file has only its own."""
        tried = (self.spec.quant,) if self.spec.quant else ladder(self.spec, self.engine)
        for quant in tried:
            known = bool(self.spec.quant) or not quant_fault(self.spec, quant)
            if known and self.fits(quant, self.query.batch, self.query.context):
                return quant
        return ""


def most(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, 0 when not even 1 does."""
    low, high = 0, 1
    while high <= limit and fits(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def largest_context(model: Model, quant: str) -> int:
    """Tokens per sequence, in steps of 256 cells, at most what the question lets a context have."""
    trained = model.query.longest or MAX_CONTEXT

    def fits(steps: int) -> bool:
        return model.fits(quant, model.query.batch, min(trained, steps * CELL_PAD))

    return min(trained, CELL_PAD * most(fits, (trained + CELL_PAD - 1) // CELL_PAD))


def largest_sequences(model: Model, quant: str) -> int:
    """Sequences of the context asked about; Ollama serves some models one at a time."""

    def fits(sequences: int) -> bool:
        return model.fits(quant, sequences, model.query.context)

    found = most(fits, MAX_SEQUENCES)
    serves = found and model.engine == OLLAMA
    return min(found, slots(model.spec.architecture, found)) if serves else found


def capacity(query: Query, device: DeviceSpec) -> Capacity:
    """Every answer for one device, at the query's type or the best that fits, under its engine or
    else llama.cpp, MLX or Ollama, whichever it runs first; lengths and limits count for nothing.

    SpecError names what is wrong: "engine", "quant", "kv_type" or "context".
    """
    model = Model(query, device, engine_on(query, device))
    check(model.query)
    best = model.best()
    spec, engine = query.model, model.engine
    chosen = query.quant or best or spec.quant or ladder(spec, engine)[-1]
    on_gpu, off_experts = _beside(model, chosen)
    return Capacity(
        device=device,
        engine=engine,
        build=build_of(engine, query.options),
        quant=chosen,
        best_quant=best,
        context=largest_context(model, chosen),
        sequences=largest_sequences(model, chosen),
        gpu_layers=on_gpu,
        layers=len(spec.layers) + 1,
        cpu_experts=off_experts,
        quality=math.exp(-nats_of(spec, chosen)),
        told=_is_told(model),
        chosen=_chosen(model, chosen) if engine == OLLAMA else None,
    )


def engine_on(query: Query, device: DeviceSpec) -> str:
    """The engine asked about, else the first of ours the device runs; SpecError without one."""
    if query.engine and query.engine not in device.engines:
        raise SpecError("engine", f"{device.name} does not run {query.engine}")
    engine = query.engine or next((name for name in ENGINES if name in device.engines), "")
    if not engine:
        raise SpecError("engine", f"{device.name} runs neither llama.cpp nor MLX")
    if engine == MLX and (query.kv_type or SIXTEEN_BITS) not in KV_BITS:
        raise SpecError("kv_type", f"{device.name} runs MLX, which has no cache of {query.kv_type}")
    return engine


def check(query: Query) -> None:
    """SpecError, by the field that is wrong, for what no device at all could do."""
    no = query_refusal(replace(query, prompt_tokens=0, tokens=1))
    if no is not None:
        field = {NO_CONTEXT: "context", NO_QUANT: "quant"}.get(no[0], "kv_type")
        raise SpecError(field, no[1])


def _chosen(model: Model, quant: str) -> OllamaStart:
    """Ollama's own start on all cards of the device."""
    device = model.device
    total, free = device.memory_bytes * device.count, device.free_bytes * device.count
    return ollama_start(model.spec, model.weights(quant).total_bytes, total, free)


def _beside(model: Model, quant: str) -> tuple[int, int]:
    """(layers on the cards, layers whose experts are in RAM), -1 for what does not work."""
    query, layers = model.query, len(model.spec.layers) + 1
    if _is_told(model):
        (laid,) = model.layouts(quant, query.batch, query.context)
        on_gpu = layers if laid.gpu_layers < 0 else min(laid.gpu_layers, layers)
        return (on_gpu, laid.cpu_experts) if laid.fits else (-1, -1)
    if model.fits(quant, query.batch, query.context):
        return layers, 0
    return _offloaded(model, quant)


def _is_told(model: Model) -> bool:
    """Whether flags say where layers and experts lie: on a card with a host beside it."""
    return model.query.flags.places and model.device.kind == "gpu"


def _offloaded(model: Model, quant: str) -> tuple[int, int]:
    """Where it does not fit: the most layers, or the fewest layers' experts beside all of them."""
    device, weights = model.device, model.weights(quant)
    if FAMILIES[model.engine] != "gguf" or device.kind != "gpu":
        return -1, -1
    if device.ram_free_bytes == 0 or device.free_bytes == 0:
        return -1, -1
    free = (device.free_bytes,) * device.count
    shape = model.query.shape(model.query.kv_type or SIXTEEN_BITS)
    beside = backend_bytes(model.spec, quant, backend_of(device, model.query.flags.backend))
    split = Split(model.spec, weights, shape, free, device.ram_free_bytes, None, beside)
    experts = cpu_experts(split) if max(weights.expert_bytes, default=0) > 0 else -1
    return gpu_layers(split), experts
