"""vLLM over a set: every layer split over like cards of a host, stretches of layers over the rest.

One number of ranks (tensor parallel) holds for all stages (pipeline parallel). Layers are shared
out evenly as vLLM does (get_pp_indices), or by memory where that does not fit
(VLLM_PP_LAYER_PARTITION); the smallest rank decides how much cache there is.
"""

from typing import final

from mathcore.chip import class_of_facts
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.footprint import CPU_OVERHEAD_BYTES, Footprint
from mathcore.hardware import lookup_gpu
from mathcore.layouts import RANKS_MOST, card_kind, vllm_shape
from mathcore.limits import margin_bytes
from mathcore.model import CardError
from mathcore.set_layouts import Part, SetLayout, Stage, set_layout
from mathcore.sets import host_of
from mathcore.vllm import VllmShape, ceil_div, pages
from mathcore.vllm_memory import (
    NCCL_BYTES,
    UTILISATION_PERMILLE,
    activation_bytes,
    graph_bytes,
    non_torch_bytes,
)
from mathcore.weights import Weights

# Whose library passes tensors between cards: NCCL and RCCL do not talk to each other.
_MAKERS: dict[str, str] = {
    "gddr": "nvidia", "hbm": "nvidia", "unified": "nvidia", "radeon": "amd", "instinct": "amd",
}  # fmt: skip


def maker_of(device: DeviceSpec) -> str:
    """Whose kernels a card runs; an unknown one counts as Nvidia's, as its speed does."""
    fact = lookup_gpu(device.model)
    return "nvidia" if fact is None else _MAKERS.get(class_of_facts(fact), "other")


@final
class Rank:
    """One card and what vLLM may take of it."""

    __slots__ = ("device", "room")

    def __init__(self, device: DeviceSpec) -> None:
        self.device = device
        self.room = min(device.free_bytes, device.memory_bytes * UTILISATION_PERMILLE // 1000)


def _blocks(cards: list[DeviceSpec]) -> list[list[Rank]]:
    """Like cards of a host together, in the order given."""
    out: list[list[Rank]] = []
    keys: list[tuple[str, str]] = []
    for device in cards:
        key = (host_of(device), device.model)
        if key not in keys:
            keys.append(key)
            out.append([])
        out[keys.index(key)].append(Rank(device))
    return out


def even_layers(layers: int, stages: int) -> list[int]:
    """vLLM's own shares: what is left over goes to the stages before the last, from the back."""
    out = [layers // stages] * stages
    for i in range(2, layers % stages + 2):
        out[stages - i] += 1
    return out


def layers_by_memory(layers: int, rooms: list[int]) -> list[int]:
    """Shares in proportion to the stages' room."""
    total, before, last = 0, 0, 0
    for room in rooms:
        total += room
    out: list[int] = []
    for room in rooms:
        before += room
        upto = before * layers // max(1, total)
        out.append(upto - last)
        last = upto
    return out


@final
class Spread:
    """A model on stages of `ranks` cards each."""

    __slots__ = ("cache_bytes", "query", "shape", "stages", "weights")

    def __init__(
        self, query: Query, weights: Weights, shape: VllmShape, stages: list[list[Rank]]
    ) -> None:
        self.query = query
        self.weights = weights
        self.shape = shape
        self.stages = stages
        self.cache_bytes = pages(query.model, shape).request_bytes * shape.sequences

    def weight_bytes(self, low: int, high: int) -> int:
        """Of layers low to high; the input table goes with the first, the output with the last."""
        size = 0
        for i in range(low, high):
            size += self.weights.layer_bytes[i]
        inside = 0
        if low == 0:
            size += self.weights.embedding_bytes
        if high == len(self.query.model.layers):
            for each in self.weights.layer_bytes:
                inside += each
            size += self.weights.total_bytes - inside - self.weights.embedding_bytes
            if self.weights.tied and low > 0:
                size += self.weights.output_bytes
        return size

    def rank_bytes(self, i: int, low: int, high: int) -> tuple[int, int, int, int]:
        """(weights, cache, scratch, driver and graphs) of one card of stage i."""
        spec, shape = self.query.model, self.shape
        kind, count = card_kind(self.stages[i][0].device), len(spec.layers)
        beside = non_torch_bytes(shape, kind)
        if shape.tensor_parallel == 1:
            beside += NCCL_BYTES  # stages talk by it, too
        return (
            ceil_div(self.weight_bytes(low, high), shape.tensor_parallel),
            ceil_div(self.cache_bytes * (high - low), count),
            activation_bytes(spec, shape),
            beside + graph_bytes(spec, shape, kind) * (high - low) // count,
        )


def _footprint(sizes: list[tuple[int, int, int, int]], ranks: int) -> Footprint:
    weights, cache, scratch, beside, cards = 0, 0, 0, 0, list[int]()
    for size in sizes:
        weights, cache = weights + size[0] * ranks, cache + size[1] * ranks
        scratch, beside = scratch + size[2] * ranks, beside + size[3] * ranks
        cards += [size[0] + size[1] + size[2] + size[3]] * ranks
    return Footprint(
        weights_bytes=weights, kv_bytes=cache, state_bytes=0, compute_bytes=scratch,
        overhead_bytes=beside, host_bytes=CPU_OVERHEAD_BYTES, card_bytes=max(cards),
        cards=tuple(cards),
    )  # fmt: skip


def _lay(
    spread: Spread, engine: str, quant: str, kv_type: str, deal: list[int]
) -> SetLayout | None:
    """The layout of such a deal; None where a rank has no room."""
    ranks, low = spread.shape.tensor_parallel, 0
    sizes: list[tuple[int, int, int, int]] = []
    stages: list[Stage] = []
    for i, layers in enumerate(deal):
        sizes.append(spread.rank_bytes(i, low, low + layers))
        stages.append(Stage(spread.stages[i][0].device, ranks, low, low + layers))
        low += layers
    stages[len(stages) - 1].high += 1
    need = _footprint(sizes, ranks)
    parts: list[Part] = []
    spare, roomy = spread.stages[0][0].room, True
    for i, stage in enumerate(spread.stages):
        for j, rank in enumerate(stage):
            size = need.cards[i * ranks + j]
            spare = min(spare, rank.room - size)
            roomy = roomy and rank.room - size >= margin_bytes(rank.device.free_bytes)
            _count(parts, stages[i], rank.device, size, j == 0)
    if spare < 0:
        return None
    cards = [rank.device for stage in spread.stages for rank in stage]
    made = set_layout(engine, quant, kv_type, cards, need, spare)
    return SetLayout(made, stages, parts, roomy)


def _count(parts: list[Part], stage: Stage, device: DeviceSpec, size: int, first: bool) -> None:
    """One more card to its member's part; layers count once where cards share them."""
    found: Part | None = None
    for part in parts:
        if part.device is device:
            found = part
    if found is None:
        found = Part(device)
        parts.append(found)
    found.cards, found.need_bytes = found.cards + 1, found.need_bytes + size
    if device not in stage.devices:
        stage.devices.append(device)
        first = True
    if first:
        found.layers += stage.high - stage.low


def vllm_layouts(
    query: Query, engine: str, quant: str, kv_type: str, weights: Weights, cards: list[DeviceSpec]
) -> list[SetLayout]:
    """Every number of ranks the like cards of each host divide into.

    `cards` are ordered, the fastest first. The first stage has the input table, the last the output
    layer, so both directions are tried.
    """
    out: list[SetLayout] = []
    if len({maker_of(device) for device in cards}) > 1:
        return out
    for stages in _stages(query, engine, _blocks(cards)):
        found = _on(query, engine, quant, kv_type, weights, stages)
        if found is not None:
            out.append(found)
        back = None
        if len(stages) > 1:
            back = _on(query, engine, quant, kv_type, weights, stages[::-1])
        if back is not None:
            back.parts.reverse()
            out.append(back)
    return out


def _stages(query: Query, engine: str, blocks: list[list[Rank]]) -> list[list[list[Rank]]]:
    """The cards as stages of 1, 2, 4 … ranks; TGI knows no pipeline."""
    out: list[list[list[Rank]]] = []
    ranks = 1
    while ranks <= RANKS_MOST:
        if query.model.heads % ranks == 0 and not any(len(b) % ranks for b in blocks):
            stages = [b[i : i + ranks] for b in blocks for i in range(0, len(b), ranks)]
            if engine != "tgi" or len(stages) == 1:
                out.append(stages)
        ranks *= 2
    return out


def _on(
    query: Query, engine: str, quant: str, kv_type: str, weights: Weights,
    stages: list[list[Rank]],
) -> SetLayout | None:  # fmt: skip
    layers = len(query.model.layers)
    if layers < len(stages):
        return None
    try:
        spread = Spread(query, weights, vllm_shape(query, kv_type, len(stages[0])), stages)
    except CardError:
        return None
    rooms = [min([rank.room for rank in stage]) for stage in stages]
    for deal in (even_layers(layers, len(stages)), layers_by_memory(layers, rooms)):
        found = _lay(spread, engine, quant, kv_type, deal) if min(deal) > 0 else None
        if found is not None:
            return found
    return None
