"""What a person or a program may ask: JSON or options in, checked values out."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

from mathcore.engines.flags import MAX_OVERRIDES
from mathcore.planner.query import Limits
from mathcore.quant.families import ENGINES, KV_TYPES
from mathcore.quant.formats import QUANTS
from mathcore.quant.names import canonical_quant
from mathcore.units import parse_duration_ms, parse_hourly_nusd, parse_memory, parse_nusd
from mesh.api import flags
from mesh.api.engine_flags import options_of
from mesh.api.errors import RequestError
from mesh.api.fields import (
    MAX_BATCH,
    MAX_CONTEXT,
    MAX_UBATCH,
    counts,
    missing_field,
    read,
    refuse,
    unknown_field,
    unknown_name,
    wrong_value,
)

# What a plan, a run, a sweep and a capacity take where nobody says: an ordinary chat turn.
DEFAULT_CONTEXT = 4096
DEFAULT_PROMPT_TOKENS = 512
DEFAULT_TOKENS = 256
# A request's body as the HTTP server takes it. A plan or a job is under 4 KiB and a long prompt
# some hundred KiB; 1 MiB leaves room for both while 16 concurrent senders cost at most 16 MiB.
MAX_BODY_BYTES = 1 << 20
# A prompt stays in a file of its home, so only the request that brings it bounds it: a character
# takes a byte there at least.
MAX_PROMPT_CHARS = MAX_BODY_BYTES
# Ceilings no real request comes near; they keep payloads small.
MAX_ENV_NAMES = 256
MAX_NOTE_CHARS = 8_192
MAX_COMMAND_WORDS = 256
MAX_WHAT_IFS = 64
MAX_FLEET = 4096  # devices in a question; the body that carries them holds 1 MiB
MAX_TPS = 1e9
MAX_IMAGE_SIDE = 16_384  # pixels; a tower's scores grow with the fourth power of it
MAX_ADAPTERS = 64
MAX_LAYERS = 10_000  # of any model, and "all" in llama.cpp's guides is 99 or 999
MAX_CARDS = 64  # a model is split over; no engine's single server takes more

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
# What a shell can set: a name with "=" would become another one.
EnvName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CONTEXT)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)]
Cards = Annotated[int, msgspec.Meta(ge=1, le=MAX_CARDS)]
Number = float | Annotated[str, msgspec.Meta(max_length=40)]


class Ask(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """How a model should run. Counts are per sequence, `batch` sequences at once.

    Times are text like "30s", money is dollars like "0.50"; a limit not given does not bind. In the
    ledger, whose signed bytes hold no floats, numbers are text.
    """

    batch: Batch = 1
    tokens: Count | None = None
    prompt_tokens: Count | None = None
    engine: Name | None = None
    quant: Name | None = None
    kv_type: Name | None = None
    max_latency: str | None = None
    max_latency_ms: Count | None = None
    ttft: str | None = None
    deadline: str | None = None
    min_tps: Number | None = None
    max_price: str | None = None
    max_cost: str | None = None
    min_quality: Number | None = None
    objective: Literal["cheapest", "fastest", "balanced"] = "balanced"
    on: Name | None = None


class PlanRequest(Ask, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A planning question; `what_if` names hardware to plan for instead of the fleet's.

    `fleet` describes such hardware in the words of `fleet devices add`. `ram` and `rate` hold for
    each of either that says nothing of its own: "128GB" of host RAM, "0.45/h" for the machine.
    `sets`: whether devices are planned together, too. `allow_beyond`: a context longer than the
    model is published for is planned with a warning, not refused. `cloud`: machines to rent, too.
    `ways_out`: whether what would do is looked for where nothing does, which takes many times as
    long as the answer itself. What llama.cpp alone knows of has the names of its own options.
    """

    model: Name
    context: Count = DEFAULT_CONTEXT
    what_if: Annotated[list[Name], msgspec.Meta(max_length=MAX_WHAT_IFS)] = []
    sets: bool = True
    ways_out: bool = True
    allow_beyond: bool = False
    cloud: bool = False
    fleet: Annotated[list[dict[str, object]], msgspec.Meta(max_length=MAX_FLEET)] = []
    ram: str | None = None
    rate: str | None = None
    gpu_layers: Annotated[int, msgspec.Meta(ge=0, le=MAX_LAYERS)] | Literal["all"] | None = None
    n_cpu_moe: Annotated[int, msgspec.Meta(ge=0, le=MAX_LAYERS)] | None = None
    cpu_moe: bool = False
    tensor_split: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    override_tensor: Annotated[list[Name], msgspec.Meta(max_length=MAX_OVERRIDES)] = []
    flash_attn: bool = True
    ubatch: Annotated[int, msgspec.Meta(ge=1, le=MAX_UBATCH)] | None = None
    cache_type_k: Name | None = None
    cache_type_v: Name | None = None
    kv_unified: bool = False
    swa_full: bool = False
    backend: Literal["cuda", "rocm", "vulkan", "metal"] | None = None
    mmproj: Name | None = None
    vision: bool = True
    image_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_IMAGE_SIDE)] | None = None
    draft: Name | None = None
    draft_quant: Name | None = None
    lora: Annotated[list[Name], msgspec.Meta(max_length=MAX_ADAPTERS)] = []
    parallel: Batch | None = None
    # Of server engines, under their own names.
    gpu_memory_utilization: Number | None = None
    mem_fraction_static: Number | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    tensor_parallel: Cards | None = None
    pipeline_parallel: Cards | None = None
    prefix_caching: bool | None = None
    mamba_ssm_cache_dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    enforce_eager: bool = False
    engine_build: Annotated[str, msgspec.Meta(max_length=20)] | None = None


# What a job hands on to the planner, under the same names.
ASKED = Ask.__struct_fields__

Request = TypeVar("Request", bound=msgspec.Struct)
Asked = TypeVar("Asked", bound=Ask)


def parse_plan(given: Mapping[str, object]) -> PlanRequest:
    """A planning question, or RequestError naming the field that is wrong."""
    asked = _bounded_plan(flags.as_flagged(convert(given, PlanRequest)))
    flags.flags_of(asked)
    options_of(asked)
    for field, parse in (("ram", parse_memory), ("rate", parse_hourly_nusd)):
        value = getattr(asked, field)
        if value is not None:
            read(field, parse, value)
            if not asked.what_if and not asked.fleet:
                refuse(f"{field}: says something of hardware that is described", "add what_if")
    if asked.cloud and asked.on is not None:
        refuse("cloud: on names one device, which is not to rent", "give one of the two")
    return asked


def parse_note(text: str) -> str:
    """The note's text, trimmed; refused when empty or too long."""
    note = text.strip()
    if not note:
        raise RequestError("BadRequest", "the note is empty", "fleet note TEXT")
    if len(note) > MAX_NOTE_CHARS:
        raise RequestError(
            "BadRequest", f"the note has {len(note)} characters", f"at most {MAX_NOTE_CHARS}"
        )
    return note


def limits_of(request: Ask) -> Limits:
    """The request's limits in the planner's units; RequestError for one that can't be read."""
    latency = request.max_latency_ms
    return Limits(
        max_latency_ms=_ms("max_latency", request.max_latency) if latency is None else latency,
        max_ttft_ms=_ms("ttft", request.ttft),
        deadline_ms=_ms("deadline", request.deadline),
        min_tokens_per_s=_number("min_tps", request.min_tps, MAX_TPS),
        max_nusd_per_hour=_nusd("max_price", request.max_price),
        max_cost_nusd=_nusd("max_cost", request.max_cost),
        min_quality=_number("min_quality", request.min_quality, 1.0),
    )


def lengths(prompt: int | None, tokens: int | None, context: int) -> tuple[int, int]:
    """(prompt, answer) in tokens: what was asked for, else the usual as far as there is room.

    RequestError where what was asked for does not fit.
    """
    _fits(prompt, tokens, context)
    answer = tokens or min(DEFAULT_TOKENS, max(1, context - (prompt or 1)))
    return prompt or min(DEFAULT_PROMPT_TOKENS, max(1, context - answer)), answer


PAGES = {"PlanRequest": "fleet plan --help", "JobRequest": "fleet run --help"}
_FIELD = re.compile(r"`\$\.(\w+)")
_QUOTED = re.compile(r"field `(.*?)`", re.S)


def convert(given: Mapping[str, object], kind: type[Request]) -> Request:
    """The struct of these fields; RequestError names the one that is wrong."""
    fields = counts(given)
    try:
        return msgspec.convert(fields, kind, strict=True)
    except msgspec.ValidationError as error:
        _explain(str(error), fields, kind)
        raise RequestError("BadRequest", str(error)) from error


def _explain(message: str, given: Mapping[str, object], kind: type[Request]) -> None:
    """Raises what msgspec found wrong as a person reads it, where its words say which field."""
    place, quoted = _FIELD.search(message), _QUOTED.search(message)
    if place is not None:
        wrong_value(place[1], given.get(place[1]))
    page = PAGES.get(kind.__name__, "fleet devices add --help")
    if quoted is not None and "unknown" in message:
        unknown_field(quoted[1], kind.__struct_fields__, page)
    if quoted is not None:
        missing_field(quoted[1])


def _ms(field: str, text: str | None) -> int | None:
    return None if text is None else read(field, parse_duration_ms, text)


def _nusd(field: str, text: str | None) -> int | None:
    return None if text is None else read(field, parse_nusd, text)


def _number(field: str, value: float | str | None, most: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        wrong_value(field, value)
    return number


def _bounded_plan(request: PlanRequest) -> PlanRequest:
    return bounded(request, request.context)


def bounded(request: Asked, context: int | None) -> Asked:
    """The request with its quantisation as we spell it; RequestError for what can't be."""
    limits_of(request)
    _fits(request.prompt_tokens, request.tokens, context)
    if request.kv_type is not None and request.kv_type not in KV_TYPES:
        unknown_name("kv_type", request.kv_type, KV_TYPES)
    if isinstance(request, PlanRequest) and request.cache_type_v not in (None, *KV_TYPES):
        unknown_name("cache_type_v", str(request.cache_type_v), KV_TYPES)
    if request.engine is not None and request.engine not in ENGINES:
        unknown_name("engine", request.engine, ENGINES)
    if request.quant is None:
        return request
    return msgspec.structs.replace(request, quant=_quant(request.quant))


def _quant(text: str) -> str:
    """The quantisation as we spell it, whatever its case and separators."""
    name = canonical_quant(text)
    if name is None:
        unknown_name("quant", text, QUANTS)
    return name


def _fits(prompt: int | None, tokens: int | None, context: int | None) -> None:
    """RequestError where prompt and answer, of at least a token each, exceed the context."""
    if context is None or (prompt is None and tokens is None):
        return
    need = (prompt or 1) + (tokens or 1)
    if need > context:
        asked = " and ".join(
            [
                f"{count} {what} tokens"
                for count, what in ((prompt, "prompt"), (tokens, "answer"))
                if count
            ]
        )
        refuse(
            f"{'prompt_tokens' if prompt else 'tokens'}: {asked} do not fit a context of {context}",
            f"say --context {need}, or ask for fewer tokens",
        )
