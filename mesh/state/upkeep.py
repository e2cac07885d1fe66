"""What the owner of a device says about its use: drained or not, and for whom it is reserved.

Every author's word is kept apart, by device, and asked for by owner: who owns a device may turn out
later. Of two words of one author the later counts, whichever came first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.upkeep import (
    DRAIN_REASONS,
    DeviceDrained,
    DeviceReserved,
    ReservationEnded,
)
from mesh.state.fleet import AUTHOR_HEX
from mesh.state.jobs import Key

# Of one author on one device: the newest so many stay. A person has a few; a peer may sign any
# number, and the queue looks at each.
MAX_RESERVATIONS = 32
# An end must outlive its reservation: after it at most so many others can end as were open then
# (MAX_RESERVATIONS) or came since before the reservation itself is too old to stay.
MAX_ENDED = 2 * MAX_RESERVATIONS
MAX_ID = 40  # characters of a reservation's id; ours have 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """One reservation; instants are ms UTC."""

    reservation_id: str
    by: str
    from_ms: int
    until_ms: int
    key: Key


@dataclass(slots=True)
class Word:
    """What one author said of one device."""

    drained: str = ""  # why; "" where it takes jobs
    drained_key: Key | None = None  # of the last word on that
    reserved: dict[str, Reserved] = field(default_factory=dict)
    ended: dict[str, Key] = field(default_factory=dict)


@dataclass(slots=True)
class Upkeep:
    """Every author's word on every device."""

    words: dict[str, dict[str, Word]] = field(default_factory=dict)  # by device, then author

    def take(self, event: Event) -> bool:
        """Fold one event in; False where it is of no type that is known here."""
        folds = FOLDS.get(event.event_type)
        if folds is not None:
            authors = self.words.setdefault(event.device_id, {})
            folds(authors.setdefault(event.author, Word()), event)
        return folds is not None

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        for device_id, authors in list(self.words.items()):
            if authors.pop(author, None) is not None and not authors:
                del self.words[device_id]

    def drained(self, device_id: str, owner: str) -> str:
        """Why its owner takes no new jobs there; "" where it does."""
        word = self.words.get(device_id, {}).get(owner)
        return word.drained if word is not None else ""

    def reserved(self, device_id: str, owner: str, now_ms: int) -> tuple[Reserved, ...]:
        """The reservations that are not over, the first to begin first."""
        word = self.words.get(device_id, {}).get(owner)
        if word is None:
            return ()
        left = [
            one for one in word.reserved.values() if one.until_ms > now_ms and _holds(word, one)
        ]
        return tuple(sorted(left, key=lambda one: (one.from_ms, one.reservation_id)))


def _holds(word: Word, one: Reserved) -> bool:
    ended = word.ended.get(one.reservation_id)
    return ended is None or ended < one.key


def _drain(word: Word, event: Event) -> None:
    reason = decode(DeviceDrained, event.payload).reason_code
    _set_drained(word, event, reason if reason in DRAIN_REASONS else "other")


def _resume(word: Word, event: Event) -> None:
    _set_drained(word, event, "")


def _set_drained(word: Word, event: Event, reason: str) -> None:
    key = order_key(event)
    if word.drained_key is None or key > word.drained_key:
        word.drained, word.drained_key = reason, key


def _reserve(word: Word, event: Event) -> None:
    fact, key = decode(DeviceReserved, event.payload), order_key(event)
    said, known = fact.reservation_id, word.reserved.get(fact.reservation_id)
    is_sane = 0 < len(said) <= MAX_ID and len(fact.by) == AUTHOR_HEX
    if not is_sane or fact.until_ms <= fact.from_ms or (known is not None and known.key > key):
        return
    word.reserved[said] = Reserved(
        reservation_id=said, by=fact.by, from_ms=fact.from_ms, until_ms=fact.until_ms, key=key
    )
    if len(word.reserved) > MAX_RESERVATIONS:
        del word.reserved[min(word.reserved, key=lambda one: word.reserved[one].key)]


def _end(word: Word, event: Event) -> None:
    said, key = decode(ReservationEnded, event.payload).reservation_id, order_key(event)
    if not 0 < len(said) <= MAX_ID:
        return
    word.ended[said] = max(key, word.ended.get(said, key))
    if len(word.ended) > MAX_ENDED:
        del word.ended[min(word.ended, key=lambda one: word.ended[one])]


FOLDS: dict[str, Callable[[Word, Event], None]] = {
    "device_drained": _drain,
    "device_resumed": _resume,
    "device_reserved": _reserve,
    "reservation_ended": _end,
}
