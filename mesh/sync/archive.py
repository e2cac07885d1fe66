"""What a session asks of the ledger under it; the one on disk and nothing else implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, final

from mesh.ledger.event import Event
from mesh.sync.manifest import Tip

if TYPE_CHECKING:  # a reader of a ledger needs neither keys nor documents
    from mesh.ledger.document import Segment
    from mesh.ledger.gate import Admission

Envelope = tuple[bytes, bytes]  # signature, body


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events of one author past a seq, ascending; complete up to `last`, and `more` beyond."""

    envelopes: tuple[Envelope, ...]
    last: int
    more: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What became of events offered: an outcome each, and every event that is new and durable.

    `events` may hold more than were offered: those that waited for one of them.
    """

    outcomes: tuple[Admission, ...]
    events: tuple[Event, ...]


class Archive(Protocol):
    """The ledger as a session sees it. Calls block; one thread makes them all."""

    @property
    def author(self) -> str:
        """Whose ledger it is: the key (hex) this peer signs with."""

    def tips(self) -> Mapping[str, Tip]:
        """Every author's tip."""

    def tip(self, author: str) -> Tip | None:
        """One author's tip; None for no events."""

    def tip_until(self, author: str, last: int) -> Tip | None:
        """An author's tip as if nothing past `last` were here; None for no events."""

    def hashes_at(self, author: str, seq: int) -> frozenset[str]:
        """The hashes kept at a seq."""

    def page(self, author: str, after: int, max_events: int, max_bytes: int) -> Page:
        """The next events of an author, at least one where there are any."""

    def take_in(self, envelopes: Sequence[Envelope]) -> Intake:
        """Put events through the gate, durably, in one commit."""

    def segment(self, author: str) -> tuple[int, Segment] | None:
        """The number and document of an author's open segment; None while it is empty."""
