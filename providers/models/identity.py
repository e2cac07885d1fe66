"""Which model a file or a folder is, by its content: known at once, whatever its size and name.

The quick hash reads some 20 MiB of a file: its size, its first 16 MiB (a GGUF's header with all
tensors' names lies there) and 64 samples spread over the rest. It finds copies; a copy counts as
verified only by the hashes of all its chunks (`manifest`).
"""

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, final

from providers.base import ModelError
from providers.models.hashing import Hasher, is_digest

HEAD_BYTES: Final = 16 << 20
SAMPLES: Final = 64
SAMPLE_BYTES: Final = 64 << 10
QUICK_DIGITS: Final = 32  # 128 bits: two models of one fleet never meet by chance
MAX_FILES: Final = 1024  # of one model; real ones have under 200
MAX_SIZE_BYTES: Final = 1 << 42  # 4 TiB, twice the largest model there is
MAX_NAME: Final = 200
# What Windows and shells read as something else; a name from another machine has none of them.
_UNSAFE: Final = frozenset('/\\:*?"<>|\0')
_DEVICES: Final = frozenset({"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10))})


class Changed(ModelError):
    """A file is another now than when it was looked at."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.name} changed while it was read", "wait until its download is over"
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a model: its name there and its size."""

    name: str
    size_bytes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """A model wherever it lies. `quick_hash` finds it; `root`, "" where unknown, verifies it.

    The name is what a person calls it; two peers may call the same content differently.
    """

    name: str
    size_bytes: int
    quick_hash: str
    files: tuple[ModelFile, ...]
    root: str = ""

    def to_json(self) -> dict[str, object]:
        """As peers send it to each other."""
        return {
            "name": self.name,
            "size_bytes": self.size_bytes,
            "quick_hash": self.quick_hash,
            "files": [{"name": one.name, "size_bytes": one.size_bytes} for one in self.files],
            "root": self.root,
        }


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of a model on this disk: what it is called as part of it, and where it is."""

    name: str
    path: Path


def identity_from_json(value: object) -> ModelIdentity:
    """The identity another peer sent; ValueError for anything odd, for it will name our files."""
    if not isinstance(value, Mapping):
        raise ValueError("a model's identity is an object")
    files = files_from_json(value.get("files"))
    name, quick, root = value.get("name"), value.get("quick_hash"), value.get("root", "")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise ValueError("a model's name is a short text")
    if not is_digest(quick, QUICK_DIGITS) or (root and not is_digest(root)):
        raise ValueError("a model's hash is not one")
    size = sum(one.size_bytes for one in files)
    said = value.get("size_bytes")
    if type(said) is not int or said != size:
        raise ValueError("a model's size is not that of its files")
    return ModelIdentity(
        name=name, size_bytes=size, quick_hash=str(quick), files=files, root=str(root)
    )


def files_from_json(value: object) -> tuple[ModelFile, ...]:
    """Names and sizes another peer sent; ValueError for a name that could leave its folder."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_FILES:
        raise ValueError(f"a model has 1 to {MAX_FILES} files")
    found = [_file(one) for one in value]
    if len({one.name.casefold() for one in found}) < len(found):
        raise ValueError("two files of one name")
    return tuple(found)


def _file(value: object) -> ModelFile:
    name = value.get("name") if isinstance(value, Mapping) else None
    size = value.get("size_bytes") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or not is_plain_name(name):
        raise ValueError(f"{str(name)[:40]!r} is no name for a model's file")
    if type(size) is not int or not 0 <= size <= MAX_SIZE_BYTES:
        raise ValueError(f"{str(size)[:40]!r} is no size of a model's file")
    return ModelFile(name=name, size_bytes=size)


def is_plain_name(name: str) -> bool:
    """Whether a name is a plain file on every system: no folder, no device, not hidden."""
    plain = 0 < len(name) <= MAX_NAME and name.isprintable() and not _UNSAFE.intersection(name)
    odd = name.startswith(".") or name != name.strip() or name.endswith((".", ".part", ".map"))
    return plain and not odd and name.partition(".")[0].casefold() not in _DEVICES


def open_regular(path: Path) -> FileIO:
    """A regular file, open for reading; ModelError for a pipe or a device, OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelError(f"{path} is no regular file", "name a model's file")
    return FileIO(path)


StatKey = tuple[int, int, int, int]


def stat_key(of: Path | int) -> StatKey:
    """(device, inode, size, mtime in ns): while they stay, so does the content."""
    found = os.fstat(of) if isinstance(of, int) else of.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def quick_hash_of_file(path: Path) -> str:
    """The quick hash of one file; Changed where it grew meanwhile, OSError."""
    with open_regular(path) as file:
        before = stat_key(file.fileno())
        size = before[2]
        found = Hasher(struct.pack("<Q", size))
        found.update(_read_at(file, 0, HEAD_BYTES))
        for at in sample_offsets(size):
            found.update(_read_at(file, at, SAMPLE_BYTES))
        if stat_key(file.fileno()) != before:
            raise Changed(path)
    return found.digest()


def sample_offsets(size: int) -> list[int]:
    """Where the samples of a file of that size begin, from its first byte to its last."""
    last = max(0, size - SAMPLE_BYTES)
    return [i * last // (SAMPLES - 1) for i in range(SAMPLES)]


def _read_at(file: FileIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    parts: list[bytes] = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def label(name: str) -> str:
    """What of a file's name is content: nothing of a GGUF's, all of a file beside others."""
    return "" if name.lower().endswith(".gguf") else name


def joined_quick_hash(files: Sequence[tuple[ModelFile, str]]) -> str:
    """The quick hash of a model of these files, each with its own; the order counts."""
    if len(files) == 1:
        return files[0][1][:QUICK_DIGITS]
    found = Hasher()
    for file, quick in files:
        found.update(f"{label(file.name)}\n{file.size_bytes}\n{quick}\n".encode())
    return found.digest()[:QUICK_DIGITS]
