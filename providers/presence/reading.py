"""Which source to believe on which system, each with its deadline.

Linux: logind says whether there is a session at the screen and whether it is locked; when the last
input was, the desktop's own idle counter knows best (X server, GNOME), then logind's hints.
"""

import os
import sys
from collections.abc import Callable

from providers.presence import desktops, logind, power, x11
from providers.presence.asking import Asker, NoAnswer
from providers.presence.facts import Power, Presence, by_idle, unknown
from providers.presence.logind import HEADLESS, Session

Idle = tuple[str, Callable[[], int]]  # (the source's name, milliseconds since the last input)

# How desktops built on GNOME's Mutter call themselves.
GNOMES = ("gnome", "ubuntu", "pop")


def idle_source(session: Session | None, environment: dict[str, str]) -> Idle | None:
    """Who knows when the last input was, on Linux; None where only logind can say.

    Without a session by logind, a display in our own environment is one.
    """
    wayland = bool(environment.get("WAYLAND_DISPLAY"))
    kind = session.kind if session else "wayland" if wayland else "x11"
    display = (session.display if session else "") or environment.get("DISPLAY", "")
    if session is not None and session.kind == "tty" and not session.idle_since_us:
        return f"terminal {session.tty}", lambda: desktops.read_terminal(session.tty)
    if kind == "x11" and display:
        return f"X server {display}", lambda: x11.read_idle_ms(display)
    desktop = session.desktop if session else environment.get("XDG_CURRENT_DESKTOP", "")
    if kind == "wayland" and any(name in desktop.lower() for name in GNOMES):
        return "GNOME", desktops.read_mutter
    return None


class PresenceReader:
    """Reads this machine, as often as it is asked; what hangs is named, and asked once."""

    def __init__(self, platform: str = sys.platform) -> None:
        self.platform = platform
        self.logind = Asker(logind.NAME, logind.read_session)
        self.power = Asker("power", power_reader(platform))
        self._idle: dict[str, Asker[int]] = {}  # one for each counter ever asked: a few

    async def read_power(self) -> Power:
        """Mains or battery; unknown where nobody answers."""
        try:
            return await self.power.answer()
        except NoAnswer:
            return power.UNKNOWN

    async def read_presence(self) -> Presence:
        """Whether somebody is at this machine, by the best source that answers."""
        if self.platform == "darwin":
            return await self._by_idle("ioreg", desktops.read_ioreg, None)
        if self.platform == "win32":
            return await self._by_idle("Windows", desktops.read_windows, None)
        return await self._linux(dict(os.environ))

    async def _linux(self, environment: dict[str, str]) -> Presence:
        if not logind.is_running():
            return await self._without_logind(environment)
        try:
            session = await self.logind.answer()
        except NoAnswer as error:
            return Presence(present=None, idle_ms=None, source=logind.NAME, text=error.text)
        said = logind.presence_of(session, logind.monotonic_us())
        if session is None or not session.person or session.locked:
            return said
        source = idle_source(session, environment)
        return said if source is None else await self._by_idle(*source, said)

    async def _without_logind(self, environment: dict[str, str]) -> Presence:
        if not environment.get("DISPLAY") and not environment.get("WAYLAND_DISPLAY"):
            return HEADLESS
        source = idle_source(None, environment)
        if source is None:
            return unknown("desktop", "no source knows this desktop's last input")
        return await self._by_idle(*source, None)

    async def _by_idle(
        self, name: str, ask: Callable[[], int], otherwise: Presence | None
    ) -> Presence:
        """What the idle counter says; where it can't, the other, if that knows anything."""
        asker = self._idle.setdefault(name, Asker(name, ask))
        try:
            return by_idle(name, await asker.answer())
        except NoAnswer as error:
            if otherwise is not None and otherwise.present is not None:
                return otherwise
            return Presence(present=None, idle_ms=None, source=name, text=error.text)


def power_reader(platform: str) -> Callable[[], Power]:
    """Who knows of mains and battery on this system."""
    return {"darwin": power.read_pmset, "win32": power.read_windows}.get(platform, power.read_sysfs)
