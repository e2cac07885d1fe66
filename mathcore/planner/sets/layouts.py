"""How a model lies on a set of devices: stages of layers one after the other, each on like cards.

llama.cpp deals whole layers to cards: --tensor-split, over hosts by RPC. Ollama does so inside one
host. What vLLM and TGI do is in `set_vllm`. MLX over several machines is not planned.
"""

from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.footprint import Footprint
from mathcore.engines.llamacpp.device.backends import BackendName
from mathcore.engines.llamacpp.layer_sums import LayerSums
from mathcore.engines.llamacpp.offload import ALL_LAYERS, Placing
from mathcore.planner.answer import Layout
from mathcore.planner.layouts import backend_of
from mathcore.planner.limits import kept_bytes

# GGML_SCHED_MAX_BACKENDS is 16, the CPU is one of them.
MAX_CARDS = 15


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
    """What one member of a set gives: cards, layers on them from `low` on, and bytes over those
    cards."""

    __slots__ = ("cards", "device", "layers", "low", "need_bytes")

    def __init__(self, device: DeviceSpec, low: int) -> None:
        self.device = device
        self.low = low
        self.cards = 0
        self.layers = 0
        self.need_bytes = 0


@final
class SetLayout:
    """A layout over a set: its stages in order, and whether every card keeps its margin."""

    __slots__ = ("layout", "parts", "roomy", "stages")

    def __init__(
        self, layout: Layout, stages: list[Stage], parts: list[Part], *, roomy: bool
    ) -> None:
        self.layout = layout
        self.stages = stages
        self.parts = parts
        self.roomy = roomy


@final
class Card:
    """A card of a device to be filled: what it may hold, and its seconds per layer."""

    __slots__ = ("backend", "cost", "device", "free", "kept")

    def __init__(self, device: DeviceSpec, cost: float) -> None:
        self.device = device
        self.cost = cost
        self.backend = backend_of(device)
        self.free = device.free_bytes
        self.kept = device.free_bytes - kept_bytes(device)  # within its margin


@final
class Line:
    """Cards in the order they are filled."""

    __slots__ = ("backends", "cards", "costs", "free", "kept")

    def __init__(self, cards: list[Card]) -> None:
        self.cards = [card.device for card in cards]
        self.costs = [card.cost for card in cards]
        self.backends = [card.backend for card in cards]
        self.free = [card.free for card in cards]
        self.kept = [card.kept for card in cards]


def _filled(column: LayerSums, backends: list[BackendName], rooms: list[int]) -> list[int]:
    """Layers of each card when the first take all they hold; empty when it does not fit.

    From the last layer down: the first card has the output layer, whose logits the program reads.
    """
    high, out = column.sums.layers + 1, [0] * len(rooms)
    for i, room in enumerate(rooms):
        low = column.first_that_fits(high, room - column.beside(backends[i]))
        out[i] = high - low
        high = low
        if high == 0:
            return out
    return []


def layers_by_memory(layers: int, rooms: list[int]) -> list[int]:
    """Shares in proportion to the bytes there is room for, as llama.cpp deals by itself."""
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


def _balanced(column: LayerSums, line: Line) -> list[int]:
    """Layers of each card so that all take the same time, as far as their memory goes.

    A card whose memory holds fewer layers gives the rest to the others; a layer is taken as the
    mean of all.
    """
    count, costs = column.sums.layers + 1, line.costs
    mean = max(1, column.upto[count] // count)
    room = [
        max(0, kept - column.beside(line.backends[i])) // mean for i, kept in enumerate(line.kept)
    ]
    out, open_cards, left = [0] * len(room), list(range(len(room))), count
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


def filled(column: LayerSums, line: Line) -> list[int]:
    """The first cards full, within their margins where that is enough; empty when it is not."""
    backends = line.backends
    return _filled(column, backends, line.kept) or _filled(column, backends, line.free)


def is_needless(line: Line, fill: list[int]) -> bool:
    """Whether the last device gets nothing of such a fill."""
    used = len(fill)
    while used > 1 and fill[used - 1] == 0:
        if line.cards[used - 1] is not line.cards[used - 2]:
            return True
        used -= 1  # a further card of the last device
    return False


def deals(column: LayerSums, line: Line, fill: list[int], *, overlaps: bool) -> list[list[int]]:
    """Layers by card, each way worth timing; none where a device is not needed.

    A token passes all cards, so it is soonest done when the fastest hold what they can. Only
    prompts that overlap in passes gain from cards that take equal times.
    """
    if not fill or is_needless(line, fill):
        return []
    used = len(fill)
    while fill[used - 1] == 0:
        used -= 1
    fill = fill[:used]
    if min(fill) == 0:
        return []
    out = [fill]
    if overlaps:
        for deal in (
            layers_by_memory(column.sums.layers + 1, line.free),
            _balanced(column, line),
        ):
            if deal and min(deal) > 0 and deal not in out:
                out.append(deal)
    return out


def dealt_layout(engine: str, column: LayerSums, line: Line, deal: list[int]) -> SetLayout | None:
    """llama.cpp's layout of such a deal; None where a card has no room.

    The first card comes last: llama.cpp puts its RPC servers before its own cards.
    """
    used, cards = len(deal), line.cards
    split = tuple([deal[used - 1 - i] for i in range(used)])
    need = column.placed(Placing(split=split), line.backends[:used][::-1])
    stages: list[Stage] = []
    parts: list[Part] = []
    spare, roomy, low = cards[0].free_bytes, True, 0
    for i in range(used):
        at = used - 1 - i
        device, layers = cards[at], deal[at]
        spare, roomy = (
            min(spare, line.free[at] - need.cards[i]),
            roomy and need.cards[i] <= line.kept[at],
        )
        if not parts or parts[len(parts) - 1].device is not device:
            parts.append(Part(device, low))
            stages.append(Stage(device, 0, low, low))
        part, stage = parts[len(parts) - 1], stages[len(stages) - 1]
        part.cards, part.layers = part.cards + 1, part.layers + layers
        part.need_bytes += need.cards[i]
        low += layers
        stage.cards, stage.high = stage.cards + 1, low
    if spare < 0:
        return None
    parts.reverse()
    made = set_layout(engine, column.quant, column.kv_type, cards[:used], need, spare)
    return SetLayout(made, stages, parts, roomy=roomy)


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
        engine=engine,
        quant=quant,
        kv_type=kv_type,
        cards=len(cards),
        gpu_layers=ALL_LAYERS,
        cpu_experts=0,
        footprint=need,
        spare_bytes=spare,
        host_spare_bytes=ram - need.host_bytes if ram > 0 else 0,
    )
