"""Private files that survive a power cut, JSON that anybody may have written, and what can go wrong
on disk in words for a person."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class StoreError(Exception):
    """The ledger cannot be read or written; `text` says what, `hint` what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(f"{text}; {hint}" if hint else text)
        self.text = text
        self.hint = hint


class LedgerBusy(StoreError):
    """Another process is the writer of this ledger; `pid` is 0 when it left no number."""

    def __init__(self, pid: int) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"the ledger is in use by {who}", "stop it first, or ask it over HTTP")
        self.pid = pid


class LedgerDamaged(StoreError):
    """The database is not as SQLite wrote it; nothing should be added to it."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "run: fleet repair")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns SQLite's and the system's errors into one StoreError about `what`."""
    try:
        yield
    except StoreError:
        raise
    except sqlite3.Error as error:
        if "malformed" in str(error) or "not a database" in str(error):
            raise LedgerDamaged(f"{what}: {error}") from error
        raise StoreError(f"{what}: {error}", _sqlite_hint(str(error))) from error
    except UnicodeDecodeError as error:  # SQLite quoting a damaged name in its own error
        raise LedgerDamaged(f"{what}: the database is malformed") from error
    except OSError as error:
        raise StoreError(f"{what}: {_system_text(error)}", _system_hint(error)) from error


def _sqlite_hint(text: str) -> str:
    if "full" in text:
        return "free some disk space; nothing was lost and nothing half written"
    if "readonly" in text or "unable to open" in text:
        return "check that the ledger's folder exists and is writable"
    if "locked" in text:
        return "another program has the ledger open for writing; close it"
    return ""


def _system_text(error: OSError) -> str:
    if error.errno == errno.EISDIR and error.filename:
        return f"{error.filename2 or error.filename} is a folder"
    return error.strerror or str(error)


def _system_hint(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space; nothing was lost and nothing half written"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "check that you own the ledger's folder and may write to it"
    if error.errno == errno.EISDIR:
        return "move that folder away: a file is wanted there"
    if error.errno == errno.ENOENT:
        return "check the path"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "name a folder there, not a file"
    return ""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError for all else, what is no number or nests deep too."""
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def whole_number(value: object, most: int = 2**53 - 1) -> int:
    """An integer from 0 up to `most` out of JSON; ValueError for anything else."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"no whole number up to {most}")
    return value


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:20]} is no number")
    return found


def place_of(path: Path) -> Path:
    """Where a file that a person names is to appear: behind its links, and in the place of nothing
    but a file; StoreError for a folder, a pipe, a device."""
    real = path.resolve()
    if real.is_dir():
        raise StoreError(f"cannot write to {path}: it is a folder", "name a file")
    if real.exists() and not real.is_file():
        raise StoreError(f"cannot write to {path}: it is no file", "name a file")
    return real


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner reads, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
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
