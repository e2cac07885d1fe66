"""How requests reach a provider: HTTPS with the account's key, and no request ever sent twice.

A reply is JSON, or text that is none. Numbers with a fraction are floats: Python writes a float as
the shortest text that reads back to it, which is what the provider wrote wherever that has 15
digits or fewer, and so many reach from a million dollars to a nano-dollar. `units.decimal_of` reads
that text, so money stays exact and nothing needs a slower reader.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from types import TracebackType
from typing import Final, final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from providers.rental.contract import Reply, Request

CALL_LIMIT_S: Final = 30.0  # from the name's lookup to the last byte
# 5,000 offers of 3 kB each, far more than is ever asked for; also what a compressed one may become.
MAX_REPLY_BYTES: Final = 32 << 20
MAX_TEXT_CHARS: Final = 20_000  # of a body that is no JSON: a proxy's page, an error's words
MAX_URL_CHARS: Final = 500
MAX_KEY_CHARS: Final = 1000
HIDDEN: Final = b"(key)"
_CHUNK: Final = 1 << 16
_AGENT: Final = "fleet-ledger"


def address_of(variable: str, default: str, environ: Mapping[str, str]) -> str:
    """A provider's base URL: `default`, or what the environment has under `variable`, for tests.

    Whoever sets that gets the account's key with each request. So it is https, where a certificate
    says who answers and nobody on the way can read; or this very machine. ValueError for any other.
    """
    text = environ.get(variable, "").strip() or default
    try:
        url = urlsplit(text)
        good = len(text) <= MAX_URL_CHARS and text.isascii() and bool(url.hostname)
        good = good and not (url.username or url.password or url.query or url.fragment)
        good = good and (url.scheme == "https" or (url.scheme == "http" and _here(url.hostname)))
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{variable} is neither an https address nor one of this machine")
    return text.rstrip("/")


def _here(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@final
class HttpWire:
    """One account's line to its provider (`contract.Wire`); `close` it, or use `async with`.

    GETs share one session. Everything else has a connection of its own, which aiohttp is told never
    to send again on: its own remedy for a kept connection that died repeats a PUT or a DELETE.
    """

    def __init__(
        self, base_url: str, key: str, title: str, *, limit_s: float = CALL_LIMIT_S
    ) -> None:
        """ValueError where `key` can't stand in a header; the error does not show it."""
        key = key.strip()
        if not key.isascii() or not key.isprintable() or len(key) > MAX_KEY_CHARS or " " in key:
            raise ValueError(f"the key of {title} has characters that no key has")
        self._base = base_url.rstrip("/")
        self._title = title
        self._key: Final = key.encode()
        # Offers are shown by some providers to those without a key.
        self._auth = {"Authorization": f"Bearer {key}"} if key else {}
        self._limit = aiohttp.ClientTimeout(total=limit_s)
        self._kept: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpWire({self._title!r})"

    async def __aenter__(self) -> HttpWire:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give up the kept connections."""
        if self._kept is not None:
            await self._kept.close()
            self._kept = None

    async def send(self, request: Request) -> Reply:
        """One reply, whatever happens."""
        if request.method == "GET":
            if self._kept is None:
                self._kept = self._session(force_close=False)
            return await self._try(self._kept, request)
        async with self._session(force_close=True) as session:
            return await self._try(session, request)

    def _session(self, *, force_close: bool) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._limit,
            headers={"User-Agent": _AGENT},
        )
        if force_close and hasattr(session, "_retry_connection"):
            session._retry_connection = False
        return session

    async def _try(self, session: aiohttp.ClientSession, request: Request) -> Reply:
        try:
            return await self._exchange(session, request)
        except TimeoutError:
            return Reply(status=0, broke="timeout")
        except (
            aiohttp.ClientConnectorError
        ):  # no name, refused, a bad certificate: nothing was sent
            return Reply(status=0, broke="unreached")
        except (aiohttp.ClientError, OSError, ValueError):
            return Reply(status=0, broke="reset")

    async def _exchange(self, session: aiohttp.ClientSession, request: Request) -> Reply:
        async with session.request(
            request.method,
            self._base + request.path,
            params=request.query or None,
            headers=self._auth,
            allow_redirects=False,  # the key goes to the address it was given for, and no other
            json=request.body,
        ) as answer:
            raw = self._without_key(await _bounded(answer))
            return Reply(status=answer.status, body=_body(raw), headers=_headers(answer))

    def _without_key(self, raw: bytes) -> bytes:
        """What an error page echoes of our request: no word of theirs that we keep has the key."""
        return raw.replace(self._key, HIDDEN) if self._key else raw


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        raw += chunk
        if len(raw) > MAX_REPLY_BYTES:
            answer.close()
            raise ValueError("the reply has no end")
    return bytes(raw)


def _body(raw: bytes) -> object:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return raw[: 4 * MAX_TEXT_CHARS].decode(errors="replace")[:MAX_TEXT_CHARS]


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in answer.headers.items():
        lower = name.lower()
        found[lower] = f"{found[lower]}, {value}" if lower in found else value
    return found
