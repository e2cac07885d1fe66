"""Members' keys beside the ledger: whom a peer may ask once its ledger is lost.

Without them a founder whose database is gone could not tell a member from a stranger, and nobody
could bring it back what it signed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from mesh.edge.disk import StoreError, parse_json, write_private

FILE: Final = "members.json"
# Enough to find one that is up; the file stays below 256 KB.
MAX_KEPT: Final = 1024


def keep(home: Path, anchors: dict[bytes, bytes]) -> None:
    """Note the members of this moment: each key with its certificate's signature."""
    rows = {key.hex(): tls.hex() for key, tls in sorted(anchors.items())[:MAX_KEPT]}
    with suppress(StoreError, OSError):  # a full disk: noted again at the next change
        write_private(home / FILE, json.dumps(rows, indent=1) + "\n")


def kept(home: Path) -> dict[bytes, bytes]:
    """The members noted last; nobody where the file is missing or damaged."""
    try:
        rows = parse_json((home / FILE).read_bytes())
        return {bytes.fromhex(key): bytes.fromhex(tls) for key, tls in rows.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
