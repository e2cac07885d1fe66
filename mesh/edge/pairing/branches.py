"""One author's events as a person sees them who must say which of them count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.store.ledger import Reader
from mesh.ledger import hlc
from mesh.ledger.event import NO_PREV, Event

# "evt-" and enough of an id that no two events of a chain share it by chance.
MIN_ID_CHARACTERS: Final = 8
NOTHING: Final = "none"  # what a person types for "no event of it counts"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One of several histories that a key signed: what comes after the fork that leads to it."""

    first: Event
    last: Event
    count: int

    def row(self) -> dict[str, object]:
        """As JSON; `keep` is what says that this branch is the good one."""
        return {
            "first": self.first.id,
            "first_seq": self.first.seq,
            "first_ms": at_ms(self.first),
            "last": self.last.id,
            "last_seq": self.last.seq,
            "last_ms": at_ms(self.last),
            "count": self.count,
            "keep": self.last.id,
        }


def at_ms(event: Event) -> int:
    """When an event was signed, by its author's clock."""
    return hlc.parse(event.hlc).ms


def chain_of(home: Path, author: str) -> list[Event]:
    """Every event of an author, all branches, the one kept first before the others.

    Reads the whole ledger: for the rare moment in which a person looks at one author's past.
    """
    with closing(Reader.open(home)) as reader:
        return [event for _, event in reader.events() if event.author == author]


def branches(events: Iterable[Event]) -> list[Branch]:
    """The histories an author signed, the one kept first at the front; one without a fork."""
    known = {event.hash: event for event in events}
    after: dict[str, list[Event]] = {}
    for event in known.values():
        after.setdefault(event.prev, []).append(event)
    found = [_branch(tip, known, after) for tip in known.values() if tip.hash not in after]
    came = {digest: place for place, digest in enumerate(known)}
    return sorted(found, key=lambda one: came[one.first.hash])


def _branch(tip: Event, known: dict[str, Event], after: dict[str, list[Event]]) -> Branch:
    first, count = tip, 1
    while first.prev != NO_PREV and first.prev in known and len(after[first.prev]) == 1:
        first, count = known[first.prev], count + 1
    return Branch(first=first, last=tip, count=count)


def place_of(events: Sequence[Event], text: str, name: str) -> tuple[int, str]:
    """(seq, hash) of the last event that counts, as a person named it: an id or its start, a hash,
    a number where only one event has it, or "none"."""
    if text == NOTHING:
        return 0, ""
    found = [event for event in events if _fits(event, text)]
    if not found:
        raise RequestError(
            "NotFound", f"{name} signed no event {text[:80]!r}", "fleet events lists them", 404
        )
    if len(found) > 1:
        text = f"{text[:80]!r} fits {len(found)} events of {name}"
        raise RequestError("Ambiguous", text, "give the id: fleet events lists them", 409)
    return found[0].seq, found[0].hash


def _fits(event: Event, text: str) -> bool:
    if text.isdigit() and len(text) < MIN_ID_CHARACTERS:
        return event.seq == int(text)
    return len(text) >= MIN_ID_CHARACTERS and (event.id.startswith(text) or event.hash == text)
