"""What a person or a program may ask: JSON or options in, checked values out, one line for a mistake."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec

from mathcore.units import parse_duration_ms
from mesh.errors import RequestError

# Ceilings no real request comes near; they keep byte arithmetic far below 2**62 and payloads small.
MAX_BATCH = 65_536
MAX_CONTEXT = 100_000_000
MAX_PROMPT_CHARS = 32_768  # a prompt travels in the ledger, whose events hold 64 KiB
MAX_NOTE_CHARS = 8_192
MAX_COMMAND_WORDS = 256

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_CONTEXT)]
Batch = Annotated[int, msgspec.Meta(ge=1, le=MAX_BATCH)]
KV_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


class PlanRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A planning question; `tokens` and `context` are per sequence, `batch` sequences at once."""

    model: Name
    batch: Batch = 1
    context: Count = 4096
    tokens: Count | None = None
    prompt_tokens: Count | None = None
    engine: Name | None = None
    quant: Name | None = None
    kv_type: Name = "f16"
    max_latency: str | None = None
    max_latency_ms: Count | None = None
    on: Name | None = None


class JobRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A job: a model with a prompt, or a command; `key` makes the same request the same job."""

    model: Name | None = None
    command: Annotated[list[Name], msgspec.Meta(max_length=MAX_COMMAND_WORDS)] | None = None
    prompt: Annotated[str, msgspec.Meta(max_length=MAX_PROMPT_CHARS)] = ""
    batch: Batch = 1
    context: Count | None = None
    tokens: Count | None = None
    prompt_tokens: Count | None = None
    engine: Name | None = None
    quant: Name | None = None
    kv_type: Name = "f16"
    max_latency: str | None = None
    max_latency_ms: Count | None = None
    on: Name | None = None
    job_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    cwd: str | None = None


Request = TypeVar("Request", PlanRequest, JobRequest)


def parse_plan(given: Mapping[str, object]) -> PlanRequest:
    """A planning question, or RequestError naming the field that is wrong."""
    return _bounded(_convert(given, PlanRequest))


def parse_job(given: Mapping[str, object]) -> JobRequest:
    """A job, or RequestError naming the field that is wrong."""
    job = _convert(given, JobRequest)
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


def latency_ms(request: PlanRequest | JobRequest) -> int | None:
    """The latency bound in ms, from `max_latency_ms` or text like "30s"."""
    if request.max_latency_ms is not None or request.max_latency is None:
        return request.max_latency_ms
    try:
        return parse_duration_ms(request.max_latency)
    except ValueError as error:
        raise RequestError("BadRequest", f"max_latency: {error}", "say 30s, 5m or 2h") from error


def _convert(given: Mapping[str, object], kind: type[Request]) -> Request:
    try:
        return msgspec.convert(dict(given), kind, strict=True)
    except msgspec.ValidationError as error:
        fields = ", ".join(kind.__struct_fields__)
        raise RequestError("BadRequest", _sentence(str(error)), f"fields: {fields}") from error


def _sentence(message: str) -> str:
    """msgspec's "Expected … - at `$.batch`" with the field first, as a person reads it."""
    what, _, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what.lower()}" if where else what


def _bounded(request: Request) -> Request:
    latency_ms(request)
    if request.kv_type not in KV_TYPES:
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
