"""Memory one llama.cpp run needs, term by term, as llama.cpp itself allocates it.

Cache, weights and compute buffer are its own arithmetic; overhead is a constant per backend.
"""

from mathcore.device import DeviceKind
from mathcore.engines.footprint import (
    CPU_OVERHEAD_BYTES,
    GPU_OVERHEAD_BYTES,
    Beside,
    ContextShape,
    Footprint,
)
from mathcore.engines.llamacpp.cache import (
    CacheGroups,
    cells_per_stream,
    kv_bytes,
    layer_cache_bytes,
    state_bytes,
    v_type_of,
    window_cells,
)
from mathcore.engines.llamacpp.compute_buffer import buffer_bytes
from mathcore.engines.llamacpp.graph_input import NOTHING_STAGED, MicroBatch, Staged
from mathcore.memo import Memo
from mathcore.model.spec import ModelSpec
from mathcore.quant.ggml import BLOCKS
from mathcore.quant.weights import Weights

# Two builds of llama.cpp whose compute buffers differ: the library of 0.5, its contexts recorded
# with every row's logits wanted, and the server of late 2026, which wants one row per sequence and
# lays every graph out for batches of tokens and embeddings mixed.
LIBRARY = "library"
SERVER = "server"
# Fewer tokens than this are computed where the weights lie (ggml: op_offload_min_batch_size).
STAGED_BATCH = 32
MAX_GROUPS = 256  # models held: a catalogue's worth
_GROUPS: Memo[CacheGroups] = Memo(MAX_GROUPS)


def cache_groups(spec: ModelSpec) -> CacheGroups:
    """The spec's layers, counted once: they depend on nothing else."""
    found = _GROUPS.get(id(spec), spec)
    return _GROUPS.put(id(spec), CacheGroups(spec), spec) if found is None else found


def _window(cache: CacheGroups) -> int:
    most = 0
    for group in cache.groups:
        most = max(most, group.window)
    return most


def micro_batch_of(cache: CacheGroups, shape: ContextShape, build: str) -> MicroBatch:
    """The micro batch llama.cpp reserves for."""
    cells = cells_per_stream(shape)
    tokens = min(shape.micro_batch, cells * (1 if shape.unified else shape.sequences))
    rows = tokens if build == LIBRARY else min(tokens, shape.sequences)
    window = _window(cache)
    batch = MicroBatch(tokens, rows, cells, window_cells(shape, window, cells) if window else 0)
    batch.sequences = shape.sequences
    batch.streams = 1 if shape.unified else shape.sequences
    batch.flash = shape.flash
    batch.row_blocks = (BLOCKS[shape.kv_type.upper()], BLOCKS[v_type_of(shape).upper()])
    batch.hadamard_k = BLOCKS[shape.kv_type.upper()][0] > 1
    batch.hadamard_v = BLOCKS[v_type_of(shape).upper()][0] > 1
    batch.value_bytes = BLOCKS[v_type_of(shape).upper()][1] if not batch.hadamard_v else 2
    batch.from_file = build == SERVER
    batch.mixed = build == SERVER
    return batch


def compute_bytes(
    spec: ModelSpec,
    shape: ContextShape,
    build: str = SERVER,
    *,
    card: bool = False,
    staged: Staged = NOTHING_STAGED,
) -> int:
    """The compute buffer of a context with every layer on one backend; worked out once a shape.

    On a `card` what looks embeddings up is the host's. `staged` are weights that lie with the host
    and are copied to the card for each large batch.
    """
    cache = cache_groups(spec)
    modes = int(shape.flash) + 2 * int(shape.unified) + 4 * int(shape.full_window)
    modes += 8 * int(build == SERVER) + 16 * int(card)
    types = int(BLOCKS[shape.kv_type.upper()][0] > 1) + 2 * int(
        BLOCKS[v_type_of(shape).upper()][0] > 1
    )
    cells = cells_per_stream(shape)
    key = (
        cells,
        shape.sequences,
        shape.micro_batch,
        modes,
        types,
        staged.key,
        shape.cell_pad,
    )
    found = cache.buffers.get(key)
    if found is None:
        batch = micro_batch_of(cache, shape, build)
        batch.card = card
        if batch.tokens >= STAGED_BATCH:
            batch.staged = staged
        made = buffer_bytes(cache.graph_model, batch)
        found = cache.buffers.put(key, made)
    return found


def context_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Cache and states: what llama.cpp's log calls context."""
    cache = cache_groups(spec)
    return kv_bytes(cache, shape) + state_bytes(cache, shape)


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


def _on_cpu(
    weights: Weights, kv: int, state: int, compute: int, logits: int, beside: Beside
) -> Footprint:
    total = weights.total_bytes + kv + state + compute + logits + CPU_OVERHEAD_BYTES
    total += beside.total_bytes
    return Footprint(
        weights_bytes=weights.total_bytes,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute,
        output_bytes=logits,
        overhead_bytes=CPU_OVERHEAD_BYTES,
        host_bytes=0,
        card_bytes=total,
        projector_bytes=beside.projector_bytes + beside.projector_compute_bytes,
        draft_bytes=beside.draft_bytes,
        adapter_bytes=beside.adapter_bytes,
    )


def footprint(
    spec: ModelSpec, weights: Weights, shape: ContextShape, kind: DeviceKind, count: int = 1
) -> Footprint:
    """What `count` cards of `kind` need for every layer on the device."""
    cache = cache_groups(spec)
    kv, state = kv_bytes(cache, shape), state_bytes(cache, shape)
    compute = compute_bytes(spec, shape, card=kind != "cpu")
    logits = output_bytes(spec, shape)
    if kind == "cpu":
        return _on_cpu(weights, kv, state, compute, logits, shape.beside)
    each = compute + GPU_OVERHEAD_BYTES + shape.beside.total_bytes
    held = weights.device_bytes
    card = held + kv + state + each
    if count > 1:
        caches = layer_cache_bytes(cache, shape)
        sizes = list(weights.layer_bytes)
        inside = 0
        for i in range(len(sizes)):
            inside += sizes[i]
            sizes[i] += caches[i] if i < len(caches) else 0
        # The last card also holds the output layer; which one is fullest depends on rounding.
        card = _card_share(sizes, count) + (held - inside) + each
    on_host = weights.host_bytes + logits + CPU_OVERHEAD_BYTES + host_compute_bytes(spec, shape)
    beside = shape.beside
    return Footprint(
        weights_bytes=held,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute * count,
        overhead_bytes=GPU_OVERHEAD_BYTES * count,
        host_bytes=on_host,
        card_bytes=card,
        projector_bytes=beside.projector_bytes + beside.projector_compute_bytes,
        draft_bytes=beside.draft_bytes,
        adapter_bytes=beside.adapter_bytes,
    )
