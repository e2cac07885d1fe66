"""Machines of the same tailnet: from tailscaled itself, else its command, else the admin API.

None of them says whether a fleet daemon runs there, nor whose: these are addresses to try.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, final

from mesh.edge.discovery.interfaces import is_tailnet
from mesh.edge.discovery.sightings import TAILNET, Sighting, Sightings
from mesh.edge.disk import parse_json

LOOK_S: Final = 30.0
ASK_S: Final = 5.0
# A tailnet of a thousand machines has a status of about a megabyte.
MAX_STATUS_BYTES: Final = 8 << 20
# Machines that are tried; a person's own tailnet has a dozen.
MAX_MACHINES: Final = 64
# tailscale paths/paths.go: where the daemon listens, by system.
SOCKETS: Final = {
    "linux": "/var/run/tailscale/tailscaled.sock",
    "darwin": "/var/run/tailscaled.socket",
    "freebsd": "/var/run/tailscale/tailscaled.sock",
}
EXPIRY_WARNING_DAYS: Final = 14


class TailnetError(Exception):
    """A source did not answer; one line says why."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine of the tailnet."""

    name: str
    addresses: tuple[str, ...]
    online: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TailnetStatus:
    """What a source said: `key_expiry` is of this machine's own key, "" for never."""

    source: str
    running: str
    key_expiry: str
    machines: tuple[Machine, ...]


def parse_status(said: object, source: str) -> TailnetStatus:
    """The JSON of `tailscale status --json` and of LocalAPI; TailnetError if it is neither."""
    if not isinstance(said, dict) or not isinstance(said.get("BackendState"), str):
        raise TailnetError("the status is not tailscaled's")
    peers = said.get("Peer")
    every = list(peers.values()) if isinstance(peers, dict) else []
    machines = [_machine(one) for one in every if isinstance(one, dict)]
    me = said.get("Self")
    expiry = me.get("KeyExpiry", "") if isinstance(me, dict) else ""
    return TailnetStatus(
        source=source,
        running=said["BackendState"][:40],
        key_expiry=str(expiry)[:40],
        machines=tuple(one for one in machines if one.addresses),
    )


def _machine(said: dict[str, Any]) -> Machine:
    texts = said.get("TailscaleIPs")
    name = str(said.get("DNSName") or said.get("HostName") or "").split(".")[0]
    return Machine(
        name=name[:40],
        addresses=_addresses(texts),
        online=said.get("Online") is True and said.get("Expired") is not True,
    )


def _addresses(texts: object) -> tuple[str, ...]:
    found = texts if isinstance(texts, list | tuple) else []
    return tuple(str(one)[:64] for one in found[:4] if is_tailnet(str(one)[:64]))


async def from_socket(path: str) -> TailnetStatus:
    """Ask tailscaled over its own socket."""
    import aiohttp

    if not path or not await asyncio.to_thread(Path(path).exists):
        raise TailnetError(f"no tailscaled at {path or 'any known socket'}")
    timeout = aiohttp.ClientTimeout(total=ASK_S)
    connector = aiohttp.UnixConnector(path=path)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get("http://local-tailscaled.sock/localapi/v0/status") as response,
        ):
            if response.status != 200:
                raise TailnetError(f"tailscaled answered {response.status}")
            body = await _bounded(response.content)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TailnetError(
            f"tailscaled does not answer: {error or type(error).__name__}"
        ) from error
    return parse_status(_json(body), "LocalAPI")


async def from_command(program: str = "tailscale") -> TailnetStatus:
    """Ask the `tailscale` command."""
    path = await asyncio.to_thread(shutil.which, program)
    if path is None:
        raise TailnetError("no tailscale command")
    process = await asyncio.create_subprocess_exec(
        path,
        "status",
        "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ASK_S):
            body = await _bounded(process.stdout)
            await process.wait()
    except TimeoutError as error:
        raise TailnetError("the tailscale command does not end") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return parse_status(_json(body), "tailscale status")


async def from_admin_api(api_key: str, tailnet: str, session: Any = None) -> TailnetStatus:
    """Ask the admin API, with a key: every device of the tailnet. Needs the `tailnet` extra."""
    try:
        from tailscale import Tailscale, TailscaleError
    except ImportError as error:
        raise TailnetError("the tailscale package is not installed") from error
    try:
        async with Tailscale(tailnet=tailnet, api_key=api_key, session=session) as api:
            devices = await api.devices()
    except TailscaleError as error:
        raise TailnetError(f"the admin API refused: {error}") from error
    machines = tuple(
        Machine(
            name=str(one.hostname)[:40],
            addresses=_addresses(one.addresses),
            online=getattr(one, "connected_to_control", None) is not False,
        )
        for one in devices.values()
    )
    return TailnetStatus(source="admin API", running="Running", key_expiry="", machines=machines)


async def _bounded(reader: Any) -> bytes:
    """Everything a source says, up to a size no honest one reaches."""
    body = b""
    while chunk := await reader.read(1 << 16):
        body += chunk
        if len(body) > MAX_STATUS_BYTES:
            raise TailnetError("the status is too long")
    return body


def _json(body: bytes) -> object:
    try:
        said: object = parse_json(body)
    except ValueError as error:
        raise TailnetError("the status is not JSON") from error
    return said


@final
class Tailnet:
    """Looks at the tailnet every half minute. `state` says how that goes."""

    def __init__(
        self,
        socket: str,
        admin: tuple[str, str],
        port: int,
        book: Sightings,
        news: Callable[[str], None],
        now: Callable[[], int],
    ) -> None:
        self._socket = socket or SOCKETS.get(sys.platform, "")
        self._admin = admin
        self._port, self._book, self._news, self._now = port, book, news, now
        self.state = "starting"
        self.fix = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Ask the first source that answers, and note who is online."""
        try:
            status = await self._ask()
        except TailnetError as error:
            self.state, self.fix = str(error), ""
            return
        online = [one for one in status.machines if one.online][:MAX_MACHINES]
        self.state = f"{status.running} ({status.source}), {len(online)} machines online"
        self.fix = _warning(status, self._now())
        new = [self._note(one) for one in online]
        if any(new):
            self._news("")

    async def _ask(self) -> TailnetStatus:
        reasons = []
        for ask in (partial(from_socket, self._socket), from_command):
            try:
                status = await ask()
            except TailnetError as error:
                reasons.append(str(error))
                continue
            if status.running == "Running":
                return status
            reasons.append(f"tailscale is {status.running}")
        key, tailnet = self._admin
        if key:
            return await from_admin_api(key, tailnet)
        raise TailnetError("; ".join(reasons))

    def _note(self, machine: Machine) -> bool:
        new = False
        for text in machine.addresses:
            new |= self._book.see(
                Sighting(
                    source=TAILNET,
                    peer_id="",
                    name=machine.name,
                    address=(text, self._port),
                    pairing_port=0,
                    seen_ms=self._now(),
                )
            )
        return new


def _warning(status: TailnetStatus, now: int) -> str:
    """A node key that runs out locks a machine without a screen out of its tailnet."""
    try:
        expires = datetime.fromisoformat(status.key_expiry.replace("Z", "+00:00"))
    except ValueError:
        return ""
    if expires.tzinfo is None:
        return ""
    days = (expires - datetime.fromtimestamp(now / 1000, UTC)).days
    if days >= EXPIRY_WARNING_DAYS:
        return ""
    return f"this machine's tailnet key expires in {days} days: tailscale up --force-reauth"
