"""systemd-logind: who sits at seat0, is the screen locked, does the desktop say it is idle.

Asked by `loginctl`, which speaks to the system bus, so it works from a service, too. `IdleHint` is
worth something only where the desktop sets it: one that never was is unknown, not "no".
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from providers.presence.facts import Presence, by_idle, unknown

SEAT = "seat0"  # the seat of every machine with one screen; logind always names it so
LIMIT_S = 5.0  # it answers in some 5 ms; the asker's own deadline is shorter
PROPERTIES = (
    "Id Seat Remote Type Class Desktop State TTY Display IdleHint IdleSinceHintMonotonic LockedHint"
).split()
NAME = "logind"
HEADLESS = Presence(
    present=False, idle_ms=None, source="headless", text="no session at a screen", desktop=False
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The session in front at the seat. `kind`: x11, wayland, mir, tty or unspecified."""

    id: str
    kind: str
    desktop: str  # "gnome", "KDE", ...
    tty: str
    display: str
    person: bool  # False: the greeter, which waits for somebody to log in
    locked: bool
    idle_hint: bool
    idle_since_us: int  # by CLOCK_MONOTONIC; 0 = the hint was never set


def active_session(text: str) -> str | None:
    """The id in `loginctl show-seat -p ActiveSession`; "" where nobody is; None unreadable."""
    if not text.strip():
        return ""
    found = re.search(r"^ActiveSession=([A-Za-z0-9_-]{0,64})$", text, re.M)
    return found[1] if found else None


def parse_session(text: str) -> Session | None:
    """What `loginctl show-session -p ...` prints; None where it is no session of the seat."""
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if said.get("Seat") != SEAT or said.get("Remote") == "yes" or said.get("State") == "closing":
        return None
    since = said.get("IdleSinceHintMonotonic", "")
    return Session(
        id=said.get("Id", ""),
        kind=said.get("Type", "unspecified"),
        desktop=said.get("Desktop", ""),
        tty=said.get("TTY", ""),
        display=said.get("Display", ""),
        person=not said.get("Class", "user").startswith(("greeter", "lock-screen", "background")),
        locked=said.get("LockedHint") == "yes",
        idle_hint=said.get("IdleHint") == "yes",
        idle_since_us=int(since) if re.fullmatch(r"\d{1,18}", since, re.ASCII) else 0,
    )


def presence_of(session: Session | None, now_us: int) -> Presence:
    """What the hints of the session say; unknown where its desktop sets none."""
    if session is None:
        return HEADLESS
    if not session.person:
        return _gone("the login screen is shown")
    if session.locked:
        return _gone("the screen is locked")
    since_ms = max(0, now_us - session.idle_since_us) // 1000
    if session.kind == "tty" and session.idle_since_us:
        return by_idle(NAME, since_ms)  # logind takes it from the terminal's atime
    if session.idle_hint and session.idle_since_us:
        text = f"{NAME}: the desktop says it is idle"
        return Presence(present=False, idle_ms=since_ms, source=NAME, text=text)
    if session.idle_since_us:
        text = f"{NAME}: the desktop says it is in use"
        return Presence(present=True, idle_ms=None, source=NAME, text=text)
    return unknown(NAME, "this desktop doesn't say whether it is idle")


def _gone(why: str) -> Presence:
    return Presence(present=False, idle_ms=None, source=NAME, text=f"{NAME}: {why}")


def read_session() -> Session | None:
    """The session in front at this machine's seat; None = nobody's. OSError: logind doesn't say."""
    seat = _loginctl("show-seat", SEAT, "-p", "ActiveSession")
    if seat is None:
        return None
    session = active_session(seat)
    if session is None:
        raise OSError("loginctl gave no answer that can be read")
    if not session:
        return None
    properties = [word for name in PROPERTIES for word in ("-p", name)]
    said = _loginctl("show-session", session, *properties)
    return None if said is None else parse_session(said)


def monotonic_us() -> int:
    """The clock of IdleSinceHintMonotonic: CLOCK_MONOTONIC, as Python's on Linux."""
    return time.monotonic_ns() // 1000


def _loginctl(*words: str) -> str | None:
    """What it prints; None where it knows no such seat or session."""
    try:
        done = subprocess.run(
            ["loginctl", "--no-pager", *words],
            capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise OSError(f"loginctl has not answered for {LIMIT_S:.0f} s") from error
    if done.returncode == 0:
        return done.stdout
    if re.search(r"No (seat|session) '|Unknown (seat|session)|not known", done.stderr):
        return None
    lines = done.stderr.strip().splitlines()
    raise OSError(lines[-1] if lines else f"loginctl ended with {done.returncode}")


def is_running(seats: Path = Path("/run/systemd/seats")) -> bool:
    """Whether a logind keeps a seat here: a container often has its tools and folders alone."""
    return (seats / SEAT).exists()
