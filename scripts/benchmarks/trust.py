"""What judging membership costs: ten thousand statements at once, and one more of each kind."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

from mesh.ledger.event import Event
from mesh.state.fold import apply
from mesh.state.members import Members
from mesh.state.state import State

KEYS = 5_000  # let in, a tenth of them as admins, and put out again


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


class Chain:
    """One key's unsigned events, each after the last."""

    def __init__(self, author: str) -> None:
        self.author, self.seq, self.prev = author, 0, "0" * 64

    def say(self, kind: str, **payload: object) -> Event:
        self.seq += 1
        digest = hashlib.sha256(f"{self.author} {self.seq}".encode()).hexdigest()
        event = Event(
            id=digest[:26],
            hash=digest,
            timestamp="",
            device_id="",
            event_type=kind,
            payload=payload,
            author=self.author,
            seq=self.seq,
            prev=self.prev,
            hlc=f"{1_800_000_000_000 + self.seq:013d}-00000",
            sig="",
            v=1,
        )
        self.prev = digest
        return event

    def add(self, number: int, role: str) -> Event:
        who = {"key": key_of(number), "name": f"n{number}", "role": role, "tls": ""}
        return self.say("peer_added", **who, since=1)

    def remove(self, number: int) -> Event:
        return self.say("peer_removed", key=key_of(number), until=0, until_hash="", reason="")


def statements(root: Chain) -> Iterator[Event]:
    yield root.say("fleet_founded", recovery=key_of(-1), name="root", tls="")
    for number in range(KEYS):
        yield root.add(number, "admin" if number % 10 == 0 else "runner")
    for number in range(KEYS - 10):
        yield root.remove(number)


def timed(what: str, do: Callable[[], object]) -> None:
    began = time.perf_counter()
    do()
    print(f"{what:46s} {(time.perf_counter() - began) * 1000:9.2f} ms")


def main() -> None:
    root, ana = Chain(key_of(-2)), Chain(key_of(KEYS - 10))
    state, every = State(members=Members(root=root.author)), list(statements(root))
    print(f"== membership, {len(every):,} statements")

    def take(event: Event) -> None:
        apply(state, event)
        assert state.changed is not None  # judges what is not judged yet

    def take_all() -> None:
        for event in every:
            apply(state, event)
        take(root.say("note_added", text="the end"))

    timed("all, as they come", take_all)
    state.members.trust = None
    timed("all, judged at once", lambda: state.members.judge())
    timed("one more: a key is let in", lambda: take(root.add(KEYS + 1, "runner")))
    timed("one more: a key is put out", lambda: take(root.remove(KEYS + 1)))
    timed("one more: an admin lets a key in", lambda: take(ana.add(KEYS + 2, "admin")))
    timed("one more: an admin who let others in is out", lambda: take(root.remove(KEYS - 10)))


if __name__ == "__main__":
    main()
