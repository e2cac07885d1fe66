"""Ed25519: who wrote an event. The only file that knows PyNaCl."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

# What a signature means: no other protocol of ours signs bytes that start like this.
DOMAIN: Final = b"fleet-ledger/event/1\0"
SEED_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def keygen() -> bytes:
    """A fresh 32-byte secret seed from the system's randomness."""
    return bytes(SigningKey.generate())


def author_of(seed: bytes) -> str:
    """Hex of the public key that belongs to a secret seed."""
    return bytes(_signer(seed).verify_key).hex()


def seal(seed: bytes, body: bytes) -> bytes:
    """The 64-byte signature over the domain and the body."""
    return bytes(_signer(seed).sign(DOMAIN + body).signature)


def verify(author: str, sig: bytes, body: bytes) -> bool:
    """Whether the owner of the public key `author` (hex) signed exactly these bytes."""
    try:
        VerifyKey(bytes.fromhex(author)).verify(DOMAIN + body, sig)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


def sign_bytes(seed: bytes, message: bytes) -> bytes:
    """The 64-byte signature over bytes of another protocol, which name themselves."""
    assert not message.startswith(DOMAIN), "an event is signed by `seal` alone"
    return bytes(_signer(seed).sign(message).signature)


def signed_bytes(author: str, sig: bytes, message: bytes) -> bool:
    """Whether the owner of `author` (hex) made `sign_bytes(seed, message)`."""
    try:
        VerifyKey(bytes.fromhex(author)).verify(message, sig)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=1)
def _signer(seed: bytes) -> SigningKey:
    """Expanding a seed costs as much as a signature, so the last one is kept."""
    return SigningKey(seed)
