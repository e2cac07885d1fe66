"""A `Wire` to a stand-in without a socket: what an adapter sends is answered at once.

`faults` as in `server.py`: those of `base.py`, and on the way "lost_reply", "error_before",
"error_after", "reset", "limited", "unreached". Bodies pass through JSON, as over a socket.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

import msgspec

from providers.rental.contract import Reply, Request
from tests.emulators.base import Asked, Emulator

BEFORE = ("error_before", "limited", "unreached")
AFTER = ("lost_reply", "error_after", "reset")


class LocalWire:
    """Asks one emulator at the time `now`, which its owner moves."""

    def __init__(self, emulator: Emulator, key: str = "", now: int = 1_790_000_000_000) -> None:
        self.emulator = emulator
        self.key = key or emulator.key
        self.now = now
        self.faults: list[tuple[str, str]] = []  # (op, fault)
        self.seen: list[Asked] = []
        self.counted: Counter[str] = Counter()
        self.last = Reply(status=0)

    async def send(self, request: Request) -> Reply:
        """One reply, whatever happens."""
        self.last = self._send(request)
        return self.last

    def _send(self, request: Request) -> Reply:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={"authorization": f"Bearer {self.key}"} if self.key else {},
            body=_passed(request.body),
        )
        fault = self._fault(request.op)
        if fault == "unreached":
            return Reply(status=0, broke="unreached")
        self.seen.append(asked)
        self.counted[request.op] += 1
        return self._play(asked, fault)

    def _fault(self, op: str) -> str:
        for i, (of, fault) in enumerate(self.faults):
            if of == op:
                del self.faults[i]
                return fault
        return ""

    def _play(self, asked: Asked, fault: str) -> Reply:
        if fault == "error_before":
            return Reply(status=502, body="bad gateway")
        if fault == "limited":
            return self._dated(self.emulator.limited(self.now, asked)[0])
        reply = self.emulator.handle(self.now, asked, "" if fault in AFTER else fault)
        if fault == "error_after":
            return Reply(status=502, body="bad gateway")
        if fault in AFTER:
            return Reply(status=0, broke="reset" if fault == "reset" else "timeout")
        return self._dated(reply)

    def _dated(self, reply: Reply) -> Reply:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        headers["date"] = formatdate(self.now / 1000, usegmt=True)
        body = reply.body if isinstance(reply.body, str) else _passed(reply.body)
        return Reply(status=reply.status, body=body or None, headers=headers)


def _passed(body: object) -> object:
    return None if body is None else msgspec.json.decode(json.dumps(body))


class DirectWire:
    """`faults` is played from its front, one for each request of the operation it names, with the
    names that `server.py` has; `sent` counts what reached the provider, by operation."""

    def __init__(self, emulator: Emulator, clock: Callable[[], int]) -> None:
        self.emulator, self.clock = emulator, clock
        self.faults: list[tuple[str, str]] = []
        self.sent: Counter[str] = Counter()
        self.key = emulator.key
        self.seen: list[Asked] = []

    async def send(self, request: Request) -> Reply:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={"authorization": f"Bearer {self.key}"},
            body=request.body,
        )
        self.seen.append(asked)
        fault = self._fault(self.emulator.op(asked))
        if fault == "error_before":
            return Reply(status=502, body="bad gateway")
        if fault == "limited":
            return self.emulator.limited(self.clock(), asked)[0]
        on_the_way = {
            "lost_reply": Reply(status=0, broke="timeout"),
            "reset": Reply(status=0, broke="reset"),
            "error_after": Reply(status=502, body="bad gateway"),
        }.get(fault)
        self.sent[self.emulator.op(asked)] += 1
        reply = self.emulator.handle(self.clock(), asked, "" if on_the_way else fault)
        return on_the_way or reply

    def _fault(self, op: str) -> str:
        for i, (of, fault) in enumerate(self.faults):
            if of == op:
                del self.faults[i]
                return fault
        return ""
