"""Memory one llama.cpp run needs, term by term, as llama.cpp itself allocates it.

Cache, weights and compute buffer are its own arithmetic; overhead is a constant per backend.
"""

from mathcore.engines.footprint import (
    CPU_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    ContextShape,
    Footprint,
)
from mathcore.engines.llamacpp.cache import (
    CachePlan,
    cells_per_stream,
    kv_bytes,
    layer_cache_bytes,
    state_bytes,
    v_type_of,
    window_cells,
)
from mathcore.engines.llamacpp.compute_buffer import buffer_bytes
from mathcore.engines.llamacpp.graph_input import Batch
from mathcore.model.spec import ModelSpec
from mathcore.quant.ggml import BLOCKS
from mathcore.quant.weights import Weights

# Two builds of llama.cpp whose compute buffers differ: the library of 0.5, its contexts recorded
# with every row's logits wanted, and the server of late 2026, which wants one row per sequence and
# lays every graph out for batches of tokens and embeddings mixed.
LIBRARY = "library"
SERVER = "server"
_PLANS: dict[int, CachePlan] = {}  # by id of the spec they hold
PLANS_MOST = 256  # a catalogue's worth


def plan_of(spec: ModelSpec) -> CachePlan:
    """The spec's plan, made once: it depends on nothing else."""
    plan = _PLANS.get(id(spec))
    if plan is not None and plan.spec is spec:
        return plan
    if len(_PLANS) >= PLANS_MOST:
        _PLANS.clear()
    plan = CachePlan(spec)
    _PLANS[id(spec)] = plan
    return plan


def _window(plan: CachePlan) -> int:
    most = 0
    for group in plan.groups:
        most = max(most, group.window)
    return most


def batch_of(plan: CachePlan, shape: ContextShape, build: str) -> Batch:
    """The micro batch llama.cpp reserves for."""
    cells = cells_per_stream(shape)
    tokens = min(shape.micro_batch, cells * (1 if shape.unified else shape.sequences))
    rows = tokens if build == LIBRARY else min(tokens, shape.sequences)
    window = _window(plan)
    batch = Batch(tokens, rows, cells, window_cells(shape, window, cells) if window else 0)
    batch.sequences = shape.sequences
    batch.streams = 1 if shape.unified else shape.sequences
    batch.flash = shape.flash
    batch.hadamard_k = BLOCKS[shape.kv_type.upper()][0] > 1
    batch.hadamard_v = BLOCKS[v_type_of(shape).upper()][0] > 1
    batch.value_bytes = BLOCKS[v_type_of(shape).upper()][1] if not batch.hadamard_v else 2
    batch.from_file = build == SERVER
    batch.mixed = build == SERVER
    return batch


def compute_bytes(spec: ModelSpec, shape: ContextShape, build: str = SERVER) -> int:
    """The compute buffer of a context with every layer on one backend; worked out once a shape."""
    plan = plan_of(spec)
    modes = int(shape.flash) + 2 * int(shape.unified) + 4 * int(shape.full_window)
    modes += 8 * int(build == SERVER)
    types = int(BLOCKS[shape.kv_type.upper()][0] > 1) + 2 * int(
        BLOCKS[v_type_of(shape).upper()][0] > 1
    )
    cells = cells_per_stream(shape)
    key = (cells, shape.sequences, shape.micro_batch, modes, types)
    found = plan.known.get(key)
    if found is None:
        if len(plan.known) >= PLANS_MOST:
            plan.known.clear()
        found = buffer_bytes(plan.compute, batch_of(plan, shape, build))
        plan.known[key] = found
    return found


def context_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Cache and states: what llama.cpp's log calls context."""
    plan = plan_of(spec)
    return kv_bytes(plan, shape) + state_bytes(plan, shape)


def output_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Logits handed back to the program, one row per sequence; always in host memory."""
    return spec.vocab * shape.sequences * 4


def host_compute_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Inputs prepared in host memory for a GPU: two embeddings per token and the mask."""
    tokens = min(shape.micro_batch, shape.context * shape.sequences)
    mask = cells_per_stream(shape) * tokens * (2 if shape.flash else 4)
    return 2 * tokens * spec.hidden * 4 + mask


def _card_share(sizes: list[int], count: int) -> int:
    """Bytes of the fullest card when layers are dealt out evenly and in order."""
    per_card = (len(sizes) + count - 1) // count
    worst = 0
    for start in range(0, len(sizes), max(1, per_card)):
        share = 0
        for size in sizes[start : start + per_card]:
            share += size
        worst = max(worst, share)
    return worst


def _on_cpu(weights: Weights, kv: int, state: int, compute: int, logits: int) -> Footprint:
    total = weights.total_bytes + kv + state + compute + logits + CPU_OVERHEAD_BYTES
    return Footprint(
        weights_bytes=weights.total_bytes,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute,
        output_bytes=logits,
        overhead_bytes=CPU_OVERHEAD_BYTES,
        host_bytes=0,
        card_bytes=total,
    )


def footprint(
    spec: ModelSpec, weights: Weights, shape: ContextShape, kind: str, count: int = 1
) -> Footprint:
    """What `count` cards of `kind` ("gpu", "apple", "cpu") need for every layer on the device."""
    plan = plan_of(spec)
    kv, state = kv_bytes(plan, shape), state_bytes(plan, shape)
    compute = compute_bytes(spec, shape)
    logits = output_bytes(spec, shape)
    if kind == "cpu":
        return _on_cpu(weights, kv, state, compute, logits)
    each = compute + GPU_OVERHEAD_BYTES
    held = weights.device_bytes
    card = held + kv + state + each
    if count > 1:
        caches = layer_cache_bytes(plan, shape)
        sizes = list(weights.layer_bytes)
        inside = 0
        for i in range(len(sizes)):
            inside += sizes[i]
            sizes[i] += caches[i] if i < len(caches) else 0
        # The last card also holds the output layer; which one is fullest depends on rounding.
        card = _card_share(sizes, count) + (held - inside) + each
    beside = weights.host_bytes + logits + CPU_OVERHEAD_BYTES + host_compute_bytes(spec, shape)
    return Footprint(
        weights_bytes=held,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute * count,
        overhead_bytes=GPU_OVERHEAD_BYTES * count,
        host_bytes=beside,
        card_bytes=card,
    )
