"""Who may do what, judged a second time: the rules of membership said as shortly as they can be.

Slow, from nothing, with no state: whatever the product keeps, caches or undoes must come to this.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mesh.ledger.event import NO_PREV, Event, order_key
from mesh.state.members import ROLES

ADDED, REMOVED = "peer_added", "peer_removed"
BEFORE_FIRST = (0, "")  # the place before an author's first event
MAX_SIBLINGS = 16
NOBODY = (1 << 30,)
FOREVER = 1 << 62
Cut = tuple[int, str]  # number and hash of an event; older statements name it by its number alone


@dataclass
class Grant:
    """What an event gives to a key, and the events beyond which it gives nothing."""

    hash: str
    role: str
    after: Cut
    names: tuple[str, ...]
    epoch: int
    age: tuple[Any, ...]
    senior: tuple[Any, ...]
    giver: tuple[Any, ...]
    cuts: list[Cut] = field(default_factory=list)

    def names_it(self, event: Event) -> bool:
        """Whether it was made knowing of a removal; older ones count in epochs instead."""
        if self.epoch and _epoch(event):
            return self.epoch > _epoch(event)
        return event.hash in self.names

    def replaces(self, old: "Grant") -> bool:
        """Whether another grant of the key ends where this one begins."""
        if self.epoch and old.epoch:
            return (old.epoch, old.age) < (self.epoch, self.age)
        return old.hash != "" and old.hash in self.names


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
        self.done: set[str] = set()
        places = Counter((event.author, event.seq) for event in self.events.values())
        self.forks: dict[str, int] = {}  # the lowest number with two events
        self.shattered: dict[str, int] = {}  # and with very many
        for (author, seq), count in sorted(places.items(), reverse=True):
            if count > 1:
                self.forks[author] = seq
            if count >= MAX_SIBLINGS:
                self.shattered[author] = seq
        self._judge(root, recovery)

    def role(self, author: str) -> str:
        """What the author may do from now on."""
        return _best(one.role for one in self.grants.get(author, ()) if not one.cuts)

    def role_at(self, event: Event) -> str:
        """What its author might do at an event."""
        given = self.grants.get(event.author, ())
        return _best(one.role for one in given if self.covers(one, event))

    def until(self, author: str) -> int:
        """The highest number that a grant of the author may cover, as far as that is known."""
        given = self.grants.get(author, ())
        return max((max((n for n, _ in one.cuts), default=FOREVER) for one in given), default=0)

    def covers(self, grant: Grant, event: Event) -> bool:
        """Whether a grant of the event's author is for this event."""
        number, digest = grant.after
        if event.seq <= number or (digest and digest not in self.events):
            return False
        return self._whole(event) and all(self._reaches(event, cut) for cut in grant.cuts)

    def _whole(self, event: Event) -> bool:
        """Of what a shattered author signed, only what leads to a named event."""
        if event.seq < self.shattered.get(event.author, event.seq + 1):
            return True
        return any(cut[1] and self._reaches(event, cut) for cut in self._named(event.author))

    def _named(self, author: str) -> Iterator[Cut]:
        for grant in self.grants.get(author, ()):
            yield grant.after
        for _, removal in self.removals.get(author, ()):
            yield _until(removal)

    def _reaches(self, event: Event, cut: Cut) -> bool:
        """Whether an event is the one named, or before it on its branch."""
        number, digest = cut
        if not digest:
            fork = self.forks.get(event.author, number + 1)
            return event.seq <= number and event.seq < fork
        at = self.events.get(digest)
        if at is None or (at.author, at.seq) != (event.author, number):
            return False
        while at is not None and at.seq > event.seq:
            at = self.events.get(at.prev)
        return at is event

    def _judge(self, root: str, recovery: str) -> None:
        """From the most senior grant of admin down, let its owner speak; then whoever leaves."""
        queue: list[tuple[tuple[Any, ...], str, str, Grant]] = []
        for author, senior in ((recovery, (-1,)), (root, (1,))):
            if author:
                first = Grant("", "admin", BEFORE_FIRST, (), 0, (), senior, (-1,))
                self.grants.setdefault(author, []).append(first)
                heapq.heappush(queue, (senior, "", author, first))
        while queue:
            senior, _, author, held = heapq.heappop(queue)
            for event in sorted(self.said.get(author, ()), key=_turn):
                if event.hash in self.done or not self.covers(held, event):
                    continue
                made = self._count(event, senior)
                if made is not None and made.role == "admin":
                    heapq.heappush(queue, (made.senior, made.hash, _subject(event), made))
        for said in self.said.values():
            for event in filter(_leaves, said):
                if event.hash not in self.done and self.role_at(event):
                    self._count(event, NOBODY)

    def _count(self, event: Event, senior: tuple[Any, ...]) -> Grant | None:
        subject, role = _subject(event), str(event.payload.get("role", ""))
        if len(subject) != 64:
            return None
        self.done.add(event.hash)
        if event.event_type == REMOVED:
            self.removals.setdefault(subject, []).append((senior, event))
            for grant in self.grants.get(subject, ()):
                _end(senior, event, grant)
            return None
        if role not in ROLES:
            return None
        named = event.payload.get("names", ())
        names = tuple(named) if isinstance(named, list | tuple) else ()
        key = (senior[0] + 1, senior, event.seq, event.hash)
        made = Grant(
            event.hash, role, _since(event), names, _epoch(event), order_key(event), key, senior
        )
        for theirs, removal in self.removals.get(subject, ()):
            _end(theirs, removal, made)
        for old in self.grants.get(subject, ()):
            for new, other in ((made, old), (old, made)):
                if new.replaces(other) and _may_end(new.giver, other):
                    other.cuts.append(new.after)
        self.grants.setdefault(subject, []).append(made)
        return made


def _subject(event: Event) -> str:
    return str(event.payload.get("key", ""))


def _leaves(event: Event) -> bool:
    return event.event_type == REMOVED and _subject(event) == event.author


def _turn(event: Event) -> tuple[bool, int, str]:
    """Who leaves says nothing more, so that comes first."""
    return not _leaves(event), event.seq, event.hash


def _epoch(event: Event) -> int:
    epoch = event.payload.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _since(event: Event) -> Cut:
    number = event.payload.get("since", 0)
    return _place(number - 1 if isinstance(number, int) else 0, event.payload.get("since_hash"))


def _until(removal: Event) -> Cut:
    return _place(removal.payload.get("until", 0), removal.payload.get("until_hash"))


def _place(number: Any, digest: object) -> Cut:
    found = str(digest or "")
    real = isinstance(number, int) and number >= 1 and found != NO_PREV
    return (number, found) if real else BEFORE_FIRST


def _end(senior: tuple[Any, ...], removal: Event, grant: Grant) -> None:
    if grant.names_it(removal):
        return
    if _leaves(removal):  # what it did before stands; a role that a senior one gives is not its
        if grant.role != "admin" or senior <= grant.senior:
            grant.cuts.append((removal.seq, removal.hash))
    elif _may_end(senior, grant):
        grant.cuts.append(_until(removal))


def _may_end(senior: tuple[Any, ...], grant: Grant) -> bool:
    """An admin's grant ends only by somebody senior to it; any other by any admin."""
    return grant.role != "admin" or senior < grant.senior


def _best(roles: Iterable[str]) -> str:
    return max(roles, key=ROLES.index, default="")
