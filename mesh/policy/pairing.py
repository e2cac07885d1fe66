"""What an invite's code holds and what both sides of a pairing must prove. Pure.

The code carries a 128-bit secret, a fingerprint of the inviter's key and where it listens. Both
sides send a MAC, keyed with the secret, of everything that was said and of both public keys: who
sits in between knows no secret, can't make either MAC, and can't use one made for other keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from typing import Final, final

from mesh.state.peer_id import ALPHABET, grouped, with_checks, without_checks

VERSION: Final = 1
SECRET_BYTES: Final = 16
NONCE_BYTES: Final = 32
MAX_USES: Final = 64  # machines one invite lets in: a classroom, and then some
# Only to say early that the wrong machine answered; the MAC is what proves the key.
FINGERPRINT_BYTES: Final = 4
# A LAN, a tailnet and one more; each makes the code 8 or 27 characters longer.
MAX_CODE_ADDRESSES: Final = 3
PROOF_DOMAIN: Final = b"fleet-ledger/pair/1\0"
_HEAD: Final = 1 + SECRET_BYTES + FINGERPRINT_BYTES + 2
# Base32 pads to 8 characters of 5 bytes; longer texts can't be codes.
_MAX_CHARACTERS: Final = 200


class CodeError(ValueError):
    """The text is no invite; one line says why."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What `fleet join` needs to know: whom to reach, where, and the shared secret."""

    secret: bytes
    fingerprint: bytes
    port: int
    addresses: tuple[str, ...]


def render_code(code: Code) -> str:
    """The code as text: base32 with check characters, in groups of 7."""
    packed = [ipaddress.ip_address(one).packed for one in code.addresses[:MAX_CODE_ADDRESSES]]
    parts = b"".join(bytes((len(one),)) + one for one in packed)
    raw = bytes((VERSION,)) + code.secret + code.fingerprint + code.port.to_bytes(2, "big") + parts
    return grouped(with_checks(base64.b32encode(raw).decode("ascii").rstrip("=")))


def parse_code(text: str) -> Code:
    """The code a person typed or pasted; CodeError names what is wrong with it."""
    plain = "".join(text.split()).replace("-", "").upper()
    wrong = sorted(set(plain) - set(ALPHABET))
    if wrong or not plain or len(plain) > _MAX_CHARACTERS:
        raise CodeError(f"a code has no character {wrong[0]!r}" if wrong else "not an invite code")
    try:
        bare = without_checks(plain)
        raw = base64.b32decode(bare + "=" * (-len(bare) % 8))
    except ValueError as error:
        raise CodeError(str(error) or "the code is incomplete") from error
    if len(raw) < _HEAD or raw[0] != VERSION:
        raise CodeError("the code is incomplete, or a newer fleet made it")
    return Code(
        secret=raw[1 : 1 + SECRET_BYTES],
        fingerprint=raw[1 + SECRET_BYTES : _HEAD - 2],
        port=int.from_bytes(raw[_HEAD - 2 : _HEAD], "big"),
        addresses=_addresses(raw[_HEAD:]),
    )


def _addresses(raw: bytes) -> tuple[str, ...]:
    found: list[str] = []
    while raw:
        size = raw[0]
        if size not in (4, 16) or len(raw) <= size or len(found) == MAX_CODE_ADDRESSES:
            raise CodeError("the code is damaged")
        found.append(str(ipaddress.ip_address(raw[1 : 1 + size])))
        raw = raw[1 + size :]
    return tuple(found)


def fingerprint(key: bytes) -> bytes:
    """The start of a key's hash."""
    return hashlib.blake2b(key, digest_size=32).digest()[:FINGERPRINT_BYTES]


def invite_id(secret: bytes) -> str:
    """What an invite is called on the wire; says nothing about its secret."""
    return _keyed(secret, b"id", b"")[:16].hex()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """Everything both sides of a pairing said; keys as TLS and the certificate proved them."""

    host_key: bytes
    guest_key: bytes
    host_nonce: bytes
    guest_nonce: bytes
    tls: bytes
    name: str

    def digest(self) -> bytes:
        """A hash no two different talks share."""
        parts = (
            self.host_key,
            self.guest_key,
            self.host_nonce,
            self.guest_nonce,
            self.tls,
            self.name.encode(),
        )
        sized = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.blake2b(PROOF_DOMAIN + sized, digest_size=32).digest()


def guest_mac(secret: bytes, talk: Talk) -> bytes:
    """What the guest proves: it was given the code, for this very talk."""
    return _keyed(secret, b"guest", talk.digest())


def host_mac(secret: bytes, talk: Talk, answer: bytes) -> bytes:
    """What the host proves: it made the code, and this is its answer."""
    return _keyed(secret, b"host", talk.digest() + answer)


def matches(given: bytes, wanted: bytes) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(given, wanted)


def proof_text(talk: Talk) -> bytes:
    """What the guest signs, to prove that it holds the key it names."""
    return PROOF_DOMAIN + talk.digest()


def _keyed(secret: bytes, label: bytes, text: bytes) -> bytes:
    return hashlib.blake2b(text, key=secret, person=label, digest_size=32).digest()
