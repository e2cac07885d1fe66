"""The name people read aloud: a public key's hash in base32, with check characters."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import Final

ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
# A blake2b-256 hash is 52 base32 characters; every 13 get a check character, so 8 groups of 7.
CHECKED: Final = 13
GROUP: Final = 7
ID_CHARACTERS: Final = 56
# Of a peer id in the names of its devices and jobs: 50 bits, so that nobody makes a key to match.
SHORT: Final = 10
OLD_SHORT: Final = 8  # until 0.2, in names of devices


def peer_id(author: str) -> str:
    """The readable name of a public key (hex): 8 groups of 7, four characters of them checks."""
    digest = hashlib.blake2b(bytes.fromhex(author), digest_size=32).digest()
    text = base64.b32encode(digest).decode("ascii").rstrip("=")
    return grouped(with_checks(text))


@lru_cache(maxsize=1024)
def short_id(author: str) -> str:
    """The start of a key's readable name, as its devices and jobs carry it."""
    return peer_id(author).replace("-", "")[:SHORT].lower()


def is_named_for(author: str, name: str) -> bool:
    """Whether a device's or job's id carries this key's short id: then it is nobody else's."""
    kind, _, rest = name.partition("-")
    short = short_id(author)
    own = rest.startswith(f"{short}-") or (
        kind == "dev" and rest.startswith(f"{short[:OLD_SHORT]}-")
    )
    return own and kind in ("dev", "j", "k", "s")


def parse_peer_id(text: str) -> str:
    """A typed peer id in its standard form; ValueError names the group with the mistake."""
    plain = "".join(text.split()).replace("-", "").upper()
    if len(plain) != ID_CHARACTERS:
        raise ValueError(f"a peer id has {ID_CHARACTERS} characters, this has {len(plain)}")
    wrong = sorted(set(plain) - set(ALPHABET))
    if wrong:
        raise ValueError(f"a peer id has no character {wrong[0]!r}")
    without_checks(plain)
    return grouped(plain)


def with_checks(text: str) -> str:
    """Base32 text with a check character after every 13 and after the rest."""
    parts = [text[i : i + CHECKED] for i in range(0, len(text), CHECKED)]
    return "".join(part + check_character(part) for part in parts)


def without_checks(text: str) -> str:
    """What `with_checks` was given; ValueError names the group with a mistyped character."""
    parts = []
    for start in range(0, len(text), CHECKED + 1):
        part = text[start : start + CHECKED + 1]
        if check_character(part[:-1]) != part[-1]:
            group = start // GROUP + 1
            raise ValueError(f"a mistyped character in group {group} or {group + 1}")
        parts.append(part[:-1])
    return "".join(parts)


def grouped(text: str) -> str:
    """In groups of 7, as people read them aloud."""
    return "-".join(text[i : i + GROUP] for i in range(0, len(text), GROUP))


def check_character(text: str) -> str:
    """Luhn mod 32: any single wrong character changes it, most swaps of neighbours too."""
    total = 0
    for index, character in enumerate(reversed(text)):
        addend = ALPHABET.index(character) * (2 if index % 2 == 0 else 1)
        total += addend // 32 + addend % 32
    return ALPHABET[-total % 32]
