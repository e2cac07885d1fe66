"""Idle time from GNOME's Mutter, a terminal, macOS and Windows: parsers, and who asks."""

import ctypes
import re
import subprocess
import time
from pathlib import Path

LIMIT_S = 5.0  # these tools answer in milliseconds; the asker's own deadline is shorter
# Windows counts milliseconds since boot in 32 bits: it wraps after 49.7 days.
TICKS = 2**32
MUTTER = (
    "busctl", "--user", "--no-pager", "call", "org.gnome.Mutter.IdleMonitor",
    "/org/gnome/Mutter/IdleMonitor/Core", "org.gnome.Mutter.IdleMonitor", "GetIdletime",
)  # fmt: skip
IOREG = ("/usr/sbin/ioreg", "-c", "IOHIDSystem", "-d", "4")


def idle_of_mutter(text: str) -> int | None:
    """Milliseconds in busctl's "t 12345"."""
    found = re.fullmatch(r"t (\d{1,18})", text.strip(), re.ASCII)
    return int(found[1]) if found else None


def idle_of_ioreg(text: str) -> int | None:
    """Milliseconds from HIDIdleTime, which is in nanoseconds; the least of several."""
    found = re.findall(r'"HIDIdleTime" = (\d{1,20})', text, re.ASCII)
    return min(int(ns) for ns in found) // 1_000_000 if found else None


def idle_of_ticks(now: int, last: int) -> int:
    """Milliseconds from the last input's tick until now, also across the counter's wrap."""
    return (now - last) % TICKS


def idle_of_atime(atime_ns: int, now_ns: int) -> int:
    """Milliseconds since a terminal was typed at. The kernel moves its atime every 8 s at most."""
    return max(0, now_ns - atime_ns) // 1_000_000


def read_mutter() -> int:
    """Of this user's GNOME session; OSError where there is none."""
    return _known(idle_of_mutter(_output(MUTTER)), "GNOME's idle monitor doesn't answer")


def read_ioreg() -> int:
    """Of this Mac."""
    return _known(idle_of_ioreg(_output(IOREG)), "ioreg knows no HIDIdleTime")


def read_terminal(name: str) -> int:
    """Of a terminal by its name below /dev ("tty2")."""
    if not re.fullmatch(r"tty\d{1,3}|pts/\d{1,6}", name, re.ASCII):
        raise OSError(f"{name!r} is no terminal")
    return idle_of_atime(Path("/dev", name).stat().st_atime_ns, time.time_ns())


class _LastInput(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("tick", ctypes.c_uint32))


def read_windows() -> int:
    """Of this user's session; OSError in a service's, which sees nobody's input."""
    libraries = getattr(ctypes, "windll", None)
    if libraries is None:
        raise OSError("not Windows")
    user, kernel, session = libraries.user32, libraries.kernel32, ctypes.c_uint32()
    kernel.ProcessIdToSessionId(kernel.GetCurrentProcessId(), ctypes.byref(session))
    if session.value == 0:
        raise OSError("a service sees nobody's input: start fleet in the user's session")
    last = _LastInput(size=ctypes.sizeof(_LastInput))
    if not user.GetLastInputInfo(ctypes.byref(last)):
        raise OSError("Windows doesn't tell the last input")
    return idle_of_ticks(kernel.GetTickCount() % TICKS, last.tick)


def _output(argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.SubprocessError as error:
        raise OSError(f"{argv[0]} has not answered for {LIMIT_S:.0f} s") from error
    return done.stdout if done.returncode == 0 else ""


def _known(idle_ms: int | None, why: str) -> int:
    if idle_ms is None:
        raise OSError(why)
    return idle_ms
