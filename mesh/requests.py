"""What a person or a program may ask: JSON or options in, checked values out."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeVar

import msgspec

from mathcore.hardware import GpuFacts, lookup_gpu
from mathcore.units import parse_bytes, parse_duration_ms, parse_nusd
from mesh.errors import RequestError

# Ceilings no real request comes near; they keep byte arithmetic far below 2**62 and payloads small.
MAX_BATCH = 65_536
MAX_CONTEXT = 100_000_000
MAX_PROMPT_CHARS = 32_768  # a prompt travels in the ledger, whose events hold 64 KiB
MAX_NOTE_CHARS = 8_192
MAX_COMMAND_WORDS = 256
ENGINES = ("llama.cpp", "mlx", "ollama", "tgi", "vllm")
# 24 GiB cards were seen to report 0.48 GiB less than their name says, 48 GiB ones 0.60.
DRIVER_RESERVE_BYTES = 512 * 1024 * 1024
# A card nobody catalogued: the median of the desktop cards that are. Its basis says "prior".
PRIOR_BANDWIDTH = 500_000_000_000
# US residential mean, $0.15 a kWh; `tariff_nusd_per_kwh` in fleet.toml sets your own.
DEFAULT_TARIFF_NUSD_PER_KWH = 150_000_000

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
    job_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    cwd: str | None = None


class DeviceRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Hardware described by hand, in the words of `fleet devices add`."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    gpu: Name
    memory: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    network: str | None = None
    backends: str | None = None
    location: Literal["lan", "tailnet", "cloud"] = "lan"
    transport: Literal["agent", "ssh", "api"] = "ssh"
    price: str | None = None
    lifetime: str | None = None
    watts: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None


Request = TypeVar("Request", PlanRequest, JobRequest, DeviceRequest)
Ask = TypeVar("Ask", PlanRequest, JobRequest)


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


def parse_device(given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """(device_id, `device_registered` payload) of hand-described hardware.

    An accelerator outside the catalogue needs its memory; its speed then rests on the class prior.
    """
    asked = _convert(given, DeviceRequest)
    known = lookup_gpu(asked.gpu)
    if known is None and asked.memory is None:
        raise RequestError(
            "BadRequest", f"{asked.gpu!r} is not in the catalogue", "add --memory 24GiB"
        )
    memory = _read("memory", parse_bytes, asked.memory) if asked.memory else 0
    memory = memory or (known.memory_bytes if known else 0)
    lifetime = _read("lifetime", _months, asked.lifetime) if asked.lifetime else 60
    return f"dev-{asked.name.lower()}", {
        "name": asked.name,
        "kind": known.kind if known else "gpu",
        "model": known.name if known else asked.gpu,
        "count": asked.count,
        "memory_bytes": memory,
        "free_bytes": usable_bytes(memory, known),
        "free_basis": "estimated",
        "bandwidth_bytes_per_s": known.bandwidth_bytes_per_s if known else PRIOR_BANDWIDTH,
        "bandwidth_basis": "catalogue" if known else "prior",
        "flops": known.flops if known else 0,
        "watts": asked.watts or (known.watts if known else 0),
        "engines": _engines(asked.backends),
        "location": asked.location,
        "transport": asked.transport,
        "provider": asked.transport,
        "cores": asked.cores or 0,
        "network": asked.network or "",
        "price_nusd": _read("price", parse_nusd, asked.price) if asked.price else 0,
        "lifetime_months": lifetime,
        "tariff_nusd_per_kwh": DEFAULT_TARIFF_NUSD_PER_KWH,
        "described_by": "hand",
    }


def usable_bytes(memory_bytes: int, known: GpuFacts | None) -> int:
    """What a driver leaves of nominal memory: seen on that card, else the seen minimum less."""
    if known is not None and known.usable_bytes:
        return min(memory_bytes, known.usable_bytes)
    return max(0, memory_bytes - DRIVER_RESERVE_BYTES)


def _engines(backends: str | None) -> list[str]:
    chosen = [word.strip().lower() for word in (backends or "llama.cpp").split(",")]
    unknown = [word for word in chosen if word not in ENGINES]
    if unknown:
        raise RequestError(
            "BadRequest", f"unknown backend {unknown[0]!r}", f"one of {', '.join(ENGINES)}"
        )
    return sorted(set(chosen))


def _months(text: str) -> int:
    months = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= months <= 1200:
        raise ValueError(f"{text!r} is not a number of months between 1 and 1200")
    return months


def _read(field: str, parse: Callable[[str], int], value: str) -> int:
    try:
        return parse(value)
    except ValueError as error:
        raise RequestError("BadRequest", f"{field}: {error}", "fleet devices add --help") from error


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


def _bounded(request: Ask) -> Ask:
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
