"""The hashes of every chunk of a model: what a copy is checked against, chunk by chunk.

Holes of a sparse file are told from data by the system, so what is not there is not read.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from typing import Final, final

from providers.models.hashing import Hasher, digest, is_digest
from providers.models.identity import (
    MAX_SIZE_BYTES,
    Changed,
    ModelFile,
    files_from_json,
    label,
    open_regular,
    stat_key,
)

# One range of a transfer: long enough that asking costs nothing, short enough to send again.
CHUNK_BYTES: Final = 16 << 20
MAX_CHUNKS: Final = MAX_SIZE_BYTES // CHUNK_BYTES
# A hash is 67 characters of JSON, and a model of 4 TiB has 262,144.
MAX_MANIFEST_BYTES: Final = 20 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FileHashes:
    """A file of a model and the hash of each of its chunks."""

    file: ModelFile
    hashes: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All of a model's chunks; `root` is the hash of them all, and of the names that count."""

    files: tuple[FileHashes, ...]
    root: str

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(one.file.size_bytes for one in self.files)

    def to_json(self) -> dict[str, object]:
        """As peers send it to each other, and as it lies beside a transfer."""
        files = [
            {"name": f.file.name, "size_bytes": f.file.size_bytes, "hashes": list(f.hashes)}
            for f in self.files
        ]
        return {"chunk_bytes": CHUNK_BYTES, "files": files, "root": self.root}


def manifest_of(files: Sequence[FileHashes]) -> Manifest:
    """The manifest of files whose chunks are hashed."""
    found = Hasher()
    for one in files:
        found.update(f"{label(one.file.name)}\n{one.file.size_bytes}\n".encode())
        found.update("\n".join(one.hashes).encode())
    return Manifest(files=tuple(files), root=found.digest())


def manifest_from_json(value: object) -> Manifest:
    """A manifest another peer sent; ValueError where it does not add up."""
    if not isinstance(value, Mapping) or value.get("chunk_bytes") != CHUNK_BYTES:
        raise ValueError(f"the manifest has not chunks of {CHUNK_BYTES} bytes")
    listed = value.get("files")
    files = files_from_json(listed)
    if sum(one.size_bytes for one in files) > MAX_SIZE_BYTES:
        raise ValueError("a model of more than 4 TiB")
    assert isinstance(listed, list)
    found = manifest_of([_hashes(f, one) for f, one in zip(files, listed, strict=True)])
    if value.get("root") != found.root:
        raise ValueError("the manifest's root is not that of its chunks")
    return found


def _hashes(file: ModelFile, value: Mapping[str, object]) -> FileHashes:
    hashes = value.get("hashes")
    if not isinstance(hashes, list) or len(hashes) != chunk_count(file.size_bytes):
        raise ValueError(f"{file.name} has not the number of chunks its size needs")
    if not all(is_digest(one) for one in hashes):
        raise ValueError(f"a hash of {file.name} is not one")
    return FileHashes(file=file, hashes=tuple(hashes))


def chunk_count(size: int) -> int:
    """Chunks of a file of that size; none of an empty one."""
    return -(-size // CHUNK_BYTES)


def chunk_size(size: int, index: int) -> int:
    """Bytes of one chunk of a file of that size: the last may be shorter."""
    return min(CHUNK_BYTES, size - index * CHUNK_BYTES)


@lru_cache(maxsize=64)  # whole chunks of zeros and some last ones
def zeros_hash(size: int) -> str:
    """The hash of so many zero bytes: such a chunk need not travel."""
    return digest(bytes(size))


def hash_chunks(path: Path, took: Callable[[int], None]) -> tuple[str, ...]:
    """The hash of each chunk; `took` hears after each how many bytes it was, and may raise to stop.

    Changed where the file is another one at the end than at the beginning.
    """
    found: list[str] = []
    buffer = bytearray(CHUNK_BYTES)
    with open_regular(path) as file:
        before = stat_key(file.fileno())
        for index in range(chunk_count(before[2])):
            size = chunk_size(before[2], index)
            found.append(_hash_of(file, index * CHUNK_BYTES, size, buffer, path))
            took(size)
        if stat_key(file.fileno()) != before:
            raise Changed(path)
    return tuple(found)


def _hash_of(file: FileIO, offset: int, size: int, buffer: bytearray, path: Path) -> str:
    if is_hole(file.fileno(), offset, size):
        return zeros_hash(size)
    view = memoryview(buffer)[:size]
    if read_into(file, offset, view) < size:
        raise Changed(path)
    return digest(view)


def read_into(file: FileIO, offset: int, view: memoryview) -> int:
    """Fill `view` from a place in the file; how many bytes there were."""
    file.seek(offset)
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])
        if not got:
            break
        done += got
    return done


def is_hole(descriptor: int, offset: int, size: int) -> bool:
    """Whether nothing was ever written there; False where the system can't tell."""
    if not hasattr(os, "SEEK_DATA"):
        return False
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA) >= offset + size
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from here to the end
