"""A backup put in place, once all of it is verified; never over a ledger or another key.

The home is noted as restored before its ledger is there, so that nothing is signed on from an old
end: the daemon hears from a member first, or a person says that it is alone.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import StoreError, explained, sync_folder
from mesh.edge.home.archive import OTHER, SMALL, Found, scratch, unpack
from mesh.edge.identity import FLEET_FILE, KEY_FILE, fleet_root, load_or_create
from mesh.edge.signing.highwater import FILE as MARK_FILE
from mesh.edge.signing.highwater import HighWater
from mesh.edge.signing.restored import note_restored
from mesh.edge.store.ledger import LOCK, Reader
from mesh.edge.store.lock import lock
from mesh.edge.store.schema import DATABASE

SCRATCH: Final = ".restore-"  # a folder of this name is of a restore that was cut off


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is in place now. `kept` names files that were there already and stayed as they were,
    `has_key` whether there is a key, from the backup or from before.
    """

    events: int
    made_ms: int
    has_key: bool
    kept: tuple[str, ...]


def restore(home: Path, source: Path) -> Restored:
    """Put a backup into a home without a ledger; StoreError leaves it as it was."""
    with explained(f"cannot restore into {home}"):
        _refuse_ledger(home)  # before the lock, which a daemon of that ledger holds
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = lock(home / LOCK)  # no daemon starts in between
        try:
            _refuse_ledger(home)
            with scratch(home, SCRATCH) as folder:
                found = unpack(source, folder)
                author = _verified(found, source)
                _refuse_other(home, found, author)
                kept = _place(home, found, author)
        finally:
            os.close(fd)
    said = found.manifest
    return Restored(
        events=said.events,
        made_ms=said.made_ms,
        has_key=(home / KEY_FILE).exists(),
        kept=tuple(kept),
    )


def _refuse_ledger(home: Path) -> None:
    """Also where the database is gone and its log is left: SQLite would read that into ours."""
    log = home / f"{DATABASE}-wal"
    if log.exists() and log.stat().st_size and not (home / DATABASE).exists():
        text = f"{log} is left of a ledger that is gone, and may hold its last events"
        raise StoreError(text, "move it away, or restore into a new FLEET_HOME")
    if (home / DATABASE).exists():
        text = f"{home} has a ledger already, and a restore writes over none"
        raise StoreError(text, "FLEET_HOME=FOLDER fleet restore FILE, where FOLDER is new")


def _verified(found: Found, source: Path) -> str:
    """The author the archive is of, once its key fits, and its ledger by every signature."""
    said = found.manifest
    if said.has_key and load_or_create(found.folder).author != said.author:
        raise StoreError(f"{source} is damaged: its key is not the one it names", OTHER)
    with closing(Reader.open(found.folder)) as reader:
        report = reader.verify(every=True)
    bad = [one for one in report.findings if not one.text.startswith("fork:")]
    if bad or report.count != said.events:
        why = bad[0].text if bad else f"{report.count} events instead of {said.events}"
        raise StoreError(f"the ledger in {source} does not verify: {why}", OTHER)
    return said.author


def _refuse_other(home: Path, found: Found, author: str) -> None:
    """A home that is somebody else already, or in another fleet."""
    two = found.manifest.has_key and (home / KEY_FILE).exists()
    if two and load_or_create(home).author != author:
        text = f"{home} holds another key than the backup"
        raise StoreError(text, "restore into a new FLEET_HOME; a key is never written over")
    if (home / FLEET_FILE).exists() and fleet_root(home) != fleet_root(found.folder):
        text = f"{home} belongs to another fleet than the backup"
        raise StoreError(text, "restore into a new FLEET_HOME")


def _place(home: Path, found: Found, author: str) -> list[str]:
    """Rename everything into place, the ledger last; until then the restore can be begun anew."""
    _keep_history(home, found, author)
    kept: list[str] = []
    for name in SMALL:
        if name == MARK_FILE or name not in found.manifest.files:
            continue
        if (home / name).exists():
            kept.append(name)
        else:
            (found.folder / name).replace(home / name)
    if found.manifest.has_key and not (home / KEY_FILE).exists():
        (found.folder / KEY_FILE).replace(home / KEY_FILE)
    for end in ("-wal", "-shm"):  # empty ones
        (home / f"{DATABASE}{end}").unlink(missing_ok=True)
    sync_folder(home)
    (found.folder / DATABASE).replace(home / DATABASE)
    sync_folder(home)
    return kept


def _keep_history(home: Path, found: Found, author: str) -> None:
    """The later one of two marks, and the note: whoever holds the key may have signed more."""
    held = (home / KEY_FILE).exists()
    if not (found.manifest.has_key or held):
        return  # a key yet to be made has signed nothing
    owner = author if found.manifest.has_key else load_or_create(home).author
    note_restored(home, owner, found.manifest.made_ms)
    here, there = HighWater(home).read(owner), HighWater(found.folder).read(owner)
    if there is not None and (here is None or here.seq < there.seq):
        HighWater(home).write(owner, there)
