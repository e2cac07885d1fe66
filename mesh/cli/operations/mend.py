"""What `fleet doctor --fix` puts right by itself: never the ledger, nor a key's bytes."""

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mesh.edge.disk import LedgerBusy, StoreError

FIX: Final = "fleet doctor --fix"
# A backup or a restore of terabytes may take hours; what is older was cut off.
ABANDONED_S: Final = 86_400.0
DRAFTS: Final = (".backup-*", ".restore-*", ".export-*", ".import-*")
# Folders whose names and files are the owner's alone.
PRIVATE_FOLDERS: Final = ("jobs", "rentals")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """One thing that is wrong: where, what, and what `run` does about it in words."""

    what: str
    state: str
    does: str
    run: Callable[[], object]


def mends(home: Path) -> list[Mend]:
    """What can be put right in a home, safest first."""
    if not home.exists():
        make = partial(home.mkdir, mode=0o700, parents=True)
        return [Mend(what=str(home), state="is not there", does="make it", run=make)]
    if not home.is_dir():
        return []
    at_rest = [*_stale(home), *_bills(home)]
    if at_rest and not _is_free(home):  # asked last: a daemon that starts needs that lock
        at_rest = []
    return [*_modes(home), *at_rest, *_token(home), *_drafts(home)]


def _modes(home: Path) -> Iterator[Mend]:
    """What others may read. Windows keeps no such modes."""
    if os.name == "nt":
        return
    folders = [home, *(home / name for name in PRIVATE_FOLDERS)]
    files = sorted(path for path in home.iterdir() if _kind(path) == stat.S_IFREG)
    for path, most in (*((one, 0o700) for one in folders), *((one, 0o600) for one in files)):
        mode = _mode(path)
        if mode & 0o077:
            text = f"can be read by others (mode {mode:o})"
            if _foreign(path):
                continue  # only its owner may change it
            yield Mend(
                what=_named(home, path),
                state=text,
                does=f"chmod {mode & most:o}",
                run=partial(path.chmod, mode & most),
            )


def _stale(home: Path) -> Iterator[Mend]:
    """What a daemon left that was killed: its ledger's lock is free, so it is gone."""
    from mesh.cli.client import find_daemon
    from mesh.edge.announcement import DAEMON_FILE

    path = home / DAEMON_FILE
    if path.is_file() and find_daemon(home) is None:
        text = "names a daemon that does not run"
        yield Mend(what=path.name, state=text, does="remove it", run=partial(path.unlink))


def _token(home: Path) -> Iterator[Mend]:
    """A token that no request can carry, whoever wrote it. A daemon that runs has another one, and
    refuses the new one until it is started anew: then at least it is found, and can be ended."""
    from mesh.edge.announcement import TOKEN_FILE, new_token, read_token

    path = home / TOKEN_FILE
    if _kind(path) == stat.S_IFREG and os.access(path, os.R_OK) and not read_token(home):
        run = partial(new_token, home)
        yield Mend(what=path.name, state="holds no token", does="make a new one", run=run)


def _bills(home: Path) -> Iterator[Mend]:
    """A damaged file of bills; it follows from the ledger and is made anew."""
    from mesh.edge.bills.schema import DATABASE, forget

    if (home / DATABASE).is_file() and not _sound(home / DATABASE):
        does = "remove it: it is made anew from the ledger"
        yield Mend(what=DATABASE, state="is damaged", does=does, run=partial(forget, home))


def _drafts(home: Path) -> Iterator[Mend]:
    """Copies of the ledger whose making was cut off: folders, and files of up- and downloads."""
    for path in sorted(one for pattern in DRAFTS for one in home.glob(pattern)):
        ours = _kind(path) in (stat.S_IFDIR, stat.S_IFREG)
        if ours and time.time() - path.stat().st_mtime > ABANDONED_S:
            text = f"is left of a cut-off {path.name[1:].partition('-')[0]}"
            yield Mend(what=path.name, state=text, does="remove it", run=partial(_drop, path))


def _drop(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_free(home: Path) -> bool:
    """Whether nobody writes the ledger, as its lock says; one that is missing is not made."""
    return writer_of(home) is None


def writer_of(home: Path) -> int | None:
    """The process that writes the ledger, 0 for one that left no number; None for nobody."""
    from mesh.edge.store.ledger import LOCK
    from mesh.edge.store.lock import lock

    if not (home / LOCK).exists():
        return None
    try:
        os.close(lock(home / LOCK))
    except LedgerBusy as error:
        return error.pid
    except (StoreError, OSError):
        return 0
    return None


def _sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError:
        return True  # it cannot be opened now, which says nothing of its bytes
    except sqlite3.DatabaseError:
        return False


def _mode(path: Path) -> int:
    """Its permissions; 0 for what is not there or is a link to somewhere else."""
    try:
        found = path.lstat().st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(found) else stat.S_IMODE(found)


def _kind(path: Path) -> int:
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except OSError:
        return 0


def _foreign(path: Path) -> bool:
    return hasattr(os, "geteuid") and os.geteuid() not in (0, path.lstat().st_uid)


def _named(home: Path, path: Path) -> str:
    return str(home) if path == home else str(path.relative_to(home))
