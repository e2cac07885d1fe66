"""The wire between peers: TLS 1.3 on both sides' ed25519 keys, and binary messages on top.

There is no certificate authority: a peer's anchors are its members' own certificates, so an unknown
key ends in the handshake. Whoever got through is asked for its key again, against the members of
this moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, final

from aiohttp import WSMsgType

from mesh.edge.disk import parse_json, whole_number, write_private
from mesh.edge.identity import Identity
from mesh.edge.transport import certificate
from mesh.sync import versions

# The largest message: sync sends segments in parts, so one of these and its copy bound a link.
MAX_MESSAGE_BYTES: Final = 4 << 20
NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python doesn't name
SOCKET_LIMIT: Final = MAX_MESSAGE_BYTES + 1  # aiohttp ends a link at its limit, not past it
# A ping after this much silence and half as long for its answer: a dead link is noticed in 15 s.
HEARTBEAT_S: Final = 10.0
# A neighbour that takes nothing for this long holds up everyone else: it may come back.
SEND_TIMEOUT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 2.0
GREET_S: Final = 5.0
SERVER_NAME: Final = certificate.SERVER_NAME

Anchor = tuple[bytes, bytes]  # a public key and its certificate's signature


class LinkClosed(ConnectionError):
    """The other side went away, or a message broke the rules; one line says which."""


class Misbehaved(LinkClosed):
    """The other side broke the protocol: it is not dialled again at once."""


class _Socket(Protocol):
    """What aiohttp's client and server websockets have in common."""

    async def send_bytes(self, data: bytes) -> None: ...

    async def send_str(self, data: str) -> None: ...

    async def receive(self) -> object: ...

    async def close(self) -> object: ...


@final
class Link:
    """One authenticated connection to a peer: whole messages, in order, both ways."""

    def __init__(
        self, socket: _Socket, peer_key: bytes, address: str, greeting: Greeting, *, outbound: bool
    ) -> None:
        self._socket = socket
        self.peer_key: Final = peer_key
        self.outbound: Final = outbound
        self.address: Final = address
        self.skew_ms: Final = greeting.skew_ms
        self.version: Final = greeting.version
        self.apart: Final = greeting.apart
        self.quiet = False  # to a key that was put out: it is heard, not answered
        self.sent_bytes = 0
        self.received_bytes = 0

    async def send(self, data: bytes) -> None:
        """Send one message; waits while the other side is slow, LinkClosed once it is gone."""
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(data)} bytes, at most {MAX_MESSAGE_BYTES}")
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_bytes(data)
        except TimeoutError as error:
            raise LinkClosed(f"took nothing for {SEND_TIMEOUT_S:.0f} s") from error
        except (OSError, RuntimeError) as error:
            raise LinkClosed(str(error) or "the link was closed") from error
        self.sent_bytes += len(data)

    async def receive(self) -> bytes:
        """The next message; LinkClosed when there will be none."""
        try:
            message = await self._socket.receive()
        except (OSError, RuntimeError) as error:
            raise LinkClosed(str(error) or "the link was closed") from error
        data = getattr(message, "data", None)
        if getattr(message, "type", None) is not WSMsgType.BINARY or not isinstance(data, bytes):
            raise LinkClosed("the other side closed the link")
        self.received_bytes += len(data)
        return data

    async def close(self) -> None:
        """End the link; closing twice does nothing."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close()
        except (TimeoutError, OSError, RuntimeError):
            return


@final
@dataclass(frozen=True, slots=True)
class Greeting:
    """What the first message of a link settled.

    `skew_ms` is the other clock minus ours. `version` is the sync protocol's on this link; 0 where
    the two speak none in common, and `apart` says so.
    """

    skew_ms: int
    version: int
    apart: str = ""


async def greet(socket: _Socket, now: Callable[[], int]) -> Greeting:
    """Exchange the first message of a link: a clock reading and the versions each side speaks.

    The reading is as old as its way here, so half a round trip of it is distance, not skew.
    LinkClosed where the other side does not greet.
    """
    sent_ms = now()
    try:
        async with asyncio.timeout(GREET_S):
            await socket.send_str(json.dumps({"now_ms": sent_ms, "sync": [*versions.SPOKEN]}))
            message = await socket.receive()
        said = parse_json(str(getattr(message, "data", "")))
        skew_ms = whole_number(said["now_ms"]) - (sent_ms + now()) // 2
        theirs = versions.listed(said.get("sync"))
    except (OSError, RuntimeError, TimeoutError, ValueError, KeyError, TypeError) as error:
        raise LinkClosed("the other side did not greet") from error
    version = versions.common(theirs)
    return Greeting(skew_ms, version, "" if version else versions.apart(theirs))


def own_anchor(who: Identity) -> Anchor:
    """This peer's key and the signature that makes its certificate."""
    return bytes.fromhex(who.author), certificate.signature_of(who.seed)


@final
class Contexts:
    """TLS settings made from one identity; a new one per change of members.

    The certificate shown is the one that the fleet granted access to: `present` says which.
    """

    def __init__(self, who: Identity, home: Path) -> None:
        self._key: Final = bytes.fromhex(who.author)
        self._seed: Final = who.seed
        self._home: Final = home
        self.signature = certificate.signature_of(who.seed)

    def present(self, granted: bytes) -> bool:
        """Show the form of certificate that this signature of ours makes; True where it is new.

        A grant of an earlier version names the old form; what makes no form changes nothing.
        """
        changed = certificate.is_sound(self._key, granted) and granted != self.signature
        if changed:
            self.signature = granted
        return changed

    def server(self, anchors: Iterable[Anchor]) -> ssl.SSLContext:
        """Lets in the holders of these keys and nobody else."""
        context = self._bare(ssl.PROTOCOL_TLS_SERVER)
        # A session ticket would let a removed peer back in without showing its key.
        context.num_tickets = 0
        return _pinned(context, anchors)

    def client(self, anchors: Iterable[Anchor]) -> ssl.SSLContext:
        """Talks to the holders of these keys and nobody else."""
        return _pinned(self._bare(ssl.PROTOCOL_TLS_CLIENT), anchors)

    def open_server(self) -> ssl.SSLContext:
        """Shows our key to anyone and asks for none: for pairing alone."""
        context = self._bare(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        return context

    def _bare(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        shown = certificate.certificate(self._key, self.signature)
        text = certificate.private_pem(self._seed) + certificate.certificate_pem(shown)
        # OpenSSL reads keys from files only. One in memory needs no disk and stays on none.
        if not _load_from_memory(context, text):
            path = self._home / f".tls.{secrets.token_hex(8)}"
            try:
                write_private(path, text)  # for a moment, for its owner alone
                context.load_cert_chain(path)
            finally:
                path.unlink(missing_ok=True)
        context.verify_mode = ssl.CERT_NONE
        return context


def _load_from_memory(context: ssl.SSLContext, text: str) -> bool:
    """Load a key and its certificate without a disk; False where the system has no such files."""
    if not hasattr(os, "memfd_create"):
        return False
    descriptor = os.memfd_create("tls")
    try:
        os.write(descriptor, text.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except FileNotFoundError:  # no /proc here
        return False
    finally:
        os.close(descriptor)
    return True


@final
class Pool:
    """TLS settings for the members of this moment: made when asked for, changed by what changed.

    A newcomer is one more anchor of the same settings. Who is gone can't be taken out of them, so
    new ones are made, at their next use.
    """

    def __init__(self, contexts: Contexts) -> None:
        self._contexts: Final = contexts
        self._anchors: dict[bytes, Anchor] = {}
        self._all: dict[Callable[[Iterable[Anchor]], ssl.SSLContext], ssl.SSLContext] = {}
        self._one: Final[dict[bytes, ssl.SSLContext]] = {}

    def become(self, anchors: dict[bytes, Anchor]) -> None:
        """Believe in these members from the next connection on."""
        before, self._anchors = self._anchors, dict(anchors)
        kept = {key for key, one in before.items() if anchors.get(key) == one}
        for key in self._one.keys() - kept:
            del self._one[key]
        if len(kept) < len(before):
            self._all.clear()
            return
        new = [one for key, one in anchors.items() if key not in kept]
        for context in self._all.values():
            _pinned(context, new)

    def forget(self) -> None:
        """Make everything anew: we show another certificate."""
        self._all.clear()
        self._one.clear()

    def server(self) -> ssl.SSLContext:
        """Lets every member in."""
        return self._made(self._contexts.server)

    def client(self, key: bytes | None) -> ssl.SSLContext:
        """Talks to this member alone; to any for None."""
        if key is None:
            return self._made(self._contexts.client)
        found = self._one.get(key)
        if found is None:
            found = self._one[key] = self._contexts.client([self._anchors[key]])
        return found

    def _made(self, kind: Callable[[Iterable[Anchor]], ssl.SSLContext]) -> ssl.SSLContext:
        found = self._all.get(kind)
        if found is None:
            found = self._all[kind] = kind(self._anchors.values())
        return found


def pairing_client() -> ssl.SSLContext:
    """Takes any key: who answered is checked against the invite's code afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _pinned(context: ssl.SSLContext, anchors: Iterable[Anchor]) -> ssl.SSLContext:
    """Believe in these certificates too, and in nothing that their keys signed.

    A member's certificate is its own anchor though it is no authority: that is a partial chain.
    No certificate of ours ends, and a machine that wakes up in 1970 has to link to learn the time.
    Strict checks refuse the old form of certificate, so they go where a member still has it.
    """
    found = [*anchors]
    fresh = context.verify_mode == ssl.CERT_NONE
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
    if any(certificate.form_of(*one) == certificate.V1 for one in found):
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    elif fresh:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if found:
        data = b"".join(certificate.certificate(*one) for one in found)
        context.load_verify_locations(cadata=data)
    return context


def key_behind(ssl_object: object) -> bytes | None:
    """The public key the other side of a TLS connection proved to hold."""
    if not isinstance(ssl_object, ssl.SSLObject | ssl.SSLSocket):
        return None
    der = ssl_object.getpeercert(binary_form=True)
    return None if der is None else certificate.key_of(der)
