"""What is loaded beside a model: its projector, a model that drafts, adapters; and what is not."""

from contextlib import suppress

from mathcore.engines.clip import (
    clip_compute_bytes,
    clip_weights_bytes,
    warm_up_side,
)
from mathcore.engines.draft import Draft
from mathcore.engines.flags import reads_at_once
from mathcore.engines.footprint import MICRO_BATCH, Beside
from mathcore.model.spec import ModelSpec, Projector, SpecError
from mathcore.quant.weights import quant_fault, weigh
from mathcore.units import parse_memory, show_bytes, show_count
from mesh.api.errors import RequestError
from mesh.api.fields import read, refuse
from mesh.api.flags import MTP
from mesh.api.requests import PlanRequest
from providers.base import ModelError, UnreadableModel
from providers.sources.parts import read_projector, with_heads
from providers.sources.resolve import resolve
from providers.sources.typed import typed_path

DRAFT_QUANTS = ("Q8_0", "F16")  # a draft model is small, and must agree with the large one
# Language models whose picture tower lies in a file of its own.
SEEING = ("qwen2vl", "qwen3vl", "qwen3vlmoe", "llama4", "mllama", "cogvlm")


def beside_of(
    request: PlanRequest, spec: ModelSpec
) -> tuple[Beside, Draft | None, tuple[str, ...]]:
    """(bytes loaded beside the model, what drafts, a sentence for each part counted or left out).

    RequestError for an option of a part that is not there.
    """
    _refuse_idle(request, spec)
    weights, compute, notes = _projector(request, spec)
    if reads_at_once(spec):
        notes.append(f"{spec.name} makes no tokens: what counts is how fast it reads a prompt")
    if reads_at_once(spec) and request.ubatch is None and request.context > MICRO_BATCH:
        notes.append(
            f"{spec.name} reads a text in one pass: start llama.cpp with --ubatch-size "
            f"{request.context}"
        )
    draft, more = _draft(request, spec)
    adapters = sum(_adapter(text) for text in request.lora)
    beside = Beside(
        projector_bytes=weights,
        projector_compute_bytes=compute,
        draft_bytes=draft.total_bytes(request.context, request.batch) if draft else 0,
        adapter_bytes=adapters,
    )
    return beside, draft, (*notes, *more)


def _refuse_idle(request: PlanRequest, spec: ModelSpec) -> None:
    """An option that would change nothing is not passed over."""
    if request.draft_quant is not None and request.draft is None:
        refuse("draft_quant: nothing drafts", "name it: --draft MODEL")
    seen = request.mmproj is not None or spec.projector is not None
    if request.image_size is not None and not (seen and request.vision):
        refuse(f"image_size: no vision tower of {spec.name} is counted", "add --mmproj FILE")


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


def _draft(request: PlanRequest, spec: ModelSpec) -> tuple[Draft | None, list[str]]:
    """What drafts tokens: its weights, its cache of the same context, its buffer."""
    if request.draft is None:
        return None, []
    if request.draft.lower() == MTP:
        found, what = _heads(request, spec), f"the heads of {spec.name} that draft"
    else:
        found, what = _model(request)
    need = show_bytes(found.total_bytes(request.context, request.batch))
    size = f"{request.batch} x {show_count(request.context)} tokens"
    return found, [f"{what}: {need} for {size}; no gain in speed is assumed before one is measured"]


def _cache_type(request: PlanRequest) -> str:
    """The cache's type where llama.cpp knows it; an unsaid one is its default."""
    named = request.kv_type or "f16"
    return named if named in ("f16", "bf16", "f32") else "f16"


def _heads(request: PlanRequest, spec: ModelSpec) -> Draft:
    """A model's own drafting layers; where the file has them, its weights count theirs."""
    whole = spec if spec.draft_layers else with_heads(request.model)
    if whole is None or whole.draft_layers == 0:
        refuse(f"draft: {spec.name} has no heads that draft", "name a small model of its family")
    extra = 0
    if whole is not spec:
        quant = request.quant or request.draft_quant or DRAFT_QUANTS[0]
        quant = DRAFT_QUANTS[0] if quant_fault(whole, quant, "gguf") else quant
        extra = weigh(whole, quant).total_bytes - weigh(spec, quant).total_bytes
    return Draft(spec=whole, weights_bytes=extra, kv_type=_cache_type(request), heads=True)


def _model(request: PlanRequest) -> tuple[Draft, str]:
    """A model of its own, and what is said of it."""
    try:
        spec = resolve(request.draft or "").spec
    except UnreadableModel as error:
        raise RequestError("UnreadableModel", f"draft: {error.text}", error.hint, 422) from error
    except ModelError as error:
        raise RequestError("UnknownModel", f"draft: {error.text}", error.hint, 404) from error
    usual = (one for one in DRAFT_QUANTS if not quant_fault(spec, one, "gguf"))
    quant = spec.quant or request.draft_quant or next(usual, DRAFT_QUANTS[0])
    try:
        weights = weigh(spec, quant)
    except SpecError as error:
        raise RequestError("BadRequest", f"draft_quant: {error.text}", "Q8_0") from error
    kept = Draft(spec=spec, weights_bytes=weights.device_bytes, kv_type=_cache_type(request))
    return kept, f"{spec.name} drafts as {quant}"


def _adapter(text: str) -> int:
    """Bytes of an adapter: a file's, or a size as it is."""
    with suppress(OSError):  # no file can be called so
        path = typed_path(text)
        if path.is_file():
            return path.stat().st_size
    if not text[:1].isdigit():
        refuse(f"lora: there is no file {text[:80]!r}", "its path, or its size: 160MB")
    return read("lora", parse_memory, text)
