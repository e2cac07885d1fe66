"""What transfers made of the line to each peer, and how fast it hashes: so long the next takes."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import parse_json, whole_number, write_private

MAX_RATES: Final = 512  # peers, twice each; the longest not used is forgotten
HASHING: Final = "hashing "  # before a key: how fast that peer hashes
MAX_BPS: Final = 1_000_000_000_000


@final
class Rates:
    """Bits a second by a peer's key; the newest measurement stands, for lines change at once."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._bps: Final = _read(path)

    def of(self, peer: str) -> int:
        """Bits a second; 0 where nothing came from it yet."""
        return self._bps.get(peer, 0)

    def note(self, peer: str, bps: int) -> None:
        """Remember what a transfer made."""
        self._bps.pop(peer, None)
        self._bps[peer] = min(bps, MAX_BPS)
        while len(self._bps) > MAX_RATES:
            del self._bps[next(iter(self._bps))]
        with suppress(OSError):  # a full disk: measured again at the next transfer
            write_private(self._path, json.dumps(self._bps))


def _read(path: Path) -> dict[str, int]:
    try:
        said = parse_json(path.read_bytes())
        return {str(peer)[:200]: whole_number(bps, MAX_BPS) for peer, bps in said.items()}
    except (OSError, ValueError, AttributeError):
        return {}
