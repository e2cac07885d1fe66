"""How far this peer's own chain went, kept outside the database: a ledger that ends before it was
restored from an older copy, or lost."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, final

from mesh.edge.disk import parse_json, whole_number, write_private
from mesh.edge.identity import KEY_BYTES
from mesh.edge.signing.hearing import Hearing, NotHeard
from mesh.edge.signing.restored import was_restored
from mesh.sync.manifest import Tip

if TYPE_CHECKING:
    from mesh.edge.store.ledger import Ledger
    from mesh.ledger.event import Event

FILE: Final = "high-water.json"


class Mark(Protocol):
    """Where the newest own event that is known to have been signed is written down."""

    def read(self, author: str) -> Tip | None:
        """The last event noted of this author; None for none."""

    def write(self, author: str, tip: Tip) -> None:
        """Note it, in place of the one before."""


@final
class HighWater:
    """The mark as a file in a home."""

    def __init__(self, home: Path) -> None:
        self._path: Final = home / FILE

    def read(self, author: str) -> Tip | None:
        """A file that is missing, damaged or of another key says nothing."""
        try:
            said = parse_json(self._path.read_bytes())
            tip = Tip(whole_number(said["seq"]), bytes.fromhex(said["hash"]).hex())
            mine = said["author"] == author
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return tip if mine and tip.seq > 0 else None

    def write(self, author: str, tip: Tip) -> None:
        """Durably; OSError where the disk refuses."""
        said = {"author": author, "seq": tip.seq, "hash": tip.hash}
        write_private(self._path, json.dumps(said) + "\n")


def noted_author(home: Path) -> str:
    """Whose mark a home holds; "" where there is none that can be read."""
    try:
        said = parse_json((home / FILE).read_bytes())["author"]
        return said if isinstance(said, str) and len(bytes.fromhex(said)) == KEY_BYTES else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def sign_at_rest(
    ledger: Ledger, event_type: str, device_id: str, payload: dict[str, object], now: int
) -> Event:
    """One own event without a daemon, which could hear nobody: NotHeard where the mark knows of
    later ones than this ledger has, or a backup may have missed them."""
    mark = HighWater(ledger.home)
    noted = mark.read(ledger.author)
    held = noted is None or ledger.has(ledger.author, noted.seq, noted.hash)
    copied = was_restored(ledger.home, ledger.author)
    hearing = Hearing(lambda _: held, asks=False, mark=noted, copied=copied)
    if missing := hearing.waiting_for(0):
        raise NotHeard(missing)
    event = ledger.append(event_type, device_id, payload, now)
    with contextlib.suppress(OSError):  # the event is durable; the next one notes it
        mark.write(ledger.author, Tip(event.seq, event.hash))
    return event
