"""What a person or a program may ask to be run: a model with a prompt, or a command."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from mathcore.units import parse_duration_ms
from mesh.api.bodies import Body, Sealed, base_name, label_of
from mesh.api.errors import RequestError
from mesh.api.fields import read, refuse
from mesh.api.lines import parse_lines
from mesh.api.requests import (
    MAX_COMMAND_WORDS,
    MAX_ENV_NAMES,
    MAX_PROMPT_CHARS,
    Ask,
    Count,
    EnvName,
    Name,
    bounded,
    convert,
)
from mesh.state.facts.job import NORMAL_PRIORITY, JobSealed

Priority = Annotated[int, msgspec.Meta(ge=0, le=100)]
PriorityClass = Literal["critical", "high", "normal", "low", "scavenger"]
PRIORITIES: dict[str, int] = {"critical": 100, "high": 75, "normal": 50, "low": 25, "scavenger": 0}
HOLD = "hold"
REPLACE = "replace:"
# A model's answer comes out the same wherever and however often it is made; what a command did the
# first time nobody knows.
USUAL_RETRIES = 2
MAX_RETRIES = 8
# Shorter than the time in which a link that blinks is missed, a replacement would be for nothing.
MIN_REPLACE_MS = 30_000


class JobRequest(Ask, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A job: a model with a prompt, or a command; the same `job_id` again is the same job.

    `on_disconnect`: "hold" waits for an owner that is not heard of, "replace:10m" tries elsewhere
    after so long, and `reconcile` says which attempt goes on when both are heard of again. `on`: a
    device's id, the name of a device, peer or host, "any", "ssh", or missing: this peer's own.
    `lines`: many requests in place of a prompt, JSON to a line. `serve`: until it is cancelled.
    `workdir`: a folder of the home's or a repository, whose files go where the command runs. `key`:
    the name or id of a key of this peer's, in whose budgets it counts, too.
    """

    model: Name | None = None
    command: Annotated[list[Name], msgspec.Meta(max_length=MAX_COMMAND_WORDS)] | None = None
    prompt: Annotated[str, msgspec.Meta(max_length=MAX_PROMPT_CHARS)] = ""
    lines: Annotated[str, msgspec.Meta(max_length=MAX_PROMPT_CHARS)] = ""
    serve: bool = False
    context: Count | None = None
    job_id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    cwd: str | None = None
    workdir: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    env: Annotated[dict[EnvName, str], msgspec.Meta(max_length=MAX_ENV_NAMES)] | None = None
    label: Name | None = None
    key: Name | None = None
    priority: Priority | PriorityClass = NORMAL_PRIORITY
    preemptible: bool = False
    retries: Annotated[int, msgspec.Meta(ge=0, le=MAX_RETRIES)] | None = None
    on_disconnect: Annotated[str, msgspec.Meta(max_length=40)] = HOLD
    reconcile: Literal["keep_original", "keep_replacement", "longest_running", "best_score"] = (
        "best_score"
    )


def parse_job(given: Mapping[str, object]) -> JobRequest:
    """A job, or RequestError naming the field that is wrong."""
    job = convert(given, JobRequest)
    if (job.model is None) == (not job.command):
        raise RequestError(
            "BadRequest", "a job is either a model or a command", "give exactly one of the two"
        )
    for name in ("env", "workdir"):
        if getattr(job, name) and not job.command:
            refuse(f"{name}: a model takes none", "leave it away, or run a command")
    if bool(job.prompt) + bool(job.lines) + job.serve > 1:
        refuse("lines: a job has a prompt, or lines, or serves", "give one of the three")
    if job.command and (job.lines or job.serve):
        refuse("lines: a command answers no requests", "name a model instead")
    if job.lines:
        parse_lines(job.lines)
    replace_after_ms(job)
    return bounded(job, job.context)


def replace_after_ms(job: JobRequest) -> int:
    """How long an owner may be silent before the job is tried elsewhere; 0 = for ever."""
    if job.on_disconnect == HOLD:
        return 0
    if not job.on_disconnect.startswith(REPLACE):
        refuse(f"on_disconnect: {job.on_disconnect[:40]!r}", 'say "hold" or "replace:10m"')
    found = read("on_disconnect", parse_duration_ms, job.on_disconnect.removeprefix(REPLACE))
    if found < MIN_REPLACE_MS:
        refuse(
            f"on_disconnect: {job.on_disconnect[:40]!r} is less than a link may blink",
            f"at least replace:{MIN_REPLACE_MS // 1000}s",
        )
    return found


def body_of(request: JobRequest) -> Body:
    """What was typed for this job: the part of it that no event holds."""
    return Body(
        prompt=request.prompt,
        lines=request.lines,
        model=request.model or "",
        command=tuple(request.command or ()),
        cwd=request.cwd or "",
        env=request.env or {},
    )


def job_fact(
    job_id: str,
    request: JobRequest,
    body: Sealed,
    label: str,
    model_bytes: int = 0,
    key_id: str = "",
) -> JobSealed:
    """The job as it is signed: nothing that was typed, and no floats, so numbers travel as text."""
    return JobSealed(
        job_id=job_id,
        kind="command" if request.command else "server" if request.serve else "model",
        lines=len(parse_lines(request.lines)) if request.lines else 0,
        label=label_of(request.label or label),
        body_hash=body.body_hash,
        body_bytes=body.body_bytes,
        batch=request.batch,
        objective=request.objective,
        model=None if request.model is None else base_name(request.model),
        model_bytes=model_bytes,
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
        priority=PRIORITIES.get(str(request.priority), 0)
        if isinstance(request.priority, str)
        else request.priority,
        preemptible=request.preemptible,
        retries=_retries(request),
        replace_after_ms=replace_after_ms(request),
        reconcile=request.reconcile if request.on_disconnect != HOLD else "",
        key_id=key_id,
    )


def _retries(request: JobRequest) -> int:
    if request.retries is not None:
        return request.retries
    return 0 if request.command else USUAL_RETRIES


def _as_text(given: float | str | None) -> str | None:
    return None if given is None else str(given)
