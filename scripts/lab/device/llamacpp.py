"""What we say of a llama.cpp row: weights, cache, compute and output per buffer, and peaks."""

import re
from pathlib import Path

from mathcore.engines.llamacpp.cache import cache_refusal, kv_bytes, layer_cache_bytes, state_bytes
from mathcore.engines.llamacpp.device.backends import Largest, beside_bytes
from mathcore.engines.llamacpp.memory import (
    PIPELINE_COPIES,
    WHOLE,
    cache_groups,
    compute_bytes,
    host_compute_bytes,
)
from mathcore.engines.llamacpp.offload import Placing, bounds_of
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import Weights, weigh
from scripts.lab.device.models import draft_bytes, quant_of, spec_of
from scripts.lab.device.rows import Answer, Refused, Row, backend_of, noted, shape_of

MIB = 1 << 20
GIB = 1 << 30
FORK_GRAPHS = "a fork's own graphs (fused experts, its modes of latent attention)"
FORK_OVERRIDES = "weights placed by overrides the row does not name"


def _spec(row: Row, configs: Path | None) -> ModelSpec:
    spec = spec_of(row["model"], configs)
    if spec is None:
        raise Refused("a model we do not know")
    return spec


def _weights(row: Row, spec: ModelSpec) -> tuple[str, Weights]:
    quant = quant_of(row["quant"])
    if not quant:
        raise Refused("a type that is not llama.cpp's")
    return quant, weigh(spec, quant)


def _card(row: Row) -> int:
    found = re.search(r"(\d+)$", row["buffer"])
    return int(found.group(1)) if found else 0


def _placing(row: Row) -> Placing:
    """Layers dealt to equal cards, as llama.cpp does where nobody says otherwise."""
    return Placing(split=(1,) * int(row["n_gpu"] or 1))


def _layers(row: Row, spec: ModelSpec) -> tuple[int, int]:
    """The layers of the row's card, the output layer one more."""
    placing, count = _placing(row), len(spec.layers) - spec.draft_layers
    bounds = bounds_of(count, placing.gpu_layers, placing.split)
    return bounds[_card(row)], bounds[_card(row) + 1]


def weights(row: Row, spec: ModelSpec) -> float:
    """Bytes of one buffer of weights."""
    _, held = _weights(row, spec)
    if row["buffer"] == "CPU":
        return held.host_bytes
    if len(_placing(row).split) == 1:
        return held.device_bytes
    low, high = _layers(row, spec)
    size = sum(held.layer_bytes[low:high])
    if high > len(spec.layers):
        size += held.device_bytes - sum(held.layer_bytes)
    return size


def kv(row: Row, spec: ModelSpec, kv_type: str) -> float:
    """Bytes of one card's cache."""
    shape = shape_of(row, kv_type)
    no = cache_refusal(spec, shape.kv_type, shape.v_type, flash=shape.flash)
    if no:
        raise Refused(no)
    if len(_placing(row).split) == 1:
        return kv_bytes(cache_groups(spec), shape)
    low, high = _layers(row, spec)
    return sum(layer_cache_bytes(cache_groups(spec), shape)[low:high])


def compute(row: Row, spec: ModelSpec) -> float:
    """Bytes of one compute buffer: a card's, a pipeline's card, or the host's beside them."""
    shape, cards = shape_of(row), int(row["n_gpu"] or 1)
    copies = PIPELINE_COPIES if cards > 1 else 1
    if row["buffer"] in ("CPU", "CUDA_Host"):
        return host_compute_bytes(spec, shape, copies)
    layers = _layers(row, spec) if cards > 1 else WHOLE
    return compute_bytes(spec, shape, card=True, layers=layers, copies=copies)


def output(row: Row, spec: ModelSpec) -> float:
    """The logits of one token for each sequence."""
    return spec.vocab * int(row["n_seq"] or 1) * 4


def log_row(row: Row, configs: Path | None) -> Answer:
    """A line of a llama.cpp log."""
    spec, component = _spec(row, configs), row["component"]
    backend = "host" if row["buffer"] in ("CPU", "CUDA_Host") else backend_of(row)
    if component == "weights":
        return Answer(f"weights, {backend}", weights(row, spec))
    if component == "kv":
        return Answer(f"kv, {backend}", kv(row, spec, ""))
    if component == "recurrent":
        shape = shape_of(row)
        return Answer("states", state_bytes(cache_groups(spec), shape))
    if component == "compute":
        return Answer(f"compute, {backend}", compute(row, spec))
    if component == "output":
        return Answer("output", output(row, spec))
    raise Refused(f"{component}: no term of ours")


def _largest(row: Row, spec: ModelSpec, quant: str) -> Largest:
    """Of the file's tensors; gpt-oss as "F16" keeps its experts in MXFP4, the rest in 16 bits."""
    if spec.architecture == "gpt-oss" and quant == "F16":
        found = Largest(spec, "MXFP4_MOE")
        found.table_bytes = spec.vocab * spec.hidden * 2
        found.tensor_bytes = max(found.tensor_bytes, found.table_bytes)
        return found
    return Largest(spec, quant)


def apu_peak(row: Row, configs: Path | None) -> Answer:
    """GTT and VRAM of an integrated card, the file's own weights and the idle reading given."""
    spec = _spec(row, configs)
    quant, held = _weights(row, spec)
    backend, shape = backend_of(row), shape_of(row)
    file_gib = noted(row, "weights")
    if not file_gib:
        raise Refused("the row does not say what the file weighs")
    size = float(file_gib) * GIB
    if not spec.tied:
        size -= held.host_bytes
    size -= draft_bytes(row["model"], quant)
    size += kv_bytes(cache_groups(spec), shape) + state_bytes(cache_groups(spec), shape)
    size += compute_bytes(spec, shape, card=True)
    size += beside_bytes(backend, _largest(row, spec, quant))
    idle = noted(row, "vram_start")
    return Answer(f"peak, {backend} on an APU", size + int(idle or 0) * MIB)


def user_peak(row: Row, configs: Path | None) -> Answer:
    """A peak someone submitted: every layer on one card, the cache type as noted."""
    spec = _spec(row, configs)
    quant, held = _weights(row, spec)
    layers, ollama = noted(row, "gpuLayers"), row["engine"] == "ollama"
    whole = layers.isdigit() and int(layers) > len(spec.layers)
    if not whole and not (ollama and layers == "None"):  # Ollama puts on the card what fits
        raise Refused("does not say that every layer is on the card")
    if int(row["n_gpu"] or 1) > 1 or not row["n_ctx"]:
        raise Refused("several cards, or no context")
    kv_type = noted(row, "kv")
    shape = shape_of({**row, "flash_attn": "1"}, kv_type if kv_type not in ("None", "auto") else "")
    no = cache_refusal(spec, shape.kv_type)
    if no:
        raise Refused(no)
    size = held.device_bytes + kv_bytes(cache_groups(spec), shape)
    size += state_bytes(cache_groups(spec), shape)
    size += compute_bytes(spec, shape, card=True)
    backend = backend_of(row) or "cuda"
    kind = f"peak, {'ollama ' if ollama else ''}as users noted it"
    return Answer(kind, size + beside_bytes(backend, Largest(spec, quant)))
