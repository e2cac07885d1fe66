"""Who may do what, judged a second time: the rules of membership said as shortly as they can be.

Slow, from nothing, with no state: whatever the product keeps, caches or undoes must come to this.
Only for statements of the present form, and where no author is shattered.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mesh.ledger.event import NO_PREV, Event
from mesh.state.members import ROLES

ADDED, REMOVED = "peer_added", "peer_removed"
BEFORE_FIRST = ""  # the place before an author's first event
MAX_SIBLINGS = 16


@dataclass
class Grant:
    """What an event gives to a key, and the events (hashes) beyond which it gives nothing."""

    hash: str
    role: str
    after: int
    after_hash: str
    names: tuple[str, ...]
    senior: tuple[Any, ...]
    giver: tuple[Any, ...]
    cuts: list[str] = field(default_factory=list)


class Oracle:
    """The verdicts on a set of events."""

    def __init__(self, events: Iterable[Event], root: str, recovery: str) -> None:
        self.events = {event.hash: event for event in events}
        self.said: dict[str, list[Event]] = {}
        for event in self.events.values():
            if event.event_type in (ADDED, REMOVED) and event.v == 1:
                self.said.setdefault(event.author, []).append(event)
        self.grants: dict[str, list[Grant]] = {}
        self.removals: dict[str, list[tuple[tuple[Any, ...], Event]]] = {}
        self._judge(root, recovery)

    @property
    def is_sure(self) -> bool:
        """Whether everything said is of the form that is judged here."""
        at: dict[tuple[str, int], int] = {}
        for event in self.events.values():
            at[event.author, event.seq] = at.get((event.author, event.seq), 0) + 1
        old = (e.payload.get("epoch") for said in self.said.values() for e in said)
        leaving = (e.payload.get("key") == e.author for said in self.said.values() for e in said)
        return max(at.values(), default=0) < MAX_SIBLINGS and not any(old) and not any(leaving)

    def role(self, author: str) -> str:
        """What the author may do from now on."""
        return _best(one.role for one in self.grants.get(author, ()) if not one.cuts)

    def role_at(self, event: Event) -> str:
        """What its author might do at an event."""
        given = self.grants.get(event.author, ())
        return _best(one.role for one in given if self.covers(one, event))

    def covers(self, grant: Grant, event: Event) -> bool:
        """Whether a grant of the event's author is for this event."""
        known = not grant.after_hash or grant.after_hash in self.events
        late = known and event.seq > grant.after
        return late and all(self._reaches(event, cut) for cut in grant.cuts)

    def _reaches(self, event: Event, cut: str) -> bool:
        """Whether an event is the one named, or before it on its branch."""
        at = self.events.get(cut)
        while at is not None and at.seq > event.seq:
            at = self.events.get(at.prev)
        return at is event

    def _judge(self, root: str, recovery: str) -> None:
        """From the most senior grant of admin down, let its owner speak."""
        queue: list[tuple[tuple[Any, ...], str, str, Grant]] = []
        for author, senior in ((recovery, (-1,)), (root, (1,))):
            if author:
                first = Grant("", "admin", 0, "", (), senior, (-1,))
                self.grants.setdefault(author, []).append(first)
                heapq.heappush(queue, (senior, "", author, first))
        done: set[str] = set()
        while queue:
            senior, _, author, held = heapq.heappop(queue)
            for event in sorted(self.said.get(author, ()), key=lambda one: (one.seq, one.hash)):
                if event.hash in done or not self.covers(held, event):
                    continue
                done.add(event.hash)
                made = self._count(event, senior)
                if made is not None and made.role == "admin":
                    heapq.heappush(queue, (made.senior, made.hash, _subject(event), made))

    def _count(self, event: Event, senior: tuple[Any, ...]) -> Grant | None:
        subject, role = _subject(event), str(event.payload.get("role", ""))
        if len(subject) != 64:
            return None
        if event.event_type == REMOVED:
            self.removals.setdefault(subject, []).append((senior, event))
            for grant in self.grants.get(subject, ()):
                _end(senior, event, grant)
            return None
        if role not in ROLES:
            return None
        after, after_hash = _since(event)
        named = event.payload.get("names", ())
        names = tuple(named) if isinstance(named, list | tuple) else ()
        key = (senior[0] + 1, senior, event.seq, event.hash)
        made = Grant(event.hash, role, after, after_hash, names, key, senior)
        for theirs, removal in self.removals.get(subject, ()):
            _end(theirs, removal, made)
        for old in self.grants.get(subject, ()):
            for new, other in ((made, old), (old, made)):
                if other.hash in new.names and other.hash and _may_end(new.giver, other):
                    other.cuts.append(new.after_hash if new.after else BEFORE_FIRST)
        self.grants.setdefault(subject, []).append(made)
        return made


def _subject(event: Event) -> str:
    return str(event.payload.get("key", ""))


def _since(event: Event) -> tuple[int, str]:
    number, digest = event.payload.get("since", 0), str(event.payload.get("since_hash", ""))
    after = number - 1 if isinstance(number, int) else 0
    return (after, digest) if after >= 1 and digest != NO_PREV else (0, "")


def _end(senior: tuple[Any, ...], removal: Event, grant: Grant) -> None:
    if removal.hash not in grant.names and _may_end(senior, grant):
        until = removal.payload.get("until", 0)
        grant.cuts.append(str(removal.payload.get("until_hash", "")) if until else BEFORE_FIRST)


def _may_end(senior: tuple[Any, ...], grant: Grant) -> bool:
    """An admin's grant ends only by somebody senior to it; any other by any admin."""
    return grant.role != "admin" or senior < grant.senior


def _best(roles: Iterable[str]) -> str:
    return max(roles, key=ROLES.index, default="")
