"""What is known of files on this disk, so that none is read twice: quick hash, chunk hashes.

One small file per model file, named by what `stat` says; a file that changed has another name.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from providers.durable import read_json, write_json
from providers.models.hashing import digest, is_digest
from providers.models.identity import (
    ModelFile,
    ModelIdentity,
    Part,
    StatKey,
    joined_quick_hash,
    quick_hash_of_file,
    stat_key,
)
from providers.models.manifest import FileHashes, Manifest, chunk_count, hash_chunks, manifest_of

# Files remembered: far more than lie on one machine. The longest not looked at are forgotten.
MAX_KNOWN: Final = 8192


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Of one file: its quick hash, and the hashes of its chunks once they were made."""

    quick: str
    hashes: tuple[str, ...] | None


@final
class Known:
    """The folder of what is known. Two threads may use it: each writes whole files."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def quick(self, path: Path) -> str:
        """The quick hash of a file; ModelError, OSError."""
        key = stat_key(path)
        known = self._read(key)
        if known is None:
            known = Fact(quick=quick_hash_of_file(path), hashes=None)
            self._write(key, known)
        return known.quick

    def hashes(self, path: Path, took: Callable[[int], None] = lambda _: None) -> tuple[str, ...]:
        """The hashes of a file's chunks, made now where they are not known; ModelError, OSError."""
        key = stat_key(path)
        known = self._read(key)
        if known is not None and known.hashes is not None:
            took(key[2])
            return known.hashes
        made = hash_chunks(path, took)
        quick = known.quick if known is not None else quick_hash_of_file(path)
        self._write(key, Fact(quick=quick, hashes=made))
        return made

    def note(self, path: Path, hashes: tuple[str, ...]) -> None:
        """Remember the hashes of a file whose chunks were checked as they came."""
        self._write(stat_key(path), Fact(quick=quick_hash_of_file(path), hashes=hashes))

    def identity(self, name: str, parts: tuple[Part, ...]) -> ModelIdentity:
        """The identity of a model's files, its root where all is known; ModelError, OSError."""
        files = [
            (ModelFile(name=one.name, size_bytes=one.path.stat().st_size), self.quick(one.path))
            for one in parts
        ]
        made = self.manifest_if_known(parts)
        return ModelIdentity(
            name=name,
            size_bytes=sum(file.size_bytes for file, _ in files),
            quick_hash=joined_quick_hash(files),
            files=tuple(file for file, _ in files),
            root="" if made is None else made.root,
        )

    def manifest_if_known(self, parts: tuple[Part, ...]) -> Manifest | None:
        """The manifest, if every file's chunks are hashed already."""
        found: list[FileHashes] = []
        for one in parts:
            key = stat_key(one.path)
            known = self._read(key)
            if known is None or known.hashes is None:
                return None
            file = ModelFile(name=one.name, size_bytes=key[2])
            found.append(FileHashes(file=file, hashes=known.hashes))
        return manifest_of(found)

    def manifest(
        self, parts: tuple[Part, ...], took: Callable[[int], None] = lambda _: None
    ) -> Manifest:
        """The manifest of a model's files, hashed now where it must be; ModelError, OSError."""
        found: list[FileHashes] = []
        for one in parts:
            hashes = self.hashes(one.path, took)
            size = one.path.stat().st_size
            found.append(FileHashes(file=ModelFile(name=one.name, size_bytes=size), hashes=hashes))
        return manifest_of(found)

    def prune(self) -> None:
        """Forget the longest unused beyond MAX_KNOWN."""
        files = sorted(self._folder.glob("*.json"), key=lambda one: one.stat().st_mtime_ns)
        for one in files[: max(0, len(files) - MAX_KNOWN)]:
            one.unlink(missing_ok=True)

    def _path(self, key: StatKey) -> Path:
        return self._folder / f"{digest(json.dumps(key).encode())[:32]}.json"

    def _read(self, key: StatKey) -> Fact | None:
        found = read_json(self._path(key))
        if found is None or found.get("key") != list(key) or not is_digest(found.get("quick")):
            return None
        hashes = found.get("hashes")
        whole = isinstance(hashes, list) and len(hashes) == chunk_count(key[2])
        sound = whole and isinstance(hashes, list) and all(is_digest(one) for one in hashes)
        return Fact(
            quick=str(found["quick"]),
            hashes=tuple(hashes) if sound and isinstance(hashes, list) else None,
        )

    def _write(self, key: StatKey, fact: Fact) -> None:
        hashes = None if fact.hashes is None else list(fact.hashes)
        # A full disk only means that the file is read once more.
        with suppress(OSError):
            write_json(self._path(key), {"key": list(key), "quick": fact.quick, "hashes": hashes})
