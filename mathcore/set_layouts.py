"""How a model lies on a set of devices: stages of layers one after the other, each on like cards.

llama.cpp deals whole layers to cards: --tensor-split, over hosts by RPC. Ollama does so inside one
host. What vLLM and TGI do is in `set_vllm`. MLX over several machines is not planned.
"""

from typing import final

from mathcore.answer import Layout
from mathcore.device import DeviceSpec
from mathcore.fleet import Query
from mathcore.footprint import GPU_OVERHEAD_BYTES, ContextShape, Footprint
from mathcore.limits import margin_bytes
from mathcore.llamacpp import compute_bytes
from mathcore.llamacpp_offload import ALL_LAYERS, Placing, Sums, placed_footprint

# GGML_SCHED_MAX_BACKENDS is 16, the CPU is one of them.
CARDS_MOST = 15


@final
class Stage:
    """Layers `low` to `high` of a model on `cards` like cards: of `device`, or of several like it.

    The output layer counts as one more, the last.
    """

    __slots__ = ("cards", "device", "devices", "high", "low")

    def __init__(self, device: DeviceSpec, cards: int, low: int, high: int) -> None:
        self.device = device
        self.devices = [device]
        self.cards = cards
        self.low = low
        self.high = high


@final
class Part:
    """What one member of a set gives: cards, layers on them, and bytes over those cards."""

    __slots__ = ("cards", "device", "layers", "need_bytes")

    def __init__(self, device: DeviceSpec) -> None:
        self.device = device
        self.cards = 0
        self.layers = 0
        self.need_bytes = 0


@final
class SetLayout:
    """A layout over a set: its stages in order, and whether every card keeps its margin."""

    __slots__ = ("layout", "parts", "roomy", "stages")

    def __init__(self, layout: Layout, stages: list[Stage], parts: list[Part], roomy: bool) -> None:
        self.layout = layout
        self.stages = stages
        self.parts = parts
        self.roomy = roomy


@final
class Column:
    """A model's layers at one quantisation and cache type, added up once for every set."""

    __slots__ = ("beside", "kv_type", "quant", "shape", "sums", "upto")

    def __init__(self, sums: Sums, shape: ContextShape, quant: str, kv_type: str) -> None:
        self.sums = sums
        self.shape = shape
        self.quant = quant
        self.kv_type = kv_type
        # What a card holds besides its layers.
        self.beside = compute_bytes(sums.spec, shape) + GPU_OVERHEAD_BYTES
        self.upto = [sums.weights_sum[i] + sums.caches[i] for i in range(sums.layers + 1)]
        self.upto.append(self.upto[sums.layers] + sums.outside(True))

    def first_that_fits(self, high: int, room: int) -> int:
        """The lowest layer from which a card with `room` bytes holds all up to `high`."""
        least = self.upto[high] - room
        low, top = 0, high
        while low < top:
            middle = (low + top) // 2
            if self.upto[middle] >= least:
                top = middle
            else:
                low = middle + 1
        return low


def _filled(column: Column, cards: list[DeviceSpec], margin: bool) -> list[int]:
    """Layers of each card when the fastest take all they hold; empty when it does not fit.

    From the last layer down: the fastest card has the output layer, whose logits the program reads.
    """
    high, out = column.sums.layers + 1, [0] * len(cards)
    for i, device in enumerate(cards):
        free = device.free_bytes - (margin_bytes(device.free_bytes) if margin else 0)
        low = column.first_that_fits(high, free - column.beside)
        out[i], high = high - low, low
    return out if high == 0 else []


def _dealt(column: Column, cards: list[DeviceSpec]) -> list[int]:
    """Layers of each card in proportion to its free bytes, as llama.cpp deals them by itself."""
    total, before, last = 0, 0, 0
    for device in cards:
        total += device.free_bytes
    out: list[int] = []
    for device in cards:
        before += device.free_bytes
        upto = before * (column.sums.layers + 1) // total
        out.append(upto - last)
        last = upto
    return out


def _balanced(column: Column, cards: list[DeviceSpec], costs: list[float]) -> list[int]:
    """Layers of each card so that all take the same time, as far as their memory goes.

    `costs` are the cards' seconds per layer. A card whose memory holds fewer layers gives the rest
    to the others; a layer is taken as the mean of all.
    """
    count = column.sums.layers + 1
    mean = max(1, column.upto[count] // count)
    room = [
        max(0, d.free_bytes - margin_bytes(d.free_bytes) - column.beside) // mean for d in cards
    ]
    out, open_cards, left = [0] * len(cards), list(range(len(cards))), count
    while open_cards:
        pace = 0.0
        for i in open_cards:
            pace += 1.0 / costs[i]
        full = [i for i in open_cards if left / costs[i] / pace > room[i]]
        if not full:
            break
        for i in full:
            out[i] = room[i]
            left -= room[i]
            open_cards.remove(i)
    done, dealt, share = 0, 0.0, 0.0
    for i in open_cards:
        share += 1.0 / costs[i]
    for i in open_cards:
        dealt += left / costs[i] / share
        out[i] = int(dealt + 0.5) - done
        done += out[i]
    return out if open_cards else []


def deals(
    column: Column, cards: list[DeviceSpec], costs: list[float], overlaps: bool
) -> list[list[int]]:
    """Layers by card, each way worth timing; none where the slowest device is not needed.

    `cards` are ordered, the fastest first. A token passes them all, so it is soonest done when the
    fastest hold what they can. Only prompts that overlap in passes gain from cards that take equal
    times.
    """
    fill = _filled(column, cards, True) or _filled(column, cards, False)
    while len(fill) > 1 and fill[len(fill) - 1] == 0:
        if cards[len(fill) - 1] is not cards[len(fill) - 2]:
            return []
        fill.pop()  # a further card of the slowest device
    if not fill or min(fill) == 0:
        return []
    out = [fill]
    if overlaps:
        for deal in (_dealt(column, cards), _balanced(column, cards, costs)):
            if deal and min(deal) > 0 and deal not in out:
                out.append(deal)
    return out


def dealt_layout(
    query: Query, engine: str, column: Column, cards: list[DeviceSpec], deal: list[int]
) -> SetLayout | None:
    """llama.cpp's layout of such a deal; None where a card has no room.

    The fastest card comes last: llama.cpp puts its RPC servers before its own cards.
    """
    used, sums = len(deal), column.sums
    split = tuple([deal[used - 1 - i] for i in range(used)])
    need = placed_footprint(
        query.model, sums.weights, column.shape, Placing(split=split), sums
    )  # fmt: skip
    stages: list[Stage] = []
    parts: list[Part] = []
    spare, roomy, low = cards[0].free_bytes, True, 0
    for i in range(used):
        device = cards[used - 1 - i]
        left = device.free_bytes - need.cards[i]
        spare, roomy = min(spare, left), roomy and left >= margin_bytes(device.free_bytes)
        if not parts or parts[len(parts) - 1].device is not device:
            parts.append(Part(device))
            stages.append(Stage(device, 0, low, low))
        part, stage = parts[len(parts) - 1], stages[len(stages) - 1]
        part.cards, part.layers = part.cards + 1, part.layers + split[i]
        part.need_bytes += need.cards[i]
        low += split[i]
        stage.cards, stage.high = stage.cards + 1, low
    if spare < 0:
        return None
    parts.reverse()
    made = set_layout(engine, column.quant, column.kv_type, cards[:used], need, spare)
    return SetLayout(made, stages, parts, roomy)


def set_layout(
    engine: str, quant: str, kv_type: str, cards: list[DeviceSpec], need: Footprint, spare: int
) -> Layout:
    """The layout over these cards; the roomiest host leads and holds what lies in RAM."""
    ram = 0
    for device in cards:
        if device.ram_free_bytes == 0:  # unknown
            ram = 0
            break
        ram = max(ram, device.ram_free_bytes)
    return Layout(
        engine=engine, quant=quant, kv_type=kv_type, cards=len(cards),
        gpu_layers=ALL_LAYERS, cpu_experts=0, footprint=need, spare_bytes=spare,
        host_spare_bytes=ram - need.host_bytes if ram > 0 else 0,
    )  # fmt: skip
