"""vLLM over a set: every layer split over like cards of a host, stretches of layers over the rest.

One number of ranks (tensor parallel) holds for all stages (pipeline parallel). Layers are shared
out evenly as vLLM does (get_pp_indices), or by memory where that does not fit
(VLLM_PP_LAYER_PARTITION); the smallest rank decides how much cache there is.
"""

from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.vllm.boot import RankBytes, ranks_footprint
from mathcore.engines.vllm.cache import VllmShape, ceil_div, pages
from mathcore.engines.vllm.memory import (
    NCCL_BYTES,
    activation_bytes,
    graph_bytes,
    non_torch_bytes,
)
from mathcore.engines.vllm.start import even_layers, rank_fault
from mathcore.hardware.makers import vendor_of
from mathcore.hardware.names import lookup_gpu
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.planner.limits import kept_bytes
from mathcore.planner.query import Query
from mathcore.planner.served.starts import (
    ONE_HOST,
    card_bytes,
    card_kind,
    shape_on,
    share_permille,
)
from mathcore.planner.sets.layouts import Part, SetLayout, Stage, layers_by_memory, set_layout
from mathcore.planner.sets.members import host_of
from mathcore.quant.weights import Weights


def maker_of(device: DeviceSpec) -> str:
    """Whose library passes tensors between cards: NCCL and RCCL do not talk to each other.

    An unknown card counts as Nvidia's, as its speed does.
    """
    fact = lookup_gpu(device.model)
    return "nvidia" if fact is None else vendor_of(fact.arch)


@final
class Rank:
    """One card and what vLLM may take of it."""

    __slots__ = ("bytes", "device", "kept", "room")

    def __init__(self, device: DeviceSpec, permille: int) -> None:
        self.device = device
        self.bytes = card_bytes(device)
        self.room = min(device.free_bytes, self.bytes * permille // 1000)
        self.kept = kept_bytes(device)


def _blocks(ranks: list[Rank]) -> list[list[Rank]]:
    """Like cards of a host together, in the order given."""
    out: dict[tuple[str, str], list[Rank]] = {}
    for rank in ranks:
        out.setdefault((host_of(rank.device), rank.device.model), []).append(rank)
    return list(out.values())


@final
class Served:
    """A model at one quantisation and cache type under vLLM, on so many ranks: what sets share."""

    __slots__ = ("beside", "cache_bytes", "quant", "compute", "shape", "spec", "upto", "weights")

    def __init__(self, spec: ModelSpec, weights: Weights, shape: VllmShape, quant: str) -> None:
        self.spec = spec
        self.weights = weights
        self.shape = shape
        self.quant = quant
        self.cache_bytes = pages(spec, shape).request_bytes * shape.sequences
        self.compute = activation_bytes(spec, shape)
        self.beside: dict[str, tuple[int, int]] = {}
        self.upto = [0]
        for size in weights.layer_bytes:
            self.upto.append(self.upto[len(self.upto) - 1] + size)

    def beside_on(self, device: DeviceSpec) -> tuple[int, int]:
        """(driver and NCCL, graphs of all layers) of a card like this."""
        found = self.beside.get(device.model)
        if found is None:
            kind, shape = card_kind(device), self.shape
            fixed = non_torch_bytes(shape, kind)
            fixed += NCCL_BYTES if shape.tensor_parallel == 1 else 0  # stages talk by it, too
            found = (fixed, graph_bytes(self.spec, shape, kind))
            self.beside[device.model] = found
        return found

    def weight_bytes(self, low: int, high: int) -> int:
        """Of layers low to high; the input table goes with the first, the output with the last."""
        weights, count = self.weights, len(self.spec.layers)
        size = self.upto[high] - self.upto[low]
        if low == 0:
            size += weights.embedding_bytes
        if high == count:
            size += weights.total_bytes - self.upto[count] - weights.embedding_bytes
            size += weights.output_bytes if weights.tied and low > 0 else 0
        return size

    def rank_bytes(self, device: DeviceSpec, low: int, high: int) -> RankBytes:
        """What one card with these layers holds."""
        count, (fixed, graphs) = len(self.spec.layers), self.beside_on(device)
        return (
            ceil_div(self.weight_bytes(low, high), self.shape.tensor_parallel),
            ceil_div(self.cache_bytes * (high - low), count),
            self.compute,
            fixed + graphs * (high - low) // count,
        )


def _lay(
    served: Served, engine: str, kv_type: str, stages: list[list[Rank]], deal: list[int]
) -> SetLayout | None:
    """The layout of such a deal; None where a rank has no room."""
    ranks, low = served.shape.tensor_parallel, 0
    sizes: list[RankBytes] = []
    made: list[Stage] = []
    spare, roomy = stages[0][0].room, True
    for i, layers in enumerate(deal):
        size = served.rank_bytes(stages[i][0].device, low, low + layers)
        need = size[0] + size[1] + size[2] + size[3]
        for rank in stages[i]:
            spare = min(spare, rank.room - need)
            roomy = roomy and rank.room - need >= rank.kept
        if spare < 0:
            return None
        sizes.append(size)
        made.append(Stage(stages[i][0].device, ranks, low, low + layers))
        low += layers
    made[len(made) - 1].high += 1
    parts: list[Part] = []
    total = ranks_footprint(sizes, ranks)
    for i, stage in enumerate(stages):
        for j, rank in enumerate(stage):
            _count(parts, made[i], rank.device, total.cards[i * ranks + j], first=j == 0)
    cards = [rank.device for stage in stages for rank in stage]
    layout = set_layout(engine, served.quant, kv_type, cards, total, spare)
    return SetLayout(layout, made, parts, roomy=roomy)


def _count(parts: list[Part], stage: Stage, device: DeviceSpec, size: int, *, first: bool) -> None:
    """One more card to its member's part; layers count once where cards share them."""
    found: Part | None = None
    for part in parts:
        if part.device is device:
            found = part
    if found is None:
        found = Part(device, stage.low)
        parts.append(found)
    found.cards, found.need_bytes = found.cards + 1, found.need_bytes + size
    if device not in stage.devices:
        stage.devices.append(device)
        first = True
    if first:
        found.layers += stage.high - stage.low


@final
class Serving:
    """One question's models under vLLM, by quantisation, cache type and ranks."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.known: dict[tuple[str, VllmShape], Served | None] = {}
        self.ranks: dict[tuple[str, str], Rank] = {}

    def model(self, quant: str, shape: VllmShape, weights: Weights) -> Served | None:
        """None where vLLM cannot keep its cache."""
        key = (quant, shape)
        if key not in self.known:
            try:
                self.known[key] = Served(self.query.model, weights, shape, quant)
            except SpecError:
                self.known[key] = None
        return self.known[key]

    def rank(self, device: DeviceSpec, engine: str) -> Rank:
        """A card of the device under an engine."""
        found = self.ranks.get((device.device_id, engine))
        if found is None:
            found = Rank(device, share_permille(self.query.options, engine))
            self.ranks[(device.device_id, engine)] = found
        return found


@final
class ServedCards:
    """A set's cards under an engine, the fastest first: every way to make stages of them."""

    __slots__ = ("engine", "least", "query", "shapes", "stages")

    def __init__(self, serving: Serving, engine: str, cards: list[DeviceSpec]) -> None:
        self.query = serving.query
        self.engine = engine
        ranks = [serving.rank(device, engine) for device in cards]
        self.least = cards[min([(rank.bytes, i) for i, rank in enumerate(ranks)])[1]]
        talk = len({maker_of(device) for device in cards}) == 1
        self.stages = _stages(serving.query, engine, _blocks(ranks)) if talk else []
        self.shapes: dict[tuple[str, int], VllmShape] = {}

    def shape(self, kv_type: str, ranks: int) -> VllmShape:
        """What the engine is started with, by the card with the least memory."""
        found = self.shapes.get((kv_type, ranks))
        if found is None:
            query = self.query
            found = shape_on(
                query.options,
                self.engine,
                self.least,
                query.context,
                query.batch,
                kv_type,
                ranks,
            )
            self.shapes[(kv_type, ranks)] = found
        return found


def vllm_layouts(
    serving: Serving, cards: ServedCards, quant: str, kv_type: str, weights: Weights
) -> list[SetLayout]:
    """Every number of ranks the like cards of each host divide into.

    The first stage has the input table, the last the output layer, so the other direction is tried
    where this one has no room.
    """
    out: list[SetLayout] = []
    for stages in cards.stages:
        served = serving.model(quant, cards.shape(kv_type, len(stages[0])), weights)
        if served is None:
            continue
        found = _on(served, cards.engine, kv_type, stages)
        if found is None and len(stages) > 1:
            found = _on(served, cards.engine, kv_type, stages[::-1])
            if found is not None:
                found.parts.reverse()
        if found is not None:
            out.append(found)
    return out


def _stages(query: Query, engine: str, blocks: list[list[Rank]]) -> list[list[list[Rank]]]:
    """The cards as stages of as many ranks as divide the model and every host's cards.

    TGI and SGLang get no pipeline.
    """
    out: list[list[list[Rank]]] = []
    for ranks in range(1, min([len(block) for block in blocks]) + 1):
        named = query.options.tensor_parallel
        if any([len(b) % ranks for b in blocks]) or rank_fault(query.model, ranks):
            continue
        stages = [b[i : i + ranks] for b in blocks for i in range(0, len(b), ranks)]
        if named in (0, ranks) and (engine not in ONE_HOST or len(stages) == 1):
            out.append(stages)
    return out


def _on(served: Served, engine: str, kv_type: str, stages: list[list[Rank]]) -> SetLayout | None:
    layers, total = len(served.spec.layers), 0
    rooms = [min([rank.room for rank in stage]) for stage in stages]
    for room in rooms:
        total += room * len(stages[0])
    if layers < len(stages) or total < served.weights.total_bytes:
        return None
    for deal in (even_layers(layers, len(stages)), layers_by_memory(layers, rooms)):
        found = _lay(served, engine, kv_type, stages, deal) if min(deal) > 0 else None
        if found is not None:
            return found
    return None
