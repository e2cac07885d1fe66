"""How a model can lie on one device: cards, cache type, layers and experts left in RAM."""

from mathcore.answer import Layout
from mathcore.device import DeviceSpec
from mathcore.engines import FAMILIES
from mathcore.fleet import Query
from mathcore.footprint import ContextShape, Footprint
from mathcore.llamacpp import footprint
from mathcore.model import ModelSpec
from mathcore.weights import Weights

ALL_LAYERS = 1 << 20


def _layout(
    device: DeviceSpec, engine: str, quant: str, kv_type: str, cards: int, need: Footprint,
    gpu_layers: int = ALL_LAYERS, cpu_experts: int = 0,
) -> Layout:  # fmt: skip
    beside = device.ram_free_bytes - need.host_bytes
    counted = device.kind == "gpu" and device.ram_free_bytes > 0
    return Layout(
        engine=engine, quant=quant, kv_type=kv_type, cards=cards, gpu_layers=gpu_layers,
        cpu_experts=cpu_experts, footprint=need, spare_bytes=device.free_bytes - need.card_bytes,
        host_spare_bytes=beside if counted else 0,
    )  # fmt: skip


def _llamacpp(
    spec: ModelSpec, engine: str, quant: str, kv_type: str, weights: Weights, query: Query,
    device: DeviceSpec,
) -> list[Layout]:  # fmt: skip
    """On as few cards as hold it: more of them add memory, not speed, to one pipeline."""
    shape = ContextShape(context=query.context, sequences=query.batch, kv_type=kv_type)
    out: list[Layout] = []
    for cards in range(1, device.count + 1):
        need = footprint(spec, weights, shape, device.kind, cards)
        out = [_layout(device, engine, quant, kv_type, cards, need)]
        if out[0].fits:
            return out
    return out


def layouts(
    spec: ModelSpec, engine: str, quant: str, kv_type: str, weights: Weights, query: Query,
    device: DeviceSpec,
) -> list[Layout]:  # fmt: skip
    """The layouts worth timing, at least one; those that do not fit say by how much."""
    if FAMILIES[engine] == "gguf":
        return _llamacpp(spec, engine, quant, kv_type, weights, query, device)
    return []
