"""Sealed segments as they are read: found, compared with their digest, unpacked, kept a while."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError
from mesh.edge.store.sealed.pack import PackError, Segment, unpack

# Unpacked segments kept in memory: those of some twenty peers that write at the same time, whose
# events a reader in total order meets in turns. A segment of jobs is one megabyte.
CACHE_BYTES: Final = 24 * 1024 * 1024
DIGEST_BYTES: Final = 32


def digest_of(blob: bytes) -> bytes:
    """What a sealed segment is known by."""
    return hashlib.blake2b(blob, digest_size=DIGEST_BYTES).digest()


def read_file(folder: Path, digest: bytes) -> bytes | None:
    """A file of an archive; None where it is missing, or not what its name says."""
    try:
        data = (folder / digest.hex()).read_bytes()
    except OSError:
        return None
    return data if digest_of(data) == digest else None


def missing(folder: Path) -> StoreError:
    """What is said where the archive folder is not there."""
    text = f"the archive folder {folder} is not there"
    return StoreError(text, "connect its disk, or correct archive in fleet.toml")


class Sealed:
    """The sealed segments of an open ledger; authors are numbers here."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db: Final = db
        self._kept: Final[OrderedDict[tuple[int, int], tuple[int, Segment]]] = OrderedDict()
        self._size = 0

    def blob(self, author: int, number: int) -> bytes | None:
        """The packed segment as stored; None where there is none, StoreError for a damaged one."""
        row = self._db.execute(
            "SELECT digest, data FROM segments WHERE author = ? AND segment = ?", (author, number)
        ).fetchone()
        if row is None:
            return None
        digest, data = row
        if data is None and isinstance(digest, bytes):
            return self._from_folder(number, digest)
        if not isinstance(data, bytes) or digest_of(data) != digest:
            raise _damaged(number, "its bytes changed")
        return data

    def folder(self) -> Path | None:
        """Where files of full segments are; None where nobody named a folder."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'archive'").fetchone()
        return None if row is None else Path(row[0])

    def _from_folder(self, number: int, digest: bytes) -> bytes:
        folder = self.folder()
        data = None if folder is None else read_file(folder, digest)
        if data is None and folder is not None and not folder.is_dir():
            raise missing(folder)
        if data is None:
            raise _damaged(number, f"{folder}/{digest.hex()} is missing, or changed")
        return data

    def events(self, author: int, number: int) -> Segment | None:
        """The events of a sealed segment; None where there is none."""
        key = (author, number)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][1]
        blob = self.blob(author, number)
        if blob is None:
            return None
        try:
            found = unpack(blob)
        except PackError as error:
            raise _damaged(number, str(error)) from error
        self._keep(key, found)
        return found

    def _keep(self, key: tuple[int, int], found: Segment) -> None:
        size = sum(len(sig) + len(body) for sig, body in found.envelopes)
        self._kept[key] = (size, found)
        self._size += size
        while self._size > CACHE_BYTES and len(self._kept) > 1:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._size -= dropped


def _damaged(number: int, why: str) -> StoreError:
    return StoreError(f"sealed segment {number} is damaged: {why}", "run: fleet verify")
