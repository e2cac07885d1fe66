"""What was verified before: a digest of each full segment, all under this peer's signature.

A full segment never changes. Found sound once, it needs no signature checked again as long as its
bytes give the same digest. A mark that somebody else made, or for other bytes, marks nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mesh.edge.disk import StoreError, parse_json, whole_number, write_private
from mesh.edge.store.sealed.shelf import DIGEST_BYTES

if TYPE_CHECKING:
    from mesh.edge.identity import Identity

FILE: Final = "verified.json"
# What the signature means: no other protocol of ours signs bytes that start like this.
DOMAIN: Final = b"fleet-ledger/verified/1\0"

Marks = dict[tuple[str, int], bytes]  # by author (hex) and segment


def owner(home: Path) -> Identity | None:
    """Whose marks count in `home`; None where there is no key to sign them with."""
    from mesh.edge.identity import KEY_FILE, load_or_create

    try:
        return load_or_create(home) if (home / KEY_FILE).is_file() else None
    except StoreError:
        return None


def load(home: Path, who: Identity) -> Marks:
    """The marks in `home`; none where they are missing, changed, or not by this peer."""
    from mesh.ledger import signing

    try:
        said = parse_json((home / FILE).read_bytes())
        rows = said["marks"]
        sig = bytes.fromhex(said["sig"])
        found = {
            (str(author), whole_number(number)): bytes.fromhex(mark)
            for author, number, mark in rows
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return found if signing.signed_bytes(who.author, sig, _message(found)) else {}


def save(home: Path, who: Identity, marks: Marks) -> None:
    """Keep the marks; in a folder that can't be written there are none."""
    from mesh.ledger import signing

    rows = [[author, number, mark.hex()] for (author, number), mark in sorted(marks.items())]
    said = {"marks": rows, "sig": signing.sign_bytes(who.seed, _message(marks)).hex()}
    try:
        write_private(home / FILE, json.dumps(said) + "\n")
    except OSError:
        return


def _message(marks: Marks) -> bytes:
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for (author, number), mark in sorted(marks.items()):
        total.update(f"{author} {number} {mark.hex()}\n".encode())
    return DOMAIN + total.digest()
