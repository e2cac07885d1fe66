"""What is wrong in a home that only a person can put right: its key, its settings, and folders
where files are wanted."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError

Check = tuple[str, str, str]  # what, state, what to do

# What a home holds by these names are files, and by those folders.
FILE_ENDS: Final = (".db", ".json", ".key", ".lock", ".log", ".toml")
FILE_NAMES: Final = ("token",)
FOLDER_NAMES: Final = ("jobs", "models", "models.known", "rentals")
UNPACK: Final = "FLEET_HOME=FOLDER fleet restore FILE, where FOLDER is new, brings it from a backup"


def faults(home: Path) -> Iterator[Check]:
    """Each of them, in words."""
    if not home.is_dir():
        return
    yield from _kinds(home)
    yield from _key(home)
    yield from _settings(home)


def _kinds(home: Path) -> Iterator[Check]:
    for path in sorted(home.iterdir()):
        if path.is_dir() and (path.suffix in FILE_ENDS or path.name in FILE_NAMES):
            yield (path.name, "is a folder, and a file is wanted", "move it away")
        if path.is_file() and path.name in FOLDER_NAMES:
            yield (path.name, "is a file, and a folder is wanted", "move it away")


def _key(home: Path) -> Iterator[Check]:
    """Whether the key is the one that this home signed with. A start makes one that is missing,
    and says nothing: this machine would be a new peer."""
    from mesh.edge.identity import KEY_FILE, load_or_create, set_aside
    from mesh.edge.signing.highwater import noted_author
    from mesh.state.peer_id import peer_id

    path, noted = home / KEY_FILE, noted_author(home)
    was = peer_id(noted)[:7] if noted else ""
    if not path.exists():
        if was:
            text = f"is missing: this machine is {was}, and a start makes it a new peer"
            yield (KEY_FILE, text, UNPACK)
        elif _signers(home):
            text = "is missing: a start makes one, and this machine a new peer"
            yield (KEY_FILE, text, f"if it had one: {UNPACK}")
        return
    if not path.is_file() or (os.name != "nt" and path.stat().st_mode & 0o077):
        return  # said as such
    try:
        author = load_or_create(home).author
    except StoreError as error:
        yield (KEY_FILE, error.text, error.hint)
        return
    if noted:
        if noted != author and not set_aside(home, noted).exists():
            text = f"is another than this home signed with: that was {was}'s"
            yield (KEY_FILE, text, f"{UNPACK}; or go on as a new peer: fleet up")
    elif _is_strange(home, author):
        text = "signed nothing that is in this ledger; others did"
        yield (KEY_FILE, text, f"if this machine had another key: {UNPACK}")


def _is_strange(home: Path, author: str) -> bool:
    """Whether a ledger is full of others' events, and no fleet brought them."""
    from mesh.edge.identity import FLEET_FILE, KEY_FILE

    if (home / FLEET_FILE).exists() or any(home.glob(f"{KEY_FILE}.*")):
        return False
    signers = _signers(home)
    return bool(signers) and author not in signers


def _signers(home: Path) -> frozenset[str]:
    """Whose events the ledger holds; nobody's where it cannot be read, which its check says."""
    from mesh.edge.store.ledger import Reader

    try:
        with closing(Reader.open(home)) as reader:
            return reader.authors()
    except StoreError:
        return frozenset()


def _settings(home: Path) -> Iterator[Check]:
    from mesh.config import load_config

    try:
        load_config(home)
    except RequestError as error:
        yield ("settings", error.text, error.hint)
