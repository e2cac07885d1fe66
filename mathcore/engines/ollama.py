"""What Ollama decides for itself before it starts llama-server: context, slots and batch.

Follows server/routes.go and server/sched.go (0.33, August 2026). Memory is llama.cpp's own: Ollama
hands it -c context x slots, -np slots, and -b and -ub of the same size.
"""

from dataclasses import dataclass
from typing import final

from mathcore.model.spec import ModelSpec
from mathcore.units import GIB, MIB

# (total memory of all cards from which, context): "vram-based default context".
_CONTEXTS: tuple[tuple[int, int], ...] = ((47 * GIB, 262_144), (23 * GIB, 32_768), (0, 4096))
# Architectures it serves one request at a time, whatever OLLAMA_NUM_PARALLEL says.
SINGLE_SLOT: tuple[str, ...] = (
    "mllama",
    "qwen3vl",
    "qwen3vlmoe",
    "qwen35",
    "qwen35moe",
    "qwen3next",
    "lfm2",
    "lfm2moe",
    "nemotron_h",
    "nemotron_h_moe",
    "nemotron_h_omni",
)
DEFAULT_SLOTS = 1  # OLLAMA_NUM_PARALLEL
# (context above which, batch, memory it may bring along, percent the model may take of what is
# there for it), the largest first; 512 otherwise.
_BATCHES: tuple[tuple[int, int, int, int], ...] = (
    (32_768, 2048, 2 * GIB, 60),
    (4096, 1024, 768 * MIB, 75),
)
USUAL_BATCH = 512
THRESHOLD_PERCENT = 80  # of the memory there is, for the model and the batch together
KV_BYTES = 2  # of a number, in its own prediction


def default_context(total_bytes: int, trained: int = 0) -> int:
    """The context it starts with where nobody names one, by the memory of all cards."""
    found = 0
    for least, context in _CONTEXTS:
        if total_bytes >= least:
            found = context
            break
    return min(found, trained) if trained > 0 else found


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaStart:
    """What it starts llama-server with where nobody names anything."""

    num_ctx: int  # of one slot
    num_parallel: int
    num_batch: int


def ollama_start(
    spec: ModelSpec, weights_bytes: int, total_bytes: int, free_bytes: int
) -> OllamaStart:
    """Its choice for a model on cards of so much memory, all of them together.

    A context nobody named is lowered to the next tier until what it reckons fits.
    """
    trained = spec.context_length
    context = default_context(total_bytes, trained)
    for _, lower in _CONTEXTS[1:]:
        if predicted_bytes(spec, weights_bytes, context) <= free_bytes:
            break
        context = min(context, lower)
    return OllamaStart(
        num_ctx=context,
        num_parallel=slots(spec.architecture),
        num_batch=generation_batch(spec, weights_bytes, context, free_bytes),
    )


def slots(architecture: str, asked: int = DEFAULT_SLOTS) -> int:
    """Requests it serves at once."""
    return 1 if architecture in SINGLE_SLOT else max(1, asked)


def predicted_bytes(spec: ModelSpec, weights_bytes: int, context: int) -> int:
    """What it reckons a model needs: the file and a cache of the plainest kind, no compute."""
    least = 0
    for layer in spec.layers:
        if layer.kv_heads > 0:
            least = layer.kv_heads if least == 0 else min(least, layer.kv_heads)
    side = spec.hidden // spec.heads if spec.heads > 0 else 0
    return weights_bytes + 2 * len(spec.layers) * least * side * context * KV_BYTES


def generation_batch(spec: ModelSpec, weights_bytes: int, context: int, free_bytes: int) -> int:
    """Tokens of a batch and of a micro batch; `context` of all slots together."""
    predicted = predicted_bytes(spec, weights_bytes, context)
    limit = free_bytes * THRESHOLD_PERCENT // 100
    for above, batch, surcharge, percent in _BATCHES:
        if context <= above:
            continue
        roomy = predicted <= free_bytes * percent // 100
        if roomy and predicted + surcharge <= limit:
            return batch
    return USUAL_BATCH
