"""Who this peer is: one secret key in one file, and the name people read aloud."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from mesh.edge.store_errors import StoreError, explained

KEY_FILE: Final = "identity.key"
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
SEED_BYTES: Final = 32
# A blake2b-256 hash is 52 base32 characters; every 13 get a check character, so 8 groups of 7.
CHECKED: Final = 13
GROUP: Final = 7
ID_CHARACTERS: Final = 56


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A peer's key. `seed` is the secret, `author` its public key in hex."""

    seed: bytes = field(repr=False)
    author: str
    peer_id: str


def load_or_create(home: Path) -> Identity:
    """The key kept in `home`, made at the first call. StoreError when it must not be used."""
    from mesh.ledger import signing

    with explained(f"cannot use the key in {home}"):
        path = home / KEY_FILE
        if not path.exists():
            _create(path, signing.keygen())
        seed = _read(path)
    author = signing.author_of(seed)
    return Identity(seed=seed, author=author, peer_id=peer_id(author))


def peer_id(author: str) -> str:
    """The readable name of a public key (hex): 8 groups of 7, four characters of them checks."""
    digest = hashlib.blake2b(bytes.fromhex(author), digest_size=32).digest()
    text = base64.b32encode(digest).decode("ascii").rstrip("=")
    parts = [text[i : i + CHECKED] for i in range(0, len(text), CHECKED)]
    whole = "".join(part + check_character(part) for part in parts)
    return "-".join(whole[i : i + GROUP] for i in range(0, len(whole), GROUP))


def parse_peer_id(text: str) -> str:
    """A typed peer id in its standard form; ValueError names the group with the mistake."""
    plain = "".join(text.split()).replace("-", "").upper()
    if len(plain) != ID_CHARACTERS:
        raise ValueError(f"a peer id has {ID_CHARACTERS} characters, this has {len(plain)}")
    wrong = sorted(set(plain) - set(ALPHABET))
    if wrong:
        raise ValueError(f"a peer id has no character {wrong[0]!r}")
    for start in range(0, ID_CHARACTERS, CHECKED + 1):
        part = plain[start : start + CHECKED]
        if check_character(part) != plain[start + CHECKED]:
            group = start // GROUP + 1
            raise ValueError(f"a mistyped character in group {group} or {group + 1}")
    return "-".join(plain[i : i + GROUP] for i in range(0, ID_CHARACTERS, GROUP))


def check_character(text: str) -> str:
    """Luhn mod 32: any single wrong character changes it, most swaps of neighbours too."""
    total = 0
    for index, character in enumerate(reversed(text)):
        addend = ALPHABET.index(character) * (2 if index % 2 == 0 else 1)
        total += addend // 32 + addend % 32
    return ALPHABET[-total % 32]


def _create(path: Path, seed: bytes) -> None:
    """Whole or not at all, and never over a key that is there."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, seed)
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; Windows has no such call."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: Path) -> bytes:
    """The seed in a key file that nobody else can read."""
    if not path.is_file():
        raise StoreError(f"{path} is not a file", "move it away; a new key is made")
    mode = path.stat().st_mode & 0o777
    if os.name != "nt" and mode & 0o077:
        raise StoreError(f"{path} can be read by others (mode {mode:o})", f"run: chmod 600 {path}")
    with path.open("rb") as file:
        seed = file.read(SEED_BYTES + 1)
    if len(seed) != SEED_BYTES:
        size = path.stat().st_size
        raise StoreError(
            f"{path} has {size} bytes, a key has {SEED_BYTES}",
            "restore it from a backup, or move it away to start as a new peer",
        )
    return seed
