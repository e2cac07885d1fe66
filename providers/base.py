"""The values that cross the border between the fleet and the things that run its jobs.

Pure: nothing here reads a clock, a file or a socket.
"""

from dataclasses import dataclass, field
from typing import final


class Trouble(Exception):
    """Something outside us broke; says what, and what to do next."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class ModelError(Trouble):
    """A model reference that can't be read as a model."""


@final
class UnreadableModel(ModelError):
    """What was named is there, and is no model that can be read."""


class ProviderError(Trouble):
    """A provider couldn't start, find or stop an attempt. `code`: of what kind, "" for any."""

    code = ""


@final
class NoSpace(ProviderError):
    """The disk there has no room for it."""

    code = "NoSpace"


@final
class DependencyMissing(ProviderError):
    """A program that is needed is not there, or too old."""

    code = "DependencyMissing"


class Unheard(ProviderError):
    """Whoever runs attempts there does not answer: what was asked for may or may not have
    happened. Asked again it gets the same answer."""


@final
class Taken(ProviderError):
    """What an attempt needs is another peer's just now, on a host that both reach: it did not begin
    and may be started again."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything one attempt needs. `env` is added to the environment, `spec` is the engine's.

    `cards`: what the device selection variable gets, indices or UUIDs; `locks`: names of the cards'
    locks on a host that several peers reach.
    """

    job_id: str
    attempt: int
    kind: str  # "model" | "server" | "command"
    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    spec: dict[str, object] = field(default_factory=dict)
    cards: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """Names one runner process for good: a reused pid has other ticks or another boot."""

    job_dir: str
    pid: int
    start_ticks: int
    boot_id: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended. A number the engine didn't tell is 0; `exit_code` -N is signal N.

    `reason`: "ok", "exit", "signal", "oom", "setup", "cancelled", "lost" (runner vanished), or
    "busy" (a card's lock was taken: it never ran).
    """

    exit_code: int
    started_ms: int
    ended_ms: int
    duration_ms: int
    peak_memory_bytes: int
    tokens_generated: int
    prompt_tokens: int
    decode_mtps: int  # milli-tokens per second, all sequences together
    prefill_mtps: int
    engine_memory: dict[str, int]  # weights_bytes, kv_bytes, compute_bytes, state_bytes
    reason: str
    text: str
    paused_ms: int = 0  # of `duration_ms`, stood still: its speeds then teach nothing
