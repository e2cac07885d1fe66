"""A peer's certificate: X.509 with nothing in it but its ed25519 key, always the same bytes.

Every field follows from the key, so a certificate is a key and a signature (RFC 5280, RFC 8410).
Nothing in it expires: what ends a peer's access is its removal from the fleet.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from mesh.ledger import signing

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
# RFC 8410: an ed25519 private key in PKCS #8 is this and the 32-byte seed.
_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
_SEQUENCE, _SET, _INTEGER, _BITS, _OID, _UTF8, _UTC, _TIME = (
    0x30,
    0x31,
    0x02,
    0x03,
    0x06,
    0x0C,
    0x17,
    0x18,
)
_ED25519_OID: Final = bytes.fromhex("2b6570")
_COMMON_NAME_OID: Final = bytes.fromhex("550403")


def certificate(key: bytes, signature: bytes) -> bytes:
    """The DER certificate of a public key, given its signature over `body_of(key)`."""
    body = body_of(key)
    return _node(_SEQUENCE, body, _algorithm(), _node(_BITS, b"\0" + signature))


def signature_of(seed: bytes) -> bytes:
    """What makes a key's certificate: only the key's owner can."""
    key = bytes.fromhex(signing.author_of(seed))
    return signing.sign_bytes(seed, body_of(key))


def is_sound(key: bytes, signature: bytes) -> bool:
    """Whether the certificate was made by the owner of its key."""
    return signing.signed_bytes(key.hex(), signature, body_of(key))


def key_of(der: bytes) -> bytes | None:
    """The public key in a certificate of ours; None for any other certificate."""
    key = der[_KEY_AT : _KEY_AT + KEY_BYTES]
    return (
        key if len(key) == KEY_BYTES and der == certificate(key, der[-SIGNATURE_BYTES:]) else None
    )


def private_pem(seed: bytes) -> str:
    """The secret key as OpenSSL reads it."""
    return _pem("PRIVATE KEY", _PKCS8 + seed)


def certificate_pem(der: bytes) -> str:
    """A certificate as OpenSSL reads it."""
    return _pem("CERTIFICATE", der)


def body_of(key: bytes) -> bytes:
    """The part of a key's certificate that is signed."""
    # Named by its key, OpenSSL finds an anchor among thousands by its name alone.
    name = _node(
        _SEQUENCE,
        _node(
            _SET, _node(_SEQUENCE, _node(_OID, _COMMON_NAME_OID), _node(_UTF8, key.hex().encode()))
        ),
    )
    serial = b"\x01" + hashlib.blake2b(key, digest_size=8).digest()
    always = _node(_SEQUENCE, _node(_UTC, b"000101000000Z"), _node(_TIME, b"99991231235959Z"))
    public = _node(_SEQUENCE, _algorithm(), _node(_BITS, b"\0" + key))
    number = _node(_INTEGER, serial)
    return _node(_SEQUENCE, number, _algorithm(), name, always, name, public)


def _algorithm() -> bytes:
    return _node(_SEQUENCE, _node(_OID, _ED25519_OID))


def _node(tag: int, *parts: bytes) -> bytes:
    """One DER element: tag, length in its shortest form, content."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _pem(label: str, der: bytes) -> str:
    text = base64.encodebytes(der).decode("ascii")
    return f"-----BEGIN {label}-----\n{text}-----END {label}-----\n"


_MARK: Final = b"\xfe" * KEY_BYTES
_KEY_AT: Final = certificate(_MARK, bytes(SIGNATURE_BYTES)).rindex(_MARK)
