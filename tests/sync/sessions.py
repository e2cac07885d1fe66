"""Two ledgers and the talk between them, message by message."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mesh.edge.store.ledger import Ledger
from mesh.ledger.event import Event
from mesh.sync import messages
from mesh.sync.desk import Desk
from mesh.sync.messages import Message
from mesh.sync.session import Session
from mesh.sync.versions import PROTOCOL

NOW = 1_790_000_000_000


def everyone(author: str, seq: int) -> bool:
    return True


def notes(ledger: Ledger, count: int, text: str = "") -> list[Event]:
    facts = [("note_added", "", {"text": f"{text}{i}"}) for i in range(count)]
    return ledger.append_many(facts, NOW)


class End:
    """One side of a conversation; `said` is every message it sent."""

    def __init__(
        self,
        ledger: Ledger,
        admits: Callable[[str, int], bool] = everyone,
        desk: Desk | None = None,
        **more: Any,
    ) -> None:
        self.ledger = ledger
        self.session = Session(ledger, admits, desk or Desk(), **more)
        self.version = more.get("version", PROTOCOL)
        self.said: list[Message] = []
        self.got: list[Event] = []

    def say(self, now: int = 0) -> bytes | None:
        data = self.session.outgoing(now)
        if data is not None:
            self.said.append(messages.decode(data, self.version))
        return data

    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.said]


def talk(one: End, two: End, most: int = 10_000) -> int:
    """Exchange messages until both are silent; returns the bytes that went over."""
    size = 0
    for _ in range(most):
        lines = [(one, two, one.say()), (two, one, two.say())]
        for _speaker, hearer, data in lines:
            if data is not None:
                size += len(data)
                events = hearer.session.receive(data, 0)
                hearer.got += events
        if all(data is None for *_, data in lines):
            return size
    raise AssertionError("they talk without end")


def copy_of(source: Path, target: Path) -> None:
    """A ledger's folder copied, as a disk is."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
        (target / path.name).chmod(0o600)
