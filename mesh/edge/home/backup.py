"""A consistent copy of what makes this peer itself, taken while its daemon runs."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, final

from mesh.edge.disk import StoreError, explained, place_of, sync_folder
from mesh.edge.home import archive
from mesh.edge.home.archive import Manifest, entry_of, pack, scratch
from mesh.edge.identity import KEY_FILE, fleet_of, join_fleet, load_or_create
from mesh.edge.store import schema
from mesh.edge.store.care.look import look
from mesh.edge.store.sealed.archive import NAME as ARCHIVE
from mesh.edge.store.sealed.shelf import Sealed, read_file
from mesh.edge.store.sealed.shelf import missing as no_folder

SCRATCH: Final = ".backup-"  # a folder of this name is of a backup that was cut off
# Signed by the key that is left out: of no use to another.
OF_THE_KEY: Final = ("high-water.json",)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a backup holds: its events, the bytes of its files, and whether the key is in it."""

    events: int
    size: int
    has_key: bool


def save_to(home: Path, path: Path, now: int, *, with_key: bool) -> Saved:
    """Write a backup, private to its owner; the file appears whole or not at all."""
    with explained(f"cannot back up to {path}"):
        path = place_of(path)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                saved = save(home, file, now, with_key=with_key)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    return saved


def save(home: Path, out: IO[bytes], now: int, *, with_key: bool) -> Saved:
    """Write a backup to a stream. A StoreError leaves home as it was."""
    if not (home / schema.DATABASE).is_file():
        raise StoreError(f"no ledger in {home}", "run: fleet up")
    if not (home / KEY_FILE).exists():  # to ask for it would make a new one
        raise StoreError(f"no identity in {home}", "fleet up --detach")
    author = load_or_create(home).author
    with explained(f"cannot copy what is in {home}"), scratch(home, SCRATCH) as folder:
        # The mark before the ledger: one that is newer than its ledger would have it wait.
        names = _copy_small(home, folder, with_key=with_key)
        events = _copy_ledger(home / schema.DATABASE, folder / schema.DATABASE)
        files = {name: folder / name for name in (*names, schema.DATABASE)}
        entries = {name: entry_of(path) for name, path in files.items()}
        manifest = Manifest(
            format=archive.FORMAT, made_ms=now, author=author, events=events, files=entries
        )
        pack(out, manifest, files)
    size = sum(one.size for one in entries.values())
    return Saved(events=events, size=size, has_key=manifest.has_key)


def _copy_small(home: Path, folder: Path, *, with_key: bool) -> list[str]:
    """The small files there are; without the key, nothing that is this key's alone."""
    wanted = [*archive.SMALL, *([KEY_FILE] if with_key else [])]
    left_out = () if with_key else OF_THE_KEY
    names = [name for name in wanted if (home / name).is_file() and name not in left_out]
    for name in names:
        if (home / name).stat().st_size > archive.MAX_SMALL:
            text = f"{home / name} is larger than {archive.MAX_SMALL} bytes: it is not ours"
            raise StoreError(text, "move it away")
        shutil.copyfile(home / name, folder / name)
        (folder / name).chmod(0o600)
    fleet = fleet_of(home)
    if fleet is not None and not with_key:  # as after `fleet identity reset`
        join_fleet(folder, replace(fleet, introducer="", tls="", role=""))
    return names


def _copy_ledger(source: Path, target: Path) -> int:
    """SQLite's own backup: one moment of the ledger, whoever writes it; returns its events."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(schema.connect(target, "rw")) as db:
        with closing(schema.read_only(source)) as live:
            live.backup(db)
        db.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        look(db, target)
        _bring_home(db)
        return int(db.execute("SELECT COUNT(*) FROM events").fetchone()[0])


def _bring_home(db: sqlite3.Connection) -> None:
    """Segments that an archive folder keeps: a backup that needs a second folder is none."""
    if schema.format_of(db) < schema.FORMAT:
        return
    folder = Sealed(db).folder()
    if folder is None:
        return
    if not folder.is_dir():
        raise no_folder(folder)
    db.execute("BEGIN")
    rows = db.execute("SELECT rowid, digest FROM segments WHERE data IS NULL").fetchall()
    for rowid, digest in rows:
        data = read_file(folder, bytes(digest))
        if data is None:
            text = f"{folder}/{bytes(digest).hex()} is missing, or changed"
            raise StoreError(text, "run: fleet verify")
        db.execute("UPDATE segments SET data = ? WHERE rowid = ?", (data, rowid))
    db.execute("DELETE FROM meta WHERE name = ?", (ARCHIVE,))
    db.execute("COMMIT")
