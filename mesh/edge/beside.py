"""What is loaded beside a model: its projector, a model that drafts, adapters; and what is not."""

from pathlib import Path

from mathcore.engines.clip import (
    clip_compute_bytes,
    clip_weights_bytes,
    warm_up_side,
)
from mathcore.engines.flags import reads_at_once
from mathcore.engines.footprint import MICRO_BATCH, Beside, ContextShape
from mathcore.engines.llamacpp.memory import compute_bytes, context_bytes
from mathcore.model.spec import ModelSpec, Projector, SpecError
from mathcore.quant.weights import quant_fault, weigh
from mathcore.units import parse_memory, show_bytes
from mesh.api.errors import RequestError
from mesh.api.fields import read, refuse
from mesh.api.requests import PlanRequest
from providers.base import ModelError, UnreadableModel
from providers.sources.parts import read_projector, with_heads
from providers.sources.resolve import resolve

MTP = "mtp"  # the heads a model was trained with, where it has any
DRAFT_QUANTS = ("Q8_0", "F16")  # a draft model is small, and must agree with the large one
# Language models whose picture tower lies in a file of its own.
SEEING = ("qwen2vl", "qwen3vl", "qwen3vlmoe", "llama4", "mllama", "cogvlm")


def beside_of(request: PlanRequest, spec: ModelSpec) -> tuple[Beside, tuple[str, ...]]:
    """(bytes loaded beside the model, a sentence for each part counted or left out)."""
    weights, compute, notes = _projector(request, spec)
    if reads_at_once(spec):
        notes.append(f"{spec.name} makes no tokens: what counts is how fast it reads a prompt")
    if reads_at_once(spec) and request.ubatch is None and request.context > MICRO_BATCH:
        notes.append(
            f"{spec.name} reads a text in one pass: start llama.cpp with --ubatch-size "
            f"{request.context}"
        )
    drafts, more = _draft(request, spec)
    adapters = sum(_adapter(text) for text in request.lora)
    beside = Beside(
        projector_bytes=weights,
        projector_compute_bytes=compute,
        draft_bytes=drafts,
        adapter_bytes=adapters,
    )
    return beside, (*notes, *more)


def _projector(request: PlanRequest, spec: ModelSpec) -> tuple[int, int, list[str]]:
    """(weights, compute buffer) of what turns pictures into tokens, and what is said of it."""
    unread = [part for part in spec.unread if request.mmproj is None or part != "vision tower"]
    notes = [f"not counted: the {part} of {spec.name}{_way_in(part)}" for part in unread]
    if request.mmproj is not None:
        if not request.vision:
            refuse("mmproj: a projector, but vision is false", "give one of the two")
        weights, projector = _read_projector(request.mmproj)
        return _counted(request, spec, weights, projector, notes)
    if spec.projector is None:
        if not unread and spec.architecture in SEEING:
            notes.append(f"not counted: the vision tower of {spec.name}{_way_in('vision tower')}")
        return 0, 0, notes if request.vision else []
    if not request.vision:
        return 0, 0, [*notes, f"without the vision tower of {spec.name}, as asked"]
    return _counted(request, spec, clip_weights_bytes(spec.projector), spec.projector, notes)


def _way_in(part: str) -> str:
    return "; --mmproj FILE counts it" if part == "vision tower" else ""


def _counted(
    request: PlanRequest,
    spec: ModelSpec,
    weights: int,
    projector: Projector | None,
    notes: list[str],
) -> tuple[int, int, list[str]]:
    if projector is None:
        said = "not counted: what its projector computes in, of an unknown kind"
        return weights, 0, [*notes, said]
    side = request.image_size or 0
    compute = clip_compute_bytes(projector, flash=request.flash_attn, side=side)
    pixels = max(side, warm_up_side(projector))
    notes.append(
        f"the vision tower of {spec.name} is counted: {show_bytes(weights)}, and "
        f"{show_bytes(compute)} for llama.cpp to compute pictures of {pixels} x {pixels}"
    )
    return weights, compute, notes


def _read_projector(text: str) -> tuple[int, Projector | None]:
    """A projector file's bytes, and its tower where its kind is known."""
    try:
        return read_projector(text)
    except UnreadableModel as error:
        raise RequestError("UnreadableModel", f"mmproj: {error.text}", error.hint, 422) from error


def _draft(request: PlanRequest, spec: ModelSpec) -> tuple[int, list[str]]:
    """Bytes of what drafts tokens: its weights, its cache of the same context, its buffer."""
    if request.draft is None:
        return 0, []
    kept = ContextShape(
        context=request.context, sequences=request.batch, kv_type=_cache_type(request)
    )
    if request.draft.lower() == MTP:
        need = _heads_bytes(request, spec, kept)
        what = f"the heads of {spec.name} that draft"
    else:
        need, what = _model_bytes(request, kept)
    said = f"{what}: {show_bytes(need)}; no gain in speed is assumed before one is measured"
    return need, [said]


def _cache_type(request: PlanRequest) -> str:
    """The cache's type where llama.cpp knows it; an unsaid one is its default."""
    named = request.kv_type or "f16"
    return named if named in ("f16", "bf16", "f32") else "f16"


def _heads_bytes(request: PlanRequest, spec: ModelSpec, shape: ContextShape) -> int:
    """Weights, cache and buffer of a model's own drafting layers."""
    whole = spec if spec.draft_layers else with_heads(request.model)
    if whole is None or whole.draft_layers == 0:
        refuse(f"draft: {spec.name} has no heads that draft", "name a small model of its family")
    total = compute_bytes(whole, shape, card=True)
    if whole is not spec:  # else the file's own weights count them
        quant = request.quant or request.draft_quant or DRAFT_QUANTS[0]
        fault = quant_fault(whole, quant, "gguf")
        quant = DRAFT_QUANTS[0] if fault else quant
        total += weigh(whole, quant).total_bytes - weigh(spec, quant).total_bytes
    for layer in whole.layers[len(whole.layers) - whole.draft_layers :]:
        cells = shape.context * shape.sequences
        total += cells * (layer.k_elements + layer.v_elements) * 2
    return total


def _model_bytes(request: PlanRequest, shape: ContextShape) -> tuple[int, str]:
    name = request.draft or ""
    try:
        draft = resolve(name).spec
    except UnreadableModel as error:
        raise RequestError("UnreadableModel", f"draft: {error.text}", error.hint, 422) from error
    except ModelError as error:
        raise RequestError("UnknownModel", f"draft: {error.text}", error.hint, 404) from error
    quant = (
        draft.quant
        or request.draft_quant
        or next(
            (one for one in DRAFT_QUANTS if not quant_fault(draft, one, "gguf")), DRAFT_QUANTS[0]
        )
    )
    try:
        weights = weigh(draft, quant)
    except SpecError as error:
        raise RequestError("BadRequest", f"draft_quant: {error.text}", "Q8_0") from error
    need = weights.device_bytes + context_bytes(draft, shape)
    need += compute_bytes(draft, shape, card=True)
    return need, f"{draft.name} drafts as {quant}"


def _adapter(text: str) -> int:
    """Bytes of an adapter: a file's, or a size as it is."""
    path = Path(text).expanduser()
    if path.is_file():
        return path.stat().st_size
    if not text[:1].isdigit():
        refuse(f"lora: there is no file {text[:80]!r}", "its path, or its size: 160MB")
    return read("lora", parse_memory, text)
