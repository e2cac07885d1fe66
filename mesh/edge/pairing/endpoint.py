"""The pairing endpoint: all that a machine outside the fleet can reach, and how it gets in.

Two ways lead in: a code from `fleet invite`, proved by MACs on both sides, or a place on the list
of those who wait for a person's yes. Each request is small, bounded in rate, and forgotten if it
proves nothing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, final

import msgspec
from aiohttp import web

from mesh.edge.http.guard import HttpRefusal, answer, read_body, shape_errors
from mesh.edge.pairing.book import Invite, PairingBook, Pending
from mesh.edge.transport import certificate
from mesh.edge.transport.anteroom import place_of, plain_address
from mesh.edge.transport.listen import Limiter
from mesh.ledger import signing
from mesh.policy import pairing

# A join is under 1 KiB.
MAX_PAIRING_BYTES: Final = 8 * 1024
# Members a guest hears of at once, 200 bytes each; the ledger says the rest.
MAX_MET: Final = 16
# Longer than any honest talk: a stranger's connection ends then, whatever it does.
LIFETIME_S: Final = 30.0
# A nonce lives as long as a connection; this many are 32 KiB.
MAX_NONCES: Final = 256
# Somebody who polls its place on the list asks twice every 2 s; all strangers together may cost
# about 5 % of a core in signatures.
PER_ADDRESS: Final = (3.0, 30)
ALL_ADDRESSES: Final = (40.0, 120)

Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Known32 = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{128}$")]
Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,40}$")]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Guest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a stranger says of itself; `proof` is signed with the key it names."""

    key: Hex32
    name: Name
    tls: Hex64
    port: Port
    nonce: Hex32
    guest_nonce: Hex32
    proof: Hex64
    invite: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")] = ""
    mac: Hex32 = ""


class Welcome(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What a guest needs to know of the fleet that let it in.

    `founding` is the hash of its first event and `recovery` the public half of its recovery key,
    "" for a fleet of an earlier version; `admins` is how many it has, 0 where nobody said.
    `members` are keys and their certificates' signatures, the seniors first: whom to ask where the
    one that let the guest in is gone. `you_seq` and `you_hash` are the tip of the guest's own chain
    as the host has it, 0 and "" for none: a guest restored from before it joined signs nothing
    before it has those events back.
    """

    role: str
    root: Hex32
    name: Name
    tls: Hex64
    port: Port
    addresses: list[str]
    founding: Known32 = ""
    recovery: Known32 = ""
    admins: Annotated[int, msgspec.Meta(ge=0)] = 0
    members: Annotated[dict[Hex32, Hex64], msgspec.Meta(max_length=MAX_MET)] = {}
    you_seq: Annotated[int, msgspec.Meta(ge=0)] = 0
    you_hash: Known32 = ""


# Let a key in as (key, name, role, tls, address, port); the welcome is for it.
Grant = Callable[[str, str, str, str, str, int], Awaitable[Welcome]]
# The welcome of a key that is in already, else None.
Known = Callable[[str], Welcome | None]


@final
class PairingHost:
    """The host's side of every pairing."""

    def __init__(
        self,
        key: bytes,
        name: Callable[[], str],
        book: PairingBook,
        grant: Grant,
        known: Known,
        now: Callable[[], int],
    ) -> None:
        self._key = key
        self._name = name
        self.book: Final = book
        self._grant = grant
        self._known = known
        self._now = now
        self._nonces: OrderedDict[str, None] = OrderedDict()
        self._limiter = Limiter(*PER_ADDRESS, *ALL_ADDRESSES)

    def app(self) -> web.Application:
        """The routes strangers reach; there are no others on their port."""
        made = web.Application(client_max_size=MAX_PAIRING_BYTES, middlewares=[shape_errors])
        made.add_routes(
            [
                web.post("/v1/pair/hello", self.hello),
                web.post("/v1/pair/join", self.join),
                web.post("/v1/pair/ask", self.ask),
            ]
        )
        return made

    async def hello(self, request: web.Request) -> web.Response:
        """Who this is, and a nonce to prove things with, once."""
        self._admit(request)
        nonce = secrets.token_hex(pairing.NONCE_BYTES)
        self._nonces[nonce] = None
        if len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        return answer({"key": self._key.hex(), "name": self._name(), "nonce": nonce, "v": 1})

    async def join(self, request: web.Request) -> web.Response:
        """Come in with a code."""
        guest, talk = await self._read(request)
        invite = self.book.find(guest.invite)
        if invite is None or not guest.mac:
            raise _no("UnknownCode", "this peer made no such code", "ask for a new one")
        secret = bytes.fromhex(invite.secret)
        if not pairing.matches(bytes.fromhex(guest.mac), pairing.guest_mac(secret, talk)):
            raise _no("WrongCode", "the code does not fit", "check it, or ask for a new one")
        self._refuse_spent(invite, guest.key)
        welcome = await self._let_in(invite, guest, plain_address(request.remote or ""))
        body = msgspec.json.encode(welcome)
        mac = pairing.host_mac(secret, talk, body)
        return answer({"welcome": body.decode(), "mac": mac.hex()})

    async def ask(self, request: web.Request) -> web.Response:
        """Wait for a person's yes; asked again until it comes."""
        guest, _ = await self._read(request)
        welcome = self._known(guest.key)
        if welcome is not None:
            return answer({"state": "accepted", "welcome": msgspec.json.encode(welcome).decode()})
        asked = Pending(
            key=guest.key,
            name=guest.name,
            tls=guest.tls,
            address=plain_address(request.remote or ""),
            port=guest.port,
            asked_ms=self._now(),
        )
        why = self.book.ask(asked, self._now())
        if why:
            raise _no("NotNow", f"this peer will not take you: {why}", "ask its owner")
        return answer({"state": "pending"}, 202)

    def _admit(self, request: web.Request) -> None:
        now = asyncio.get_running_loop().time()
        if not self._limiter.allows(place_of(request.remote or ""), now):
            raise HttpRefusal(429, "TooMany", "too many tries", "wait a minute")

    async def _read(self, request: web.Request) -> tuple[Guest, pairing.Talk]:
        """A guest that holds the key it names and answers a nonce of ours not used before."""
        self._admit(request)
        try:
            guest = msgspec.convert(await read_body(request), Guest)
        except msgspec.ValidationError as error:
            raise HttpRefusal(400, "BadRequest", f"not a pairing request: {error}") from error
        key, tls = bytes.fromhex(guest.key), bytes.fromhex(guest.tls)
        talk = pairing.Talk(
            host_key=self._key,
            guest_key=key,
            host_nonce=bytes.fromhex(guest.nonce),
            guest_nonce=bytes.fromhex(guest.guest_nonce),
            tls=tls,
            name=guest.name,
        )
        if self._nonces.pop(guest.nonce, ...) is ...:
            raise _no("StaleNonce", "this request was sent before, or too late", "begin anew")
        signed = signing.signed_bytes(
            guest.key, bytes.fromhex(guest.proof), pairing.proof_text(talk)
        )
        if not signed or not certificate.is_sound(key, tls):
            raise _no("BadProof", "the request is not signed by the key it names")
        return guest, talk

    def _refuse_spent(self, invite: Invite, key: str) -> None:
        if key in invite.used_by:
            return  # the same guest, whose first answer got lost
        if self._now() >= invite.expires_ms:
            raise _no("ExpiredCode", "the code has expired", "ask for a new one")
        if len(invite.used_by) >= invite.uses:
            raise _no("UsedCode", "the code was used already", "ask for a new one")

    async def _let_in(self, invite: Invite, guest: Guest, address: str) -> Welcome:
        """Spent on disk before it is granted: a crash costs a code, never a second guest."""
        again = guest.key in invite.used_by
        known = self._known(guest.key) if again else None
        if known is not None:
            return known
        if again:
            raise _no("UsedCode", "the code was used already", "ask for a new one")
        self.book.use(invite, guest.key)
        try:
            return await self._grant(
                guest.key, guest.name, invite.role, guest.tls, address, guest.port
            )
        except BaseException:
            self.book.give_back(invite, guest.key)
            raise


def _no(code: str, text: str, hint: str = "") -> HttpRefusal:
    return HttpRefusal(403, code, text, hint)
