"""What a person typed, apart from what the fleet may know of it.

A job's body (prompt, model's path, command, folder, environment) stays in a file of the job's home.
Its event holds a label, a size and a salted hash: enough to tell two bodies apart at home, and
useless for guessing, since the salt is in the file. Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, final
from urllib.parse import urlsplit

import msgspec

from mesh.api.wire.workfiles import WorkFile

# A guess at a short prompt could be checked against a bare hash; against 128 random bits it can't.
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MAX_LABEL_CHARS: Final = 80  # a line of a table; a label is signed and goes to every peer
A_COMMAND: Final = "command"  # the label of one whose first word names no program

_ENCODER: Final = msgspec.json.Encoder(order="sorted")


@final
class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was typed for one job. A command has no prompt and no model, a model no command.

    `lines`: many requests in place of a prompt, JSON to a line.
    """

    prompt: str = ""
    lines: str = ""
    model: str = ""  # as the engine opens it: a path says whose folder it is
    command: tuple[str, ...] = ()
    cwd: str = ""  # "" = the home directory
    env: dict[str, str] = {}
    files: tuple[WorkFile, ...] = ()  # laid out in a folder of the attempt's own, where it runs


@final
class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What the job's event says of its body."""

    body_hash: str
    body_bytes: int


def canonical(body: Body) -> bytes:
    """The one encoding of a body: JSON, keys sorted, what is empty left out."""
    return _ENCODER.encode(body)


def seal(body: Body, salt: bytes) -> Sealed:
    """blake2b-256 over the salt and the canonical body, and the body's size."""
    data = canonical(body)
    digest = hashlib.blake2b(salt + data, digest_size=HASH_BYTES).hexdigest()
    return Sealed(body_hash=digest, body_bytes=len(data))


def base_name(reference: str) -> str:
    """A model's or program's last name: no folder, host, account or query goes with it."""
    path = urlsplit(reference).path if "://" in reference else reference
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def label_of(text: str) -> str:
    """A label as it is signed: one line, no longer than a table's cell."""
    return " ".join(text.split())[:MAX_LABEL_CHARS]
