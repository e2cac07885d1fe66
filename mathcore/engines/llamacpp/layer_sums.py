"""llama.cpp's bytes of one model, quantisation and cache type, summed once for all devices."""

from typing import final

from mathcore.device import DeviceKind
from mathcore.engines.footprint import GPU_OVERHEAD_BYTES, ContextShape, Footprint
from mathcore.engines.llamacpp.memory import footprint
from mathcore.engines.llamacpp.offload import Placing, Sums, placed_footprint
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights


@final
class LayerSums:
    """Running sums over the layers, and the footprints already asked for."""

    __slots__ = ("beside", "dealt", "kv_type", "quant", "shape", "spec", "sums", "upto", "whole")

    def __init__(self, spec: ModelSpec, weights: Weights, shape: ContextShape, quant: str) -> None:
        sums = Sums(spec, weights, shape)
        self.spec = spec
        self.quant = quant
        self.kv_type = shape.kv_type
        self.shape = shape
        self.sums = sums
        self.beside = sums.compute + GPU_OVERHEAD_BYTES  # of a card, besides its layers
        self.upto = [sums.weights_sum[i] + sums.caches[i] for i in range(sums.layers + 1)]
        self.upto.append(self.upto[sums.layers] + sums.bytes_outside_layers(on_card=True))
        self.whole: dict[str, Footprint] = {}
        self.dealt: dict[int, Footprint] = {}

    def on_one(self, kind: DeviceKind) -> Footprint:
        """Everything on one device of a kind."""
        found = self.whole.get(kind)
        if found is None:
            found = footprint(self.spec, self.sums.weights, self.shape, kind)
            self.whole[kind] = found
        return found

    def on_cards(self, cards: int) -> Footprint:
        """Everything on so many like cards, equally free."""
        found = self.dealt.get(cards)
        if found is None:
            found = self.placed(Placing(split=(1,) * cards))
            self.dealt[cards] = found
        return found

    def placed(self, placing: Placing) -> Footprint:
        """The footprint of any other placing."""
        return placed_footprint(self.spec, self.sums.weights, self.shape, placing, self.sums)

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
