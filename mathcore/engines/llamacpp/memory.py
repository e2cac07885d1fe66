"""Memory one llama.cpp run needs, term by term, as llama.cpp itself allocates it.

Cache, weights and compute buffer are its own arithmetic, of one card and of each in a pipeline;
what a back end holds beside them is in `device.backends`.
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
    state_bytes,
    v_type_of,
    window_cells,
)
from mathcore.engines.llamacpp.compute_buffer import buffer_bytes, host_bytes
from mathcore.engines.llamacpp.device.builds import as_built
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
# Cards in a pipeline keep as many copies of each input, for batches on their way
# (GGML_SCHED_MAX_COPIES): several devices, all layers on them, no overrides (llama-context.cpp).
PIPELINE_COPIES = 4
WHOLE = (0, 1 << 30)  # every layer, and the output
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
    if shape.build > 0:
        as_built(batch, shape)
    return batch


def compute_bytes(
    spec: ModelSpec,
    shape: ContextShape,
    build: str = SERVER,
    *,
    card: bool = False,
    staged: Staged = NOTHING_STAGED,
    layers: tuple[int, int] = WHOLE,
    copies: int = 1,
) -> int:
    """The compute buffer of a context, worked out once a shape: of every layer, or of a card's own.

    On a `card` what looks embeddings up is the host's. `staged` are weights that lie with the host
    and are copied to the card for each large batch. `layers` low to high, the output one more, are
    those of a card among several, which in a pipeline keeps `copies` of its inputs.
    """
    cache = cache_groups(spec)
    model = cache.graph_model
    part = model.stretch(layers[0], min(layers[1], len(model.every) + 1))
    key = (_key(shape, build, card=card), staged.key, part.key, copies)
    found = cache.buffers.get(key)
    if found is None:
        batch = micro_batch_of(cache, shape, build)
        batch.card, batch.copies = card, copies
        if batch.tokens >= STAGED_BATCH:
            batch.staged = staged
        found = cache.buffers.put(key, buffer_bytes(model, batch, part))
    return found


def _key(shape: ContextShape, build: str, *, card: bool) -> tuple[int, ...]:
    """What of a shape its graph depends on."""
    modes = int(shape.flash) + 2 * int(shape.unified) + 4 * int(shape.full_window)
    modes += 8 * int(build == SERVER) + 16 * int(card)
    modes += 32 * int(BLOCKS[shape.kv_type.upper()][0] > 1)
    modes += 64 * int(BLOCKS[v_type_of(shape).upper()][0] > 1)
    cells = cells_per_stream(shape)
    return (cells, shape.sequences, shape.micro_batch, modes, shape.cell_pad, shape.build)


def context_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Cache and states: what llama.cpp's log calls context."""
    cache = cache_groups(spec)
    return kv_bytes(cache, shape) + state_bytes(cache, shape)


def output_bytes(spec: ModelSpec, shape: ContextShape) -> int:
    """Logits handed back to the program, one row per sequence; always in host memory."""
    return spec.vocab * shape.sequences * 4


def host_compute_bytes(spec: ModelSpec, shape: ContextShape, copies: int = 1) -> int:
    """What the host prepares for cards: embeddings, tokens and every input, `copies` of each."""
    cache = cache_groups(spec)
    key = ("host", _key(shape, SERVER, card=True), copies)
    found = cache.buffers.get(key)
    if found is None:
        batch = micro_batch_of(cache, shape, SERVER)
        batch.card = True
        found = cache.buffers.put(key, host_bytes(cache.graph_model, batch, copies))
    return found


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
    spec: ModelSpec,
    weights: Weights,
    shape: ContextShape,
    kind: DeviceKind,
    backend_bytes: int = GPU_OVERHEAD_BYTES,
) -> Footprint:
    """What one device of `kind` needs for every layer; `backend_bytes` as in device.backends."""
    cache, beside = cache_groups(spec), shape.beside
    kv, state = kv_bytes(cache, shape), state_bytes(cache, shape)
    compute = compute_bytes(spec, shape, card=kind != "cpu")
    logits = output_bytes(spec, shape)
    if kind == "cpu":
        return _on_cpu(weights, kv, state, compute, logits, beside)
    held = weights.device_bytes
    return Footprint(
        weights_bytes=held,
        kv_bytes=kv,
        state_bytes=state,
        compute_bytes=compute,
        overhead_bytes=backend_bytes,
        host_bytes=weights.host_bytes
        + logits
        + CPU_OVERHEAD_BYTES
        + host_compute_bytes(spec, shape),
        card_bytes=held + kv + state + compute + backend_bytes + beside.total_bytes,
        projector_bytes=beside.projector_bytes + beside.projector_compute_bytes,
        draft_bytes=beside.draft_bytes,
        adapter_bytes=beside.adapter_bytes,
    )
