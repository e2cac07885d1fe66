"""Who this peer is: one secret key in one file, and the name people read aloud."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import StoreError, explained, parse_json, sync_folder, write_private
from mesh.state.peer_id import parse_peer_id, peer_id

__all__ = [
    "KEY_FILE",
    "Fleet",
    "Identity",
    "fleet_of",
    "fleet_root",
    "join_fleet",
    "leave_fleet",
    "load_or_create",
    "parse_peer_id",
    "peer_id",
    "reset",
    "set_aside",
]

KEY_FILE: Final = "identity.key"
FLEET_FILE: Final = "fleet.json"
SEED_BYTES: Final = 32
KEY_BYTES: Final = 32
DAMAGED_HINT: Final = "put it back from a backup; else move it away and join anew: fleet join CODE"


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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The fleet this peer belongs to: the key its authority starts at, and who let us in.

    `founding` is the hash of the event that founded it and `recovery` its recovery key's public
    half, both "" while unknown: a fleet of an earlier version has neither. `introducer`, its
    certificate's signature, and the `role` it granted us are trusted until the ledger has been
    synced once.
    """

    root: str
    founding: str = ""
    recovery: str = ""
    introducer: str = ""
    tls: str = ""
    role: str = ""


def fleet_of(home: Path) -> Fleet | None:
    """What pairing left in `home`; None for a peer that is alone.

    StoreError for a file that says something else: who is alone believes whatever it holds.
    """
    path = home / FLEET_FILE
    with explained(f"cannot read {path}"):
        try:
            said = parse_json(path.read_bytes())
            found = Fleet(**{key: str(said.get(key, "")) for key in Fleet.__slots__})
            if len(bytes.fromhex(found.root)) != KEY_BYTES:
                raise ValueError("no key")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, AttributeError) as error:
            raise StoreError(f"{path} is damaged: it names no fleet", DAMAGED_HINT) from error
    return found


def fleet_root(home: Path) -> str:
    """The public key (hex) that membership starts at; "" for a peer that is alone."""
    found = fleet_of(home)
    return "" if found is None else found.root


def join_fleet(home: Path, fleet: Fleet) -> None:
    """Belong to a fleet from now on."""
    body = {key: getattr(fleet, key) for key in Fleet.__slots__}
    with explained("cannot keep which fleet this is"):
        write_private(home / FLEET_FILE, json.dumps(body, indent=1) + "\n")


def leave_fleet(home: Path) -> None:
    """Be alone again; the ledger stays."""
    (home / FLEET_FILE).unlink(missing_ok=True)


def reset(home: Path) -> tuple[Identity, Identity]:
    """(old, new) identity: a new key, the old one kept beside it; the ledger stays as it is.

    What the fleet granted the old key is not the new one's.
    """
    old, fleet = load_or_create(home), fleet_of(home)
    if fleet is not None:
        join_fleet(home, replace(fleet, introducer="", tls="", role=""))
    with explained(f"cannot reset the key in {home}"):
        (home / KEY_FILE).rename(set_aside(home, old.author))
    return old, load_or_create(home)


def set_aside(home: Path, author: str) -> Path:
    """Where `reset` keeps the key of an author that this machine was."""
    return home / f"{KEY_FILE}.{peer_id(author)[:7].lower()}"


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
            "put it back from a backup, or move it away to start as a new peer",
        )
    return seed
