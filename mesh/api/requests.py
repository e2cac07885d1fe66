"""What a person or a program may ask: JSON or options in, checked values out."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

from mathcore.planner.query import Limits
from mathcore.units import parse_duration_ms, parse_nusd
from mesh.api.errors import RequestError
from mesh.state.facts.job import JobSubmitted

# Ceilings no real request comes near; they keep byte arithmetic far below 2**62 and payloads small.
MAX_BATCH = 65_536
MAX_CONTEXT = 100_000_000
MAX_PROMPT_CHARS = 32_768  # a prompt travels in the ledger, whose events hold 64 KiB
MAX_NOTE_CHARS = 8_192
MAX_COMMAND_WORDS = 256
MAX_WHAT_IFS = 64
MAX_FLEET = 4096  # devices in a question; the body that carries them holds 1 MiB
MAX_TPS = 1e9

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CONTEXT)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)]
Number = float | Annotated[str, msgspec.Meta(max_length=40)]
KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "fp8", "auto")


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

    `fleet` describes such hardware in the words of `fleet devices add`. `sets`: whether devices
    are planned together, too.
    """

    model: Name
    context: Count = 4096
    what_if: Annotated[list[Name], msgspec.Meta(max_length=MAX_WHAT_IFS)] = []
    sets: bool = True
    fleet: Annotated[list[dict[str, object]], msgspec.Meta(max_length=MAX_FLEET)] = []


class JobRequest(Ask, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A job: a model with a prompt, or a command; the same `job_id` again is the same job."""

    model: Name | None = None
    command: Annotated[list[Name], msgspec.Meta(max_length=MAX_COMMAND_WORDS)] | None = None
    prompt: Annotated[str, msgspec.Meta(max_length=MAX_PROMPT_CHARS)] = ""
    context: Count | None = None
    job_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    cwd: str | None = None


# What a job hands on to the planner, under the same names.
ASKED = Ask.__struct_fields__

Request = TypeVar("Request", bound=msgspec.Struct)
Asked = TypeVar("Asked", PlanRequest, JobRequest)


def parse_plan(given: Mapping[str, object]) -> PlanRequest:
    """A planning question, or RequestError naming the field that is wrong."""
    return _bounded(convert(given, PlanRequest))


def parse_job(given: Mapping[str, object]) -> JobRequest:
    """A job, or RequestError naming the field that is wrong."""
    job = convert(given, JobRequest)
    if (job.model is None) == (not job.command):
        raise RequestError(
            "BadRequest", "a job is either a model or a command", "give exactly one of the two"
        )
    return _bounded(job)


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


def job_fact(job_id: str, request: JobRequest) -> JobSubmitted:
    """The job as it is signed: signed bytes hold no floats, so numbers travel as text."""
    return JobSubmitted(
        job_id=job_id,
        kind="command" if request.command else "model",
        prompt=request.prompt,
        batch=request.batch,
        objective=request.objective,
        model=request.model,
        command=None if request.command is None else tuple(request.command),
        cwd=request.cwd,
        context=request.context,
        tokens=request.tokens,
        prompt_tokens=request.prompt_tokens,
        engine=request.engine,
        quant=request.quant,
        kv_type=request.kv_type,
        on=request.on,
        max_latency=request.max_latency,
        max_latency_ms=request.max_latency_ms,
        ttft=request.ttft,
        deadline=request.deadline,
        min_tps=_as_text(request.min_tps),
        max_price=request.max_price,
        max_cost=request.max_cost,
        min_quality=_as_text(request.min_quality),
    )


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


def convert(given: Mapping[str, object], kind: type[Request]) -> Request:
    """The struct of these fields; RequestError names the one that is wrong."""
    try:
        return msgspec.convert(dict(given), kind, strict=True)
    except msgspec.ValidationError as error:
        fields = ", ".join(kind.__struct_fields__)
        raise RequestError("BadRequest", _sentence(str(error)), f"fields: {fields}") from error


def _as_text(given: float | str | None) -> str | None:
    return None if given is None else str(given)


def _ms(field: str, text: str | None) -> int | None:
    return None if text is None else _read(field, parse_duration_ms, text, "say 30s, 5m or 2h")


def _nusd(field: str, text: str | None) -> int | None:
    return None if text is None else _read(field, parse_nusd, text, "say 0.50")


def _number(field: str, value: float | str | None, most: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:
        raise RequestError("BadRequest", f"{field}: {value!r}", f"a number from 0 to {most:g}")
    return number


def _read(field: str, parse: Callable[[str], int], text: str, hint: str) -> int:
    try:
        return parse(text)
    except ValueError as error:
        raise RequestError("BadRequest", f"{field}: {error}", hint) from error


def _sentence(message: str) -> str:
    """msgspec's "Expected … - at `$.batch`" with the field first, as a person reads it."""
    what, _, where = message.partition(" - at `$.")
    if "matching regex" in what:  # the one pattern there is: of names
        what = "takes letters, digits, dots, dashes and underscores, a letter or digit first"
    return f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}" if where else what


def _bounded(request: Asked) -> Asked:
    limits_of(request)
    if request.kv_type is not None and request.kv_type not in KV_TYPES:
        raise RequestError(
            "BadRequest", f"unknown KV type {request.kv_type!r}", f"one of {', '.join(KV_TYPES)}"
        )
    tokens, context = request.tokens, request.context
    if tokens is not None and context is not None and tokens > context:
        raise RequestError(
            "BadRequest",
            f"{tokens} tokens do not fit a context of {context}",
            "raise context or lower tokens",
        )
    return request
