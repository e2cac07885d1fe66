"""Unsigned chains for tests of membership: keys that speak, fork, and what is made of it."""

from collections.abc import Iterable
from typing import ClassVar

from mesh.ledger.event import Event, order_key
from mesh.state.fold import again, apply, apply_fact, fold_all, fold_author
from mesh.state.members import Members
from mesh.state.state import KEEP_ENDED, State

WHO = ("root", "ana", "ben", "cid", "dan", "evil", "words")
NAMES = {name: f"{n:x}" * 64 for n, name in enumerate(WHO)}


class Key:
    """Signs a chain of events; `fork(at)` goes on from an earlier one, and a clock may be wrong."""

    def __init__(self, name: str, last: Event | None = None, ms: int = 1_800_000_000_000) -> None:
        self.name, self.last, self.ms = name, last, ms
        self.author = NAMES[name]

    def say(self, event_type: str = "note_added", /, device: str = "", **payload: object) -> Event:
        """The next event of the chain."""
        seq, prev = (self.last.seq + 1, self.last.hash) if self.last else (1, "0" * 64)
        self.ms += 1000
        Key.made += 1
        name = f"{self.name}{seq}.{Key.made}"
        self.last = Event(
            id=name,
            hash=name,
            timestamp="",
            device_id=device,
            event_type=event_type,
            payload=payload,
            author=self.author,
            seq=seq,
            prev=prev,
            hlc=f"{self.ms:013d}-00000",
            sig="",
            v=1,
        )
        return self.last

    made: ClassVar[int] = 0

    def found(self) -> Event:
        """The fleet's first event, which names the recovery words."""
        return self.say("fleet_founded", recovery=NAMES["words"], name=self.name, tls="")

    def add(
        self, name: str, role: str, since: Event | None = None, names: Iterable[Event] = ()
    ) -> Event:
        """Let somebody in, from after `since` on."""
        return self.say(
            "peer_added",
            key=NAMES[name],
            name=name,
            role=role,
            tls="",
            since=since.seq + 1 if since else 1,
            since_hash=since.hash if since else "",
            names=[one.hash for one in names],
        )

    def remove(self, name: str, since: Event | None = None) -> Event:
        """Put somebody out: nothing after `since` counts."""
        number, digest = (since.seq, since.hash) if since else (0, "")
        return self.say("peer_removed", key=NAMES[name], until=number, until_hash=digest, reason="")

    def fork(self, at: Event | None) -> "Key":
        """The same key on another disk, which goes on from an earlier event."""
        return Key(next(n for n, key in NAMES.items() if key == self.author), at, self.ms)


def fleet() -> tuple[Key, Key, Key, Key, list[Event]]:
    """A founder, two admins let in by it (ana first), the recovery words, and what was said."""
    root, ana, ben, words = Key("root"), Key("ana"), Key("ben"), Key("words")
    return root, ana, ben, words, [root.found(), root.add("ana", "admin"), root.add("ben", "admin")]


def members() -> Members:
    """What every peer of that fleet knows from the beginning."""
    return Members(root=NAMES["root"])


def folded(events: list[Event], keep_ended: int = KEEP_ENDED) -> State:
    """The state that follows from events, whatever order they are in."""
    return fold_all(in_chains(events), members(), keep_ended)


def live(events: list[Event], keep_ended: int = KEEP_ENDED) -> State:
    """The state of a peer that gets events one by one and folds again what changed at once."""
    events = in_chains(events)
    state, held = State(members=members(), keep_ended=keep_ended), set[tuple[str, int, str]]()
    for n, event in enumerate(events):
        held.add((event.author, event.seq, event.hash))
        apply(state, event, lambda *claim: claim in held)
        for author in list(state.changed):
            fold_author(state, author, [one for one in events[: n + 1] if one.author == author])
        if state.stale:
            came = events[: n + 1]
            state = again(state)
            if not state.event_count:
                for one in came:
                    apply(state, one, lambda *claim: claim in held)
                state = again(state)
            for one in sorted(came, key=order_key):
                apply_fact(state, one)
    return state


def in_chains(events: list[Event]) -> list[Event]:
    """The events, each put off until the one before it of its chain has come."""
    came, waiting, made = {"0" * 64}, list(events), []
    while waiting:
        ready = [one for one in waiting if one.prev in came]
        assert ready, f"{len(waiting)} events follow on none of these: the test asks about nothing"
        first = ready[0]
        waiting.remove(first)
        came.add(first.hash)
        made.append(first)
    return made
