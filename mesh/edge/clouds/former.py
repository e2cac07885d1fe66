"""Accounts whose key was replaced: which key of now opens each.

That a key lists a machine under its label proves it. It is noted beside the ledger, for once the
machine is gone nothing would prove it to the next process, which is to see it gone.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError, parse_json, write_private
from mesh.state.rentals.rentals import AccountKey

FILE: Final = "clouds.former.json"
MAX_KEPT: Final = 64  # the ones noted last


def note(home: Path, former: AccountKey, account: str) -> None:
    """`account`, a key's of the same provider, opens what `former` was."""
    rows = {**_rows(home), _name(former): account}
    kept = dict(list(rows.items())[-MAX_KEPT:])
    with suppress(StoreError, OSError):  # a full disk: noted again when it is listed again
        write_private(home / FILE, json.dumps(kept, indent=1) + "\n")


def opened_by(home: Path, account: AccountKey) -> frozenset[AccountKey]:
    """What an account's key opened before, as another account."""
    provider = account[0]
    pairs = [(name.partition(" "), by) for name, by in _rows(home).items()]
    return frozenset(
        (provider, former)
        for (of, _, former), by in pairs
        if (of, by) == account and former not in ("", by)
    )


def _name(account: AccountKey) -> str:
    return f"{account[0]} {account[1]}"


def _rows(home: Path) -> dict[str, str]:
    """As noted; none where the file is missing or damaged."""
    try:
        found = parse_json((home / FILE).read_bytes())
        return {key: value for key, value in found.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        return {}
