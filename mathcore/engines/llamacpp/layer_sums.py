"""llama.cpp's bytes of one model, quantisation and cache type, summed once for all devices."""

from typing import final

from mathcore.device import DeviceKind
from mathcore.engines.footprint import ContextShape, Footprint
from mathcore.engines.llamacpp.device.backends import BackendName, backend_bytes
from mathcore.engines.llamacpp.memory import footprint
from mathcore.engines.llamacpp.offload import Placing, Sums, placed_footprint
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights


@final
class LayerSums:
    """Running sums over the layers, and the footprints already asked for."""

    __slots__ = (
        "backends",
        "dealt",
        "kv_type",
        "quant",
        "shape",
        "spec",
        "sums",
        "upto",
        "whole",
    )

    def __init__(self, spec: ModelSpec, weights: Weights, shape: ContextShape, quant: str) -> None:
        sums = Sums(spec, weights, shape)
        self.spec = spec
        self.quant = quant
        self.kv_type = shape.kv_type
        self.shape = shape
        self.sums = sums
        self.upto = [sums.weights_sum[i] + sums.caches[i] for i in range(sums.layers + 1)]
        self.upto.append(self.upto[sums.layers] + sums.bytes_outside_layers(on_card=True))
        self.backends: dict[str, int] = {}
        self.whole: dict[str, Footprint] = {}
        self.dealt: dict[tuple[int, str], Footprint] = {}

    def backend_bytes(self, backend: BackendName) -> int:
        """What a back end holds on a card beside weights, cache and compute buffer."""
        found = self.backends.get(backend)
        if found is None:
            found = backend_bytes(self.spec, self.quant, backend)
            self.backends[backend] = found
        return found

    def beside(self, backend: BackendName) -> int:
        """At most what a card among several holds besides its layers: of the whole graph."""
        return self.sums.in_pipeline(0, self.sums.layers + 1) + self.backend_bytes(backend)

    def on_one(self, kind: DeviceKind, backend: BackendName) -> Footprint:
        """Everything on one device of a kind."""
        found = self.whole.get(backend)
        if found is None:
            beside = self.backend_bytes(backend)
            found = footprint(self.spec, self.sums.weights, self.shape, kind, beside)
            self.whole[backend] = found
        return found

    def on_cards(self, cards: int, backend: BackendName) -> Footprint:
        """Everything on so many like cards, equally free."""
        found = self.dealt.get((cards, backend))
        if found is None:
            found = self.placed(Placing(split=(1,) * cards), [backend] * cards)
            self.dealt[(cards, backend)] = found
        return found

    def placed(self, placing: Placing, backends: list[BackendName]) -> Footprint:
        """The footprint of any other placing; a back end for each card."""
        beside = tuple([self.backend_bytes(backend) for backend in backends])
        weights = self.sums.weights
        return placed_footprint(self.spec, weights, self.shape, placing, self.sums, beside)

    def first_that_fits(self, high: int, room: int) -> int:
        """The lowest layer from which a card with `room` bytes for layers holds all to `high`."""
        least = self.upto[high] - room
        low, top = 0, high
        while low < top:
            middle = (low + top) // 2
            if self.upto[middle] >= least:
                top = middle
            else:
                low = middle + 1
        return low
