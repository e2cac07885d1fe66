"""What a model on a host is known by: sizes and spreads, which both sides compute alike.

A spread is the SHA-256 of a file's size, its first 16 MiB and 64 blocks of 64 KiB over all of it:
every host has a program for SHA-256 and none for BLAKE3, which names models between peers.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from providers.models.finding import LocalModel
from providers.models.identity import Changed, open_regular, stat_key

HEAD_BYTES: Final = 16 << 20
BLOCK_BYTES: Final = 64 << 10
BLOCKS: Final = 64
ID_DIGITS: Final = 32
CHUNK_BYTES: Final = 1 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PartContent:
    """One file of a model: where it is here, and what it is known by there."""

    name: str
    path: Path
    size: int
    spread: str

    @property
    def words(self) -> str:
        """Its size, spread and blocks, as content.sh takes them."""
        return f"{self.size} {self.spread} '{' '.join(map(str, blocks_of(self.size)))}'"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelContent:
    """A model's files in their order. `folder`: an engine is given the folder, not its first
    file."""

    name: str
    parts: tuple[PartContent, ...]
    folder: bool

    @property
    def size(self) -> int:
        """All of it, bytes."""
        return sum(one.size for one in self.parts)

    @property
    def id(self) -> str:
        """The name of our own copy's folder on a host."""
        lines = "".join(f"{one.name}\n{one.size}\n{one.spread}\n" for one in self.parts)
        return hashlib.sha256(lines.encode()).hexdigest()[:ID_DIGITS]

    @property
    def sought(self) -> PartContent:
        """The file by whose size it is looked for: what an engine is given, or the largest."""
        return max(self.parts, key=lambda one: one.size) if self.folder else self.parts[0]


def blocks_of(size: int) -> list[int]:
    """Numbers of the blocks in a spread; none of a file that its head is all of."""
    count = size // BLOCK_BYTES
    if size <= HEAD_BYTES:
        return []
    return sorted({i * (count - 1) // (BLOCKS - 1) for i in range(BLOCKS)})


def content_of(model: LocalModel) -> ModelContent:
    """Read what it is known by; blocking, some 20 MiB a file. Changed, ModelError, OSError."""
    parts = tuple(_part(one.name, one.path) for one in model.parts)
    return ModelContent(name=model.name, parts=parts, folder=model.path.is_dir())


def _part(name: str, path: Path) -> PartContent:
    with open_regular(path) as file:
        before = stat_key(file.fileno())
        size = before[2]
        made = hashlib.sha256(f"{size}\n".encode())
        for at, most in [
            (0, HEAD_BYTES),
            *((n * BLOCK_BYTES, BLOCK_BYTES) for n in blocks_of(size)),
        ]:
            file.seek(at)
            while most > 0 and (data := file.read(min(most, CHUNK_BYTES))):
                made.update(data)
                most -= len(data)
        if stat_key(file.fileno()) != before:
            raise Changed(path)
    return PartContent(name=name, path=path, size=size, spread=made.hexdigest())


def whole_sum(path: Path) -> str:
    """The SHA-256 of a file; blocking, 0.3 to 2 GB a second. Changed, OSError."""
    with open_regular(path) as file:
        before = stat_key(file.fileno())
        made = hashlib.file_digest(file, "sha256")
        if stat_key(file.fileno()) != before:
            raise Changed(path)
    return made.hexdigest()


def search_script(model: ModelContent, known: str) -> str:
    """Looks for a model: prints its path after "at " where it is there, then what df says.

    First where it was the last time (`known`, "" for nowhere) and in our own folder, then in every
    place of models. Names and paths are quoted: a model's files may be called anything.
    """
    sought, rest = model.sought, [one for one in model.parts if one is not model.sought]
    hint = f"{known}/{sought.name}" if known and model.folder else known
    given = '"$dir"' if model.folder else '"$1"'
    named = f"case $1 in */{shlex.quote(sought.name)}) ;; *) return 1 ;; esac"
    lines = [
        "look() { # whether file $1 is what an engine is given, with all that belongs to it",
        "  dir=${1%/*}; case $1 in /*) ;; *) return 1 ;; esac",
        f"  {named}" if rest or model.folder else "",
        f'  is "$1" {sought.words} || return 1',
        *(f'  is "$dir"/{shlex.quote(one.name)} {one.words} || return 1' for one in rest),
        f"  printf 'at %s\\n' {given}",
        "}",
        f'look {shlex.quote(hint)} || look "$R/models/{model.id}/"{shlex.quote(sought.name)} ||',
        f'candidates {sought.size} | while IFS= read -r f; do look "$f" && break; done',
        'mkdir -p "$R/models"; df -Pk "$R/models"',
    ]
    return "\n".join(line for line in lines if line)


def found_path(lines: Sequence[str]) -> str:
    """What a search printed: a whole path, or ""."""
    for line in lines:
        if line.startswith("at /"):
            return line[3:]
    return ""
