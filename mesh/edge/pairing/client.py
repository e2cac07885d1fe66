"""Getting into a fleet: with a code, or by asking and waiting for a yes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from dataclasses import dataclass
from typing import Any, Final, final

import msgspec

from mesh.api.errors import RequestError
from mesh.edge.disk import parse_json
from mesh.edge.identity import Identity, peer_id
from mesh.edge.pairing.endpoint import MAX_PAIRING_BYTES, Welcome
from mesh.edge.transport.link import SERVER_NAME, key_behind, own_anchor, pairing_client
from mesh.ledger import signing
from mesh.policy import pairing

CONNECT_S: Final = 4.0
TALK_S: Final = 15.0
Address = tuple[str, int]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Who let us in, as its TLS key proved, and at which address."""

    key: str
    address: str
    welcome: Welcome


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """What we say of ourselves."""

    who: Identity
    name: str
    port: int


async def join(me: Self, code: pairing.Code) -> Host:
    """Come in with a code, at the first of its addresses that answers as the right peer."""
    failures = []
    for address in code.addresses:
        try:
            return await _join_at(me, code, (address, code.port))
        except Unreachable as error:
            failures.append(f"{address}: {error}")
    raise _silent("; ".join(failures) or "the code names no address")


def _silent(why: str) -> RequestError:
    text = f"the other peer does not answer ({why})"
    return RequestError(
        "Unreachable", text, "check that it is up and on the same network or tailnet", 502
    )


def _myself(at: Address) -> RequestError:
    text = f"{at[0]}:{at[1]} is this peer's own pairing address"
    return RequestError("BadRequest", text, "give the other machine's: fleet up there prints it")


async def ask(me: Self, at: Address, expected: str = "") -> tuple[str, Host | None]:
    """(host's key, host if it let us in): one look at whether a person said yes yet.

    `expected` is the peer id that answered before, for a person to compare: nobody else's yes
    counts.
    """
    try:
        async with _Talk(at) as talk:
            if talk.key.hex() == me.who.author:
                raise _myself(at)
            if expected and peer_id(talk.key.hex()) != expected:
                raise _another(at, expected)
            hello = await talk.hello()
            _, body = _guest(me, talk.key, hello)
            said = await talk.post("ask", body)
    except Unreachable as error:
        raise _silent(f"{at[0]}:{at[1]}: {error}") from error
    if said.get("state") != "accepted":
        return talk.key.hex(), None
    return talk.key.hex(), Host(key=talk.key.hex(), address=at[0], welcome=_welcome(said))


def _another(at: Address, expected: str) -> RequestError:
    text = f"another peer than {expected[:7]} answers at {at[0]}:{at[1]} now"
    hint = "a code says who it must be: fleet invite there, fleet join CODE here"
    return RequestError("Impostor", text, hint, 502)


class Unreachable(Exception):
    """Nobody, or somebody else, answers there."""


async def _join_at(me: Self, code: pairing.Code, at: Address) -> Host:
    async with _Talk(at) as talk:
        hello = await talk.hello()
        if pairing.fingerprint(talk.key) != code.fingerprint:
            raise Unreachable("another peer answers there")
        said, body = _guest(me, talk.key, hello)
        body |= {
            "invite": pairing.invite_id(code.secret),
            "mac": pairing.guest_mac(code.secret, said).hex(),
        }
        reply = await talk.post("join", body)
    welcome, mac = str(reply.get("welcome", "")), _bytes(reply.get("mac"))
    wanted = pairing.host_mac(code.secret, said, welcome.encode())
    if not pairing.matches(mac, wanted):
        raise RequestError(
            "Impostor", "the answer was not made by who made the code", "ask for a new one", 502
        )
    return Host(key=talk.key.hex(), address=at[0], welcome=_welcome(reply))


def _guest(me: Self, host: bytes, hello: dict[str, Any]) -> tuple[pairing.Talk, dict[str, object]]:
    """This talk and a request in it, signed."""
    key, tls = own_anchor(me.who)
    talk = pairing.Talk(
        host_key=host,
        guest_key=key,
        host_nonce=_bytes(hello.get("nonce")),
        guest_nonce=secrets.token_bytes(pairing.NONCE_BYTES),
        tls=tls,
        name=me.name,
    )
    return talk, {
        "key": key.hex(),
        "name": me.name,
        "tls": tls.hex(),
        "port": me.port,
        "nonce": talk.host_nonce.hex(),
        "guest_nonce": talk.guest_nonce.hex(),
        "proof": signing.sign_bytes(me.who.seed, pairing.proof_text(talk)).hex(),
    }


@final
class _Talk:
    """One pairing connection. `key` is what the host's TLS proved, before we said anything."""

    def __init__(self, at: Address) -> None:
        self._at: Final = at
        self.key = b""

    async def __aenter__(self) -> _Talk:
        try:
            async with asyncio.timeout(CONNECT_S):
                self._reader, self._writer = await asyncio.open_connection(
                    *self._at,
                    ssl=pairing_client(),
                    server_hostname=SERVER_NAME,
                    limit=MAX_PAIRING_BYTES,
                )
        except (OSError, TimeoutError) as error:
            raise Unreachable(str(error) or "no answer") from error
        key = key_behind(self._writer.get_extra_info("ssl_object"))
        if key is None:
            self._writer.close()
            raise Unreachable("what answers there is no peer of ours")
        self.key = key
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def hello(self) -> dict[str, Any]:
        return await self.post("hello", {})

    async def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """One HTTP request with a JSON answer; RequestError with the host's words if it says no."""
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/pair/{path} HTTP/1.1\r\nHost: {SERVER_NAME}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(TALK_S):
                self._writer.write(head.encode() + data)
                await self._writer.drain()
                return _said(*await self._answer())
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
            raise Unreachable(str(error) or "no answer") from error

    async def _answer(self) -> tuple[int, bytes]:
        """(status, body) of an answer with a Content-Length: ours all have one."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        status, size = lines[0].split(" ")[1:2], fields.get("content-length", "")
        if not (status and status[0].isdigit() and size.isdigit()):
            raise Unreachable("what answers there does not speak our language")
        if int(size) > MAX_PAIRING_BYTES:
            raise Unreachable("the answer is too long")
        return int(status[0]), await self._reader.readexactly(int(size))


def _said(status: int, raw: bytes) -> dict[str, Any]:
    try:
        said = parse_json(raw)
        if status < 400 and isinstance(said, dict):
            return said
        text = str(said["text"])[:300]
        raise RequestError(str(said["code"])[:40], text, str(said["hint"])[:300], status)
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable("what answers there does not speak our language") from error


def _welcome(said: dict[str, Any]) -> Welcome:
    try:
        return msgspec.json.decode(str(said.get("welcome", "")), type=Welcome)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(
            "BadWelcome",
            f"the host's answer is not understood: {error}",
            "use the same version on both machines",
            502,
        ) from error


def _bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(str(value))
    except ValueError:
        return b""


def describe(host: Host) -> str:
    """Who let us in, for a person to compare."""
    return f"{host.welcome.name} ({peer_id(host.key)})"
