"""What sets of devices can do that no member can: laid out, timed, the useless dropped."""

from typing import final

from mathcore.answer import Refusal
from mathcore.device import DeviceSpec
from mathcore.engines import ENGINES, FAMILIES
from mathcore.footprint import ContextShape
from mathcore.limits import refuse
from mathcore.llamacpp_offload import Sums
from mathcore.search import Option, Search, beats
from mathcore.set_layouts import CARDS_MOST, Column, SetLayout, deals, dealt_layout
from mathcore.set_speed import SetClock, lanes_of
from mathcore.set_vllm import vllm_layouts
from mathcore.sets import DeviceSet, as_device, host_of, sets_of
from mathcore.units import show_bytes
from mathcore.weights import Weights

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
    """A set as one device, and its options."""

    __slots__ = ("device", "options")

    def __init__(self, device: DeviceSpec, options: list[Option]) -> None:
        self.device = device
        self.options = options


@final
class SetSearch:
    """One question's work shared by all sets."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.query = search.query
        self.clock = SetClock(search.query, search.seen)
        self.columns: dict[tuple[str, str], Column] = {}
        self.costs: dict[tuple[str, str, str], float] = {}

    def refusal(self, devices: list[DeviceSpec]) -> Refusal | None:
        """Why not even the best set does, where there is one: what is missing is the least."""
        best: Refusal | None = None
        for combined in sets_of(devices):
            found = self._refusal(combined)
            if found is not None and (best is None or found.missing_bytes < best.missing_bytes):
                best = found
        return best

    def _refusal(self, combined: DeviceSet) -> Refusal | None:
        shared = _shared(combined, self.query.engine)
        whole = as_device(combined)
        if shared == ["mlx"]:
            return refuse(whole, "NoFit(backend)", NO_MLX)
        local = [engine for engine in shared if FAMILIES[engine] == "gguf"]
        quants = self.search.quants(local[0]) if local else []
        weights = self.search.weights(quants[len(quants) - 1]) if quants else None
        if weights is None or (len(combined.hosts) > 1 and "llama.cpp" not in local):
            return None
        quant = quants[len(quants) - 1]
        kv_types = self.search.caches(local[0])
        column = self._column(quant, kv_types[len(kv_types) - 1], weights)
        need = column.upto[column.sums.layers + 1] + column.beside * whole.count
        missing = need - combined.free_bytes
        text = f"{quant} needs {show_bytes(need)} over {whole.count} cards, "
        text += f"{show_bytes(combined.free_bytes)} free"
        if missing > 0:
            return refuse(whole, "NoFit(mem)", f"{text}: {show_bytes(missing)} missing", missing)
        return refuse(whole, "NoFit(mem)", f"{text}, but not in shares of whole layers", 1)

    def options(self, devices: list[DeviceSpec]) -> list[SetOptions]:
        """Every set that does something none of its members does, in a fixed order."""
        out: list[SetOptions] = []
        for combined in sets_of(devices):
            whole = as_device(combined)
            found = self._of(combined, whole)
            kept = [option for option in found if not self._alone(combined, option)]
            if kept:
                out.append(SetOptions(whole, kept))
        return out

    def _alone(self, combined: DeviceSet, option: Option) -> bool:
        """Whether a member by itself is at least as good in everything."""
        for member in combined.members:
            for other in self.search.answers(member).options:
                if beats(other, option):
                    return True
        return False

    def _of(self, combined: DeviceSet, whole: DeviceSpec) -> list[Option]:
        out: list[Option] = []
        for engine in _shared(combined, self.query.engine):
            for quant in self.search.quants(engine):
                weights = self.search.weights(quant)
                if weights is None or weights.device_bytes > combined.free_bytes:
                    continue
                for kv_type in self.search.caches(engine):
                    found = self._layouts(combined, engine, quant, kv_type, weights)
                    out += [self._timed(whole, one, weights) for one in found]
        return out

    def _timed(self, whole: DeviceSpec, found: SetLayout, weights: Weights) -> Option:
        work = self.search.work(found.layout.quant, weights)
        timed, members = self.clock.time(whole, found, weights, work)
        option = Option(found.layout, timed)
        option.members, option.roomy = members, found.roomy
        return option

    def _layouts(
        self, combined: DeviceSet, engine: str, quant: str, kv_type: str, weights: Weights
    ) -> list[SetLayout]:
        family = FAMILIES[engine]
        one_host = len(combined.hosts) == 1
        if family == "mlx" or (not one_host and engine in ("ollama", "tgi")):
            return []
        cost = self._costs(combined, engine, quant, weights)
        if family == "safetensors":
            cards = _in_order(combined, cost, combined.hosts[0])
            return vllm_layouts(self.query, engine, quant, kv_type, weights, cards)
        out: list[SetLayout] = []
        column = self._column(quant, kv_type, weights)
        # The first host leads: it is filled first, and sends the others their weights.
        for leader in combined.hosts:
            cards = _in_order(combined, cost, leader)
            if len(cards) <= CARDS_MOST:
                out += self._dealt(engine, column, cards, cost)
        return out

    def _dealt(
        self, engine: str, column: Column, cards: list[DeviceSpec], cost: dict[str, float]
    ) -> list[SetLayout]:
        out: list[SetLayout] = []
        costs = [cost[device.device_id] for device in cards]
        for deal in deals(column, cards, costs, lanes_of(self.query, False) > 1.0):
            found = dealt_layout(self.query, engine, column, cards, deal)
            if found is not None and found.layout.fits:
                out.append(found)
        return out

    def _column(self, quant: str, kv_type: str, weights: Weights) -> Column:
        found = self.columns.get((quant, kv_type))
        if found is None:
            query = self.query
            shape = ContextShape(context=query.context, sequences=query.batch, kv_type=kv_type)
            found = Column(Sums(query.model, weights, shape), shape, quant, kv_type)
            self.columns[(quant, kv_type)] = found
        return found

    def _cost(self, device: DeviceSpec, engine: str, quant: str, weights: Weights) -> float:
        """Seconds of a step, were all layers on one card of the device."""
        key = (device.device_id, engine, quant)
        found = self.costs.get(key)
        if found is None:
            found = self.clock.alone_s(device, engine, self.search.work(quant, weights))
            self.costs[key] = found
        return found

    def _costs(
        self, combined: DeviceSet, engine: str, quant: str, weights: Weights
    ) -> dict[str, float]:
        """Each member's cost by its id."""
        return {
            member.device_id: self._cost(member, engine, quant, weights)
            for member in combined.members
        }


def _in_order(combined: DeviceSet, cost: dict[str, float], leader: str) -> list[DeviceSpec]:
    """Cards, those of the leader before all others', then the fastest; a host's together."""
    best: dict[str, float] = {leader: 0.0}
    for member in combined.members:
        own = cost[member.device_id]
        host = host_of(member)
        best[host] = min(best.get(host, own), own)
    order: list[tuple[float, str, float, int, str, DeviceSpec]] = []
    for member in combined.members:
        host, own = host_of(member), cost[member.device_id]
        order.append((best[host], host, own, -member.free_bytes, member.device_id, member))
    order.sort(key=_place)
    cards: list[DeviceSpec] = []
    for row in order:
        cards += [row[5]] * row[5].count
    return cards


def _place(
    row: tuple[float, str, float, int, str, DeviceSpec],
) -> tuple[float, str, float, int, str]:
    return row[:5]
