"""One request to one member, over TLS pinned to its key: how peers ask each other to do things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import aiohttp
import msgspec

from mesh.api.errors import RequestError
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.transport.dial import CONNECT_S, Directory
from mesh.edge.transport.link import SERVER_NAME
from mesh.state.address import Address, show_address
from mesh.state.peer_id import peer_id

# What a member may answer: a page of jobs or a plan, not a ledger.
MAX_ANSWER_BYTES: Final = 8 << 20
ANSWER_S: Final = 30.0


class Unanswered(RequestError):
    """No answer came. `sent` False: the peer did not get the request. True: nobody knows.

    An unanswered claim is unknown: ask the same peer again, never another.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        hint = "ask it again" if sent else "see fleet doctor"
        super().__init__("Unanswered", text, hint, 504 if sent else 503)
        self.sent: Final = sent


@final
class Caller:
    """Asks members by key. Each call proves both keys anew."""

    def __init__(self, book: Sightings, directory: Directory) -> None:
        self._book = book
        self._directory = directory

    async def call(
        self,
        key: bytes,
        ledger: list[Address],
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> Any:
        """The member's JSON answer; RequestError with its own words where it says no."""
        why = "nobody knows where it is"
        for address, _ in self._book.candidates(peer_id(key.hex()), ledger):
            try:
                return await self._ask(key, address, method, path, body, timeout_s)
            except Unanswered as error:
                if error.sent:
                    raise
                why = error.text
        raise Unanswered(f"{peer_id(key.hex())[:7]} is not reached: {why}", sent=False)

    async def _ask(
        self,
        key: bytes,
        address: Address,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        timeout_s: float,
    ) -> Any:
        where = show_address(address)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        data = None if body is None else msgspec.json.encode(dict(body))
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method,
                    f"https://{where}{path}",
                    data=data,
                    ssl=self._directory.client_context(key),
                    server_hostname=SERVER_NAME,
                    headers={"Content-Type": "application/json"},
                ) as response,
            ):
                raw = await _bounded(response.content)
                return _said(response.status, raw)
        except aiohttp.ClientConnectorError as error:
            raise Unanswered(f"{where}: {error}", sent=False) from error
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"{where}: {error or type(error).__name__}", sent=True) from error


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    raw = b""
    while chunk := await content.read(1 << 16):
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            raise RequestError("TooLong", "the peer's answer is too long", "", 502)
    return raw


def _said(status: int, raw: bytes) -> Any:
    try:
        said = msgspec.json.decode(raw)
        if status < 400:
            return said
        raise RequestError(
            str(said["code"])[:80], str(said["text"])[:2000], str(said["hint"])[:2000], status
        )
    except (msgspec.MsgspecError, RecursionError, KeyError, TypeError) as error:
        raise RequestError("BadAnswer", "the peer's answer is not understood", "", 502) from error
