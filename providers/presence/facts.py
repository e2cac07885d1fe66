"""What is known of the person at a machine and of its power. None is unknown, its own value."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What one source says. `idle_ms`: since the last input, None where the source can't tell.

    `desktop`: somebody can sit at this machine; False on a machine without a session of its own.
    """

    present: bool | None
    idle_ms: int | None
    source: str
    text: str
    desktop: bool = True


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """`on_mains` of a machine without a battery is True; `percent` is what the batteries hold."""

    on_mains: bool | None
    percent: int | None


# Input this recent is somebody at the machine, where a source tells when it was and no policy asks
# for another time: reading a page takes minutes.
PRESENT_MS = 300_000


def by_idle(source: str, idle_ms: int) -> Presence:
    """What a source says that knows only when the last input was."""
    text = f"{source}: last input {_ago(idle_ms)} ago"
    return Presence(present=idle_ms < PRESENT_MS, idle_ms=idle_ms, source=source, text=text)


def unknown(source: str, why: str) -> Presence:
    """A source that was asked and can't tell."""
    return Presence(present=None, idle_ms=None, source=source, text=f"{source}: {why}")


def _ago(idle_ms: int) -> str:
    seconds = idle_ms // 1000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
