"""A peer's certificate: X.509 v3 around its ed25519 key and nothing else, always the same bytes.

Every field follows from the key, so a certificate is a key and a signature (RFC 5280, RFC 8410).
Nothing in it expires: what ends a peer's access is its removal from the fleet. It says that it is
no authority: what a member signs with its key is no certificate of the fleet.

Fleets of earlier versions granted access to certificates without extensions (X.509 v1). A key has
one signature for each form, so the signature that a grant holds says which form is meant.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Final

from mesh.ledger import signing

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
# Any name will do: names aren't checked, keys are. RFC 2606 keeps it from ever being anyone's.
SERVER_NAME: Final = "fleet.invalid"
BEGINS: Final = b"000101000000Z"  # of 2000; nobody of ours asks for it
V1, V3 = 1, 3
# Certificates of this many members are kept ready, some 600 bytes each.
MAX_KEPT: Final = 4096
# RFC 8410: an ed25519 private key in PKCS #8 is this and the 32-byte seed.
_PKCS8: Final = bytes.fromhex("302e020100300506032b657004220420")
_SEQUENCE, _SET, _INTEGER, _BITS, _OCTETS, _OID, _UTF8, _UTC, _TIME = (
    0x30,
    0x31,
    0x02,
    0x03,
    0x04,
    0x06,
    0x0C,
    0x17,
    0x18,
)
_TRUE: Final = b"\x01\x01\xff"
_VERSION, _EXTENSIONS, _KEY_ID, _DNS_NAME = 0xA0, 0xA3, 0x80, 0x82  # tags of a context
_ED25519_OID: Final = bytes.fromhex("2b6570")
_COMMON_NAME_OID: Final = bytes.fromhex("550403")
_SUBJECT_KEY, _KEY_USAGE, _NAMES, _CONSTRAINTS, _AUTHORITY_KEY, _EXTENDED_USAGE = (
    bytes.fromhex(one) for one in ("551d0e", "551d0f", "551d11", "551d13", "551d23", "551d25")
)
_SERVER_AUTH: Final = bytes.fromhex("2b06010505070301")
_CLIENT_AUTH: Final = bytes.fromhex("2b06010505070302")
_DIGITAL_SIGNATURE: Final = b"\x07\x80"  # bit 0 alone; 7 bits of the octet are unused


def certificate(key: bytes, signature: bytes) -> bytes:
    """The DER certificate that a key's signature makes; of the newest form if it makes none."""
    return _whole(key, signature, form_of(key, signature) or V3)


def signature_of(seed: bytes, form: int = V3) -> bytes:
    """What makes a key's certificate: only the key's owner can."""
    key = bytes.fromhex(signing.author_of(seed))
    return signing.sign_bytes(seed, body_of(key, form))


@lru_cache(maxsize=MAX_KEPT)
def form_of(key: bytes, signature: bytes) -> int:
    """Which form of certificate the key's owner signed: V3, V1, or 0 for neither."""
    signed = (form for form in (V3, V1) if _signs(key, signature, form))
    return next(signed, 0)


def is_sound(key: bytes, signature: bytes) -> bool:
    """Whether the certificate was made by the owner of its key."""
    return form_of(key, signature) != 0


def key_of(der: bytes) -> bytes | None:
    """The public key in a certificate of ours; None for any other certificate."""
    for form, at in _KEY_AT.items():
        key = der[at : at + KEY_BYTES]
        if len(key) == KEY_BYTES and der == _whole(key, der[-SIGNATURE_BYTES:], form):
            return key
    return None


def private_pem(seed: bytes) -> str:
    """The secret key as OpenSSL reads it."""
    return _pem("PRIVATE KEY", _PKCS8 + seed)


def certificate_pem(der: bytes) -> str:
    """A certificate as OpenSSL reads it."""
    return _pem("CERTIFICATE", der)


@lru_cache(maxsize=MAX_KEPT)
def body_of(key: bytes, form: int = V3) -> bytes:
    """The part of a key's certificate that is signed."""
    # Named by its key, OpenSSL finds an anchor among thousands by its name alone.
    name = _node(
        _SEQUENCE,
        _node(
            _SET, _node(_SEQUENCE, _node(_OID, _COMMON_NAME_OID), _node(_UTF8, key.hex().encode()))
        ),
    )
    serial = b"\x01" + hashlib.blake2b(key, digest_size=8).digest()
    always = _node(_SEQUENCE, _node(_UTC, BEGINS), _node(_TIME, b"99991231235959Z"))
    public = _node(_SEQUENCE, _algorithm(), _node(_BITS, b"\0" + key))
    number = _node(_INTEGER, serial)
    fields = (number, _algorithm(), name, always, name, public)
    if form == V1:
        return _node(_SEQUENCE, *fields)
    version = _node(_VERSION, _node(_INTEGER, b"\x02"))  # counted from 0
    return _node(_SEQUENCE, version, *fields, _node(_EXTENSIONS, _extensions(key)))


def _extensions(key: bytes) -> bytes:
    """What the key is for: both ends of TLS, and no other certificate."""
    key_id = hashlib.sha256(key).digest()[:20]  # RFC 7093, method 1
    usages = _node(_SEQUENCE, _node(_OID, _SERVER_AUTH), _node(_OID, _CLIENT_AUTH))
    return _node(
        _SEQUENCE,
        _extension(_CONSTRAINTS, _node(_SEQUENCE), critical=True),  # empty: no authority
        _extension(_KEY_USAGE, _node(_BITS, _DIGITAL_SIGNATURE), critical=True),
        _extension(_EXTENDED_USAGE, usages),
        _extension(_NAMES, _node(_SEQUENCE, _node(_DNS_NAME, SERVER_NAME.encode()))),
        _extension(_SUBJECT_KEY, _node(_OCTETS, key_id)),
        _extension(_AUTHORITY_KEY, _node(_SEQUENCE, _node(_KEY_ID, key_id))),
    )


def _extension(name: bytes, value: bytes, *, critical: bool = False) -> bytes:
    return _node(_SEQUENCE, _node(_OID, name), _TRUE if critical else b"", _node(_OCTETS, value))


def _signs(key: bytes, signature: bytes, form: int) -> bool:
    return signing.signed_bytes(key.hex(), signature, body_of(key, form))


def _whole(key: bytes, signature: bytes, form: int) -> bytes:
    body = body_of(key, form)
    return _node(_SEQUENCE, body, _algorithm(), _node(_BITS, b"\0" + signature))


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


def _key_place(form: int) -> int:
    mark = b"\xfe" * KEY_BYTES
    return _whole(mark, bytes(SIGNATURE_BYTES), form).rindex(b"\0" + mark) + 1


# Where the key stands in each form: every certificate of a form is as long as the others.
_KEY_AT: Final = {form: _key_place(form) for form in (V3, V1)}
