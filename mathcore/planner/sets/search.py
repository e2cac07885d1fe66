"""What sets of devices can do that no member can: laid out, timed, the useless dropped."""

import math
from typing import final

from mathcore.device import DeviceSpec
from mathcore.engines.llamacpp.layer_sums import LayerSums
from mathcore.planner.layouts import backend_of
from mathcore.planner.query import NO_LIMITS
from mathcore.planner.refusals import NO_ENGINE, NO_MEMORY, Refusal, refuse
from mathcore.planner.search import Option, Search, beats, cache_nats, told_nats
from mathcore.planner.served.starts import ONE_HOST
from mathcore.planner.sets.layouts import (
    MAX_CARDS,
    Card,
    Line,
    SetLayout,
    deals,
    dealt_layout,
    filled,
    is_needless,
)
from mathcore.planner.sets.members import DeviceSet, as_device, host_of, sets_of
from mathcore.planner.sets.timing import SetClock, lanes_of
from mathcore.planner.sets.vllm import ServedCards, Serving, vllm_layouts
from mathcore.quant.families import ENGINES, FAMILIES
from mathcore.quant.ladder import nats_of
from mathcore.units import show_bytes

# How far a guess from whole models may be off: it leaves out the output layer and hops.
GUESS_OFF = 1.1
NO_MLX = "MLX over several machines is not planned; llama.cpp and vLLM are"


def _shared(combined: DeviceSet, wanted: str | None) -> list[str]:
    """The engines every member has, of those wanted."""
    out: list[str] = []
    for engine in ENGINES:
        if wanted in (None, engine):
            lacking = [member for member in combined.members if engine not in member.engines]
            if not lacking:
                out.append(engine)
    return out


@final
class SetOptions:
    """A set as one device, its members, and its options."""

    __slots__ = ("device", "members", "options")

    def __init__(
        self, device: DeviceSpec, members: list[DeviceSpec], options: list[Option]
    ) -> None:
        self.device = device
        self.members = members
        self.options = options


@final
class SetSearch:
    """One question's work shared by all sets."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.query = search.query
        self.clock = SetClock(search.query, search.seen)
        self.serving = Serving(search.query)
        self.overlaps = lanes_of(search.query, servers=False) > 1.0
        self.cards: dict[tuple[str, str], Card] = {}
        self.totals: dict[tuple[str, str, str], float] = {}
        self.free = search.query.limits == NO_LIMITS
        self.alone: dict[str, list[Option]] = {}  # of each member by itself

    def refusal(self, devices: list[DeviceSpec]) -> Refusal | None:
        """Why not even the best set does, where there is one: what is missing is the least."""
        best: Refusal | None = None
        for combined in sets_of(devices, self.query.groups):
            found = self._refusal(combined)
            if found is not None and (best is None or found.missing_bytes < best.missing_bytes):
                best = found
        return best

    def _refusal(self, combined: DeviceSet) -> Refusal | None:
        shared = _shared(combined, self.query.engine)
        whole = as_device(combined)
        if shared == ["mlx"]:
            return refuse(whole, NO_ENGINE, NO_MLX)
        local = [engine for engine in shared if FAMILIES[engine] == "gguf"]
        quants = self.search.quants(local[0]) if local else []
        weights = self.search.weights(quants[len(quants) - 1]) if quants else None
        if weights is None or (len(combined.hosts) > 1 and "llama.cpp" not in local):
            return None
        quant = quants[len(quants) - 1]
        kv_types = self.search.caches(local[0])
        column = self.search.column(quant, kv_types[len(kv_types) - 1], weights)
        cards = [member for member in combined.members for _ in range(member.count)]
        need = _least_bytes(column, cards)
        missing = need - combined.free_bytes
        text = f"{quant} needs {show_bytes(need)} over {whole.count} cards, "
        text += f"{show_bytes(combined.free_bytes)} free"
        if missing > 0:
            return refuse(whole, NO_MEMORY, f"{text}: {show_bytes(missing)} missing", missing)
        return refuse(whole, NO_MEMORY, f"{text}, but not in shares of whole layers", 1)

    def options(self, devices: list[DeviceSpec]) -> list[SetOptions]:
        """Every set that does something none of its members does, in a fixed order."""
        out: list[SetOptions] = []
        for combined in sets_of(devices, self.query.groups):
            layouts = self._layouts(combined)
            if not layouts:
                continue
            whole = as_device(combined)
            kept: list[Option] = []
            for found in layouts:
                option = self._useful(combined, whole, found)
                if option is not None:
                    kept.append(option)
            if kept:
                out.append(SetOptions(whole, combined.members, kept))
        return out

    def _useful(self, combined: DeviceSet, whole: DeviceSpec, found: SetLayout) -> Option | None:
        """The layout timed; None where a member by itself is at least as good in everything."""
        quant = found.layout.quant
        weights = self.search.weights(quant)
        assert weights is not None
        work, most_s = self.search.work(quant, weights), math.inf
        if self.free:  # nothing counts but time and what can be told of quality
            nats = self._told(quant, found.layout.kv_type)
            most_s = self._soonest(combined, nats) / 1000.0
        known = self.clock.time(whole, found, weights, work, most_s)
        if known is None:
            return None
        timed, speeds = known
        option = Option(self.query.model, found.layout, timed)
        # More can be slow in a set, so it must gain by more than its error.
        option.judged_ms = option.answer_ms.p90
        for member in combined.members:
            for other in self._options_alone(member):
                if self._beaten(other, option):
                    return None
        option.members, option.roomy = self.clock.members(found, speeds), found.roomy
        return option

    def _beaten(self, other: Option, option: Option) -> bool:
        """Without limits nothing counts but time and what can be told of quality; a member alone
        costs less."""
        if self.free:
            return other.judged_ms <= option.judged_ms and other.told_nats <= option.told_nats
        return beats(other, option)

    def _options_alone(self, member: DeviceSpec) -> list[Option]:
        found = self.alone.get(member.device_id)
        if found is None:
            found = self.search.answers(member).options
            self.alone[member.device_id] = found
        return found

    def _layouts(self, combined: DeviceSet) -> list[SetLayout]:
        out: list[SetLayout] = []
        for engine in _shared(combined, self.query.engine):
            one_host, family = len(combined.hosts) == 1, FAMILIES[engine]
            if family == "mlx" or (not one_host and (engine == "ollama" or engine in ONE_HOST)):
                continue
            lines: list[Line] = []
            served: ServedCards | None = None
            for quant in self.search.quants(engine):
                weights = self.search.weights(quant)
                if weights is None or weights.device_bytes > combined.free_bytes:
                    continue
                lines = lines or self._lines(combined, engine)
                for kv_type in self.search.caches(engine):
                    if family == "gguf":
                        column = self.search.column(quant, kv_type, weights)
                        out += self._dealt(engine, column, combined, lines)
                    else:
                        if served is None:
                            served = ServedCards(self.serving, engine, lines[0].cards)
                        out += vllm_layouts(self.serving, served, quant, kv_type, weights)
        return out

    def _dealt(
        self, engine: str, column: LayerSums, combined: DeviceSet, lines: list[Line]
    ) -> list[SetLayout]:
        """llama.cpp's layouts, each host leading once; none when the slowest is not needed."""
        out: list[SetLayout] = []
        if (
            _least_bytes(column, combined.members) > combined.free_bytes
            or len(lines[0].cards) > MAX_CARDS
        ):
            return out
        tried: list[tuple[Line, list[int]]] = []
        for i, line in enumerate(lines):
            fill = filled(column, line)
            if i == 0 and fill and is_needless(line, fill):
                return out
            tried += [(line, deal) for deal in deals(column, line, fill, overlaps=self.overlaps)]
        for line, deal in self._promising(engine, column, combined, tried):
            found = dealt_layout(engine, column, line, deal)
            if found is not None and found.layout.fits:
                out.append(found)
        return out

    def _promising(
        self,
        engine: str,
        column: LayerSums,
        combined: DeviceSet,
        tried: list[tuple[Line, list[int]]],
    ) -> list[tuple[Line, list[int]]]:
        """Of the deals over hosts those worth timing, where no limit asks for more than the time.

        Guessed from their devices' times for the whole model: a member by itself is often done
        sooner, and of the hosts that could lead all but the quickest are out.
        """
        if not tried or not self.free or self.overlaps or len(combined.hosts) == 1:
            return tried
        alone = self._soonest(combined, self._told(column.quant, column.kv_type))
        kept: list[tuple[Line, list[int]]] = []
        guesses: list[float] = []
        for line, deal in tried:
            guess = 0.0
            for i, layers in enumerate(deal):
                guess += layers * self._total_s(line.cards[i], engine, column)
            guess *= 1000.0 / (column.sums.layers + 1)
            if guess < alone * GUESS_OFF:
                guesses.append(guess)
                kept.append((line, deal))
        least = min(guesses, default=0.0)
        return [kept[i] for i, guess in enumerate(guesses) if guess <= GUESS_OFF * least]

    def _told(self, quant: str, kv_type: str) -> float:
        return told_nats(nats_of(self.query.model, quant) + cache_nats(kv_type))

    def _soonest(self, combined: DeviceSet, nats: float) -> float:
        """Milliseconds in which a member by itself answers at no worse quality, at the least."""
        least = math.inf
        for member in combined.members:
            for other in self._options_alone(member):
                if other.told_nats <= nats and other.judged_ms < least:
                    least = other.judged_ms
        return least

    def _total_s(self, device: DeviceSpec, engine: str, column: LayerSums) -> float:
        """Seconds of the answer in a bad case (p90), were everything on one card of the device."""
        key = (device.device_id, engine, column.quant)
        found = self.totals.get(key)
        if found is None:
            work = self.search.work(column.quant, column.sums.weights)
            speed = self.clock.alone(device, engine, work)
            found = speed.first_s.p90 + self.query.tokens * speed.step_s.p90
            self.totals[key] = found
        return found

    def _card(self, device: DeviceSpec, engine: str) -> Card:
        """Its cost: seconds of a step, were the whole model at its smallest on one card there."""
        key = (device.device_id, engine)
        found = self.cards.get(key)
        if found is None:
            for quant in self.search.quants(engine):
                weights = self.search.weights(quant)
                if weights is not None:
                    work = self.search.work(quant, weights)
            found = Card(device, self.clock.alone(device, engine, work).step_s.p50)
            self.cards[key] = found
        return found

    def _lines(self, combined: DeviceSet, engine: str) -> list[Line]:
        """The fastest card's host leading, then each other host.

        The leader is filled first, so one with more memory may be done before one that is faster.
        """
        cards = {member.device_id: self._card(member, engine) for member in combined.members}
        first = _line(combined, cards, "")
        if FAMILIES[engine] != "gguf":  # their stages are in one order
            return [first]
        leader = host_of(first.cards[0])
        return [first] + [_line(combined, cards, h) for h in combined.hosts if h != leader]


def _least_bytes(column: LayerSums, cards: list[DeviceSpec]) -> int:
    """What the model needs over these cards."""
    need = column.upto[column.sums.layers + 1]
    for card in cards:
        need += column.beside(backend_of(card))
    return need


def _line(combined: DeviceSet, cards: dict[str, Card], leader: str) -> Line:
    """Cards, those of the leader before all others', then the fastest; a host's together."""
    best: dict[str, float] = {leader: 0.0}
    for member in combined.members:
        own = cards[member.device_id].cost
        host = host_of(member)
        best[host] = min(best.get(host, own), own)
    order: list[tuple[float, str, float, int, str, int]] = []
    for member in combined.members:
        host, card = host_of(member), cards[member.device_id]
        row = (best[host], host, card.cost, -card.free, member.device_id, member.count)
        order.append(row)
    order.sort()
    out: list[Card] = []
    for _, _, _, _, device_id, count in order:
        out += [cards[device_id]] * count
    return Line(out)
