"""A model on its way in: chunks verified one by one, and what came survives any cut.

In the folder of a model: NAME.part with the bytes at their places, NAME.map with one byte per
chunk that is verified and on disk, manifest.json; at the end NAME, and model.json that says so.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, final

from providers.base import ModelError
from providers.durable import private_file, read_json, write_json
from providers.models.hashing import digest
from providers.models.identity import ModelFile, ModelIdentity, Part, identity_from_json
from providers.models.manifest import (
    CHUNK_BYTES,
    FileHashes,
    Manifest,
    chunk_size,
    is_hole,
    manifest_from_json,
    read_into,
    zeros_hash,
)

DONE: Final = "model.json"
MANIFEST: Final = "manifest.json"
WANTED: Final = "want.json"  # what is to be fetched, and from whom
# Chunks between two fdatasync: a power cut costs at most that many sent again.
SYNC_CHUNKS: Final = 4
GOT: Final = 1


class BadChunk(ModelError):
    """A sender's bytes are not what its manifest says."""

    def __init__(self, name: str, index: int, sender: str) -> None:
        super().__init__(
            f"chunk {index} of {name} from {sender or 'the sender'} is not what its manifest says",
            "pull it from another peer",
        )
        self.index: Final = index


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk that is still to come."""

    number: int  # of the file in the model
    index: int  # of the chunk in the file
    size: int

    @property
    def offset(self) -> int:
        """Where it begins in its file."""
        return self.index * CHUNK_BYTES


@final
class _File:
    """One file on its way: its descriptor, and which chunks are there."""

    def __init__(self, folder: Path, hashes: FileHashes) -> None:
        self.hashes: Final = hashes
        name, self.size = hashes.file.name, hashes.file.size_bytes
        self.path: Final = folder / name
        self.part: Final = folder / f"{name}.part"
        self._map: Final = folder / f"{name}.map"
        self.done: Final = _size(self.path) == self.size
        self.got = bytearray(b"\1" * len(hashes.hashes) if self.done else len(hashes.hashes))
        self._since = 0
        self._file: FileIO | None = None
        if not self.done:
            self._open()

    def _open(self) -> None:
        fresh = _size(self.part) != self.size
        self._file = _opened(self.part)
        self._file.truncate(self.size)
        if not fresh:
            self._read_map()
        self._check_rest()

    def _read_map(self) -> None:
        try:
            kept = self._map.read_bytes()
        except OSError:
            return
        if len(kept) == len(self.got):
            self.got = bytearray(int(one == GOT) for one in kept)

    def _check_rest(self) -> None:
        """Chunks written after the last map count if they are sound; so do those of zeros."""
        assert self._file is not None
        buffer = memoryview(bytearray(CHUNK_BYTES))
        for index, wanted in enumerate(self.hashes.hashes):
            size = chunk_size(self.size, index)
            if self.got[index]:
                continue
            if is_hole(self._file.fileno(), index * CHUNK_BYTES, size):
                self.got[index] = wanted == zeros_hash(size)
                continue
            view = buffer[:size]
            whole = read_into(self._file, index * CHUNK_BYTES, view) == size
            self.got[index] = whole and digest(view) == wanted

    def write(self, index: int, data: memoryview) -> None:
        """Keep a chunk that was verified."""
        assert self._file is not None
        self._file.seek(index * CHUNK_BYTES)
        done = 0
        while done < len(data):
            done += self._file.write(data[done:]) or 0
        self.got[index] = GOT
        self._since += 1
        if self._since >= SYNC_CHUNKS:
            self.sync()

    def sync(self) -> None:
        """Everything marked is on disk before the map says so."""
        if self._file is None or not self._since:
            return
        getattr(os, "fdatasync", os.fsync)(self._file.fileno())
        fresh = self._map.with_name(f"{self._map.name}.new")
        with os.fdopen(private_file(fresh, os.O_TRUNC), "wb") as out:
            out.write(self.got)
        fresh.replace(self._map)
        self._since = 0

    def close(self, *, durable: bool) -> None:
        """Keep what is there for the next try."""
        if self._file is None:
            return
        try:
            if durable:
                self.sync()
        finally:
            self._file.close()
            self._file = None

    def finish(self) -> None:
        """Give the file its name."""
        if self.done:
            return
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self.part.replace(self.path)
        self._map.unlink(missing_ok=True)


@final
class Incoming:
    """A model being taken in. One at a time works in a folder; `close` or `finish` ends it."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder: Final = folder
        self.manifest: Final = manifest
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if kept_root(folder) != manifest.root:
            clear(
                folder, wanted=True
            )  # parts of something else would only be checked and thrown away
            write_json(folder / MANIFEST, manifest.to_json())
        self._files: Final = [_File(folder, one) for one in manifest.files]

    @property
    def got_bytes(self) -> int:
        """Verified and here."""
        return self.manifest.size_bytes - sum(chunk.size for chunk in self.missing())

    def missing(self) -> Iterator[Chunk]:
        """What is still to come, in order."""
        for number, file in enumerate(self._files):
            for index, got in enumerate(file.got):
                if not got:
                    yield Chunk(number=number, index=index, size=chunk_size(file.size, index))

    def take(self, chunk: Chunk, data: memoryview, sender: str = "") -> None:
        """Keep a chunk; BadChunk names it where its bytes are not those of the manifest."""
        file = self._files[chunk.number]
        if digest(data) != file.hashes.hashes[chunk.index]:
            raise BadChunk(file.hashes.file.name, chunk.index, sender)
        file.write(chunk.index, data)

    def close(self, *, durable: bool = True) -> None:
        """Stop here; the next Incoming of this folder goes on. `durable` unless a disk failed."""
        for file in self._files:
            file.close(durable=durable)

    def finish(self) -> None:
        """Give all files their names. The model is one once `seal` says so."""
        for file in self._files:
            file.finish()

    def seal(self, identity: ModelIdentity) -> None:
        """Say that the model is whole and is this one; who calls has looked at the files."""
        write_json(self.folder / DONE, identity.to_json())
        (self.folder / MANIFEST).unlink(missing_ok=True)


def _opened(path: Path) -> FileIO:
    """A private file to read and write, made if it is not there; never what a link leads to."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return FileIO(os.open(path, flags, 0o600), "r+")


def kept_root(folder: Path) -> str:
    """The root of the manifest a folder is being filled by; "" for none."""
    found = kept_manifest(folder)
    return "" if found is None else found.root


def kept_manifest(folder: Path) -> Manifest | None:
    """The manifest a folder is being filled by."""
    try:
        return manifest_from_json(read_json(folder / MANIFEST))
    except (ValueError, OSError):
        return None


def whole_model(folder: Path) -> tuple[ModelIdentity, tuple[Part, ...]] | None:
    """The model that was fetched into a folder; None while it is not all there."""
    try:
        identity = identity_from_json(read_json(folder / DONE))
    except (ValueError, OSError):
        return None
    parts = tuple(Part(name=one.name, path=folder / one.name) for one in identity.files)
    sound = all(
        _size(part.path) == file.size_bytes
        for part, file in zip(parts, identity.files, strict=True)
    )
    return (identity, parts) if sound else None


def clear(folder: Path, *, wanted: bool = False) -> int:
    """Remove what fetching put into a folder; the bytes that were freed. `wanted` still.

    Its files by their names, never through a link, and never what somebody else put there.
    """
    freed = 0
    names = [f"{one}{end}" for one in _names(folder) for end in ("", ".part", ".map", ".map.new")]
    for name in [*names, MANIFEST, DONE, *([] if wanted else [WANTED])]:
        path = folder / name
        if path.is_symlink():
            path.unlink()
        elif path.is_file():
            freed += _allocated(path)
            path.unlink()
    return freed


def _names(folder: Path) -> list[str]:
    found: list[ModelFile] = []
    manifest, whole = kept_manifest(folder), read_json(folder / DONE)
    if manifest is not None:
        found += [one.file for one in manifest.files]
    with suppress(ValueError):
        found += identity_from_json(whole).files
    return [one.name for one in found]


def _size(path: Path) -> int:
    """Of a regular file, never of what a link leads to; -1 for none."""
    if path.is_symlink() or not path.is_file():
        return -1
    return path.stat().st_size


def _allocated(path: Path) -> int:
    """What a file takes on disk: a sparse one less than its size."""
    found = path.stat()
    return min(found.st_size, getattr(found, "st_blocks", found.st_size // 512 + 1) * 512)


def taken_bytes(folder: Path) -> int:
    """What a model takes on disk, whole or in parts."""
    if not folder.is_dir() or folder.is_symlink():
        return 0
    return sum(
        _allocated(one) for one in folder.iterdir() if one.is_file() and not one.is_symlink()
    )
