"""The note that a home came out of a backup: its key may have signed more than its ledger holds,
also where no mark knows of it, for the mark is as old as the backup."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Final

from mesh.edge.disk import parse_json, write_private

FILE: Final = "restored.json"


def note_restored(home: Path, author: str, made_ms: int) -> None:
    """Write down, durably, that this key's chain is from a backup made at `made_ms`."""
    write_private(home / FILE, json.dumps({"author": author, "made_ms": made_ms}) + "\n")


def was_restored(home: Path, author: str) -> bool:
    """Whether this key signed nothing yet since its home was restored.

    A note that cannot be read counts for every key: to wait is safe, to sign is not.
    """
    try:
        return bool(parse_json((home / FILE).read_bytes())["author"] == author)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def settle(home: Path) -> None:
    """The key signed again: the note has done its work. One that stays costs a wait."""
    with contextlib.suppress(OSError):
        (home / FILE).unlink(missing_ok=True)
