"""Links between simulated peers, and the queue of what happens when.

A link is reliable and in order until it dies, as TCP is; what arrives twice or in another order
comes over different links, over a link that died in between, or from a liar.
"""

import heapq
import random
from collections.abc import Callable

from mesh.ledger.event import Event
from mesh.policy.neighbours import choose
from mesh.sync.session import ProtocolError, Rejected, Session
from tests.simulation.disk import Crash
from tests.simulation.nodes import Node

BAN_MS = 5_000


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the seed, `log` what led to it."""

    def __init__(self, text: str, log: list[str]) -> None:
        super().__init__(text)
        self.log = log


class Wire:
    """A connection of two nodes; `deaf` is the end that hears nothing any more."""

    def __init__(self, one: Node, two: Node) -> None:
        self.ends = (one, two)
        self.sessions: dict[int, Session] = {one.number: one.session(), two.number: two.session()}
        self.alive = True
        self.deaf: Node | None = None
        self.free_at = {one.number: 0, two.number: 0}  # when each direction has delivered

    def other(self, node: Node) -> Node:
        return self.ends[1] if node is self.ends[0] else self.ends[0]


class Net:
    """Who is linked with whom; `log` is what happened, for a person."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now = 0
        self.log: list[str] = []
        self.nodes: list[Node] = []
        self.wires: list[Wire] = []
        self.bans: dict[tuple[int, int], int] = {}
        self.sides: dict[int, int] = {}
        self.loss = 0.0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def _at(self, when: int, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, do))

    def _play(self, most: int) -> bool:
        """Let everything happen that is to happen; False after `most` steps."""
        for _ in range(most):
            if not self._queue:
                return True
            self.now, _, do = heapq.heappop(self._queue)
            do()
        return False

    def _refresh(self) -> None:
        for wire in self.wires:
            for session in wire.sessions.values():
                session.refresh()
            self._flush(wire)

    def _members_changed(self, node: Node) -> None:
        for wire in self.wires.copy():
            if node in wire.ends and node.up:
                wire.sessions[node.number].refresh()
                self._flush(wire)

    def _crash(self, node: Node) -> None:
        if not node.up:
            return
        self.log.append(f"{self.now} {node.number} crashes")
        node.stop()
        for wire in self.wires.copy():
            if node in wire.ends:
                self._close(wire)
        self._at(self.now + self.rng.randrange(1, 10_000), node.start)

    def _together(self, one: Node, two: Node) -> bool:
        return self.sides.get(one.number) == self.sides.get(two.number)

    def _dial(self) -> None:
        for node in self.nodes:
            if not node.up:
                continue
            node.disk.settle()
            linked = [wire.other(node).key for wire in self.wires if node in wire.ends]
            wanted = choose(node.key, {n.key for n in self.nodes} - {node.key}, linked)
            for other in self.nodes:
                # A copied disk answers to the same key, so both are tried.
                if other.key in wanted or (other.key == node.key and other is not node):
                    self._link(node, other)

    def _link(self, one: Node, two: Node) -> None:
        if not (one.up and two.up and self._together(one, two)):
            return
        if any({one, two} == set(wire.ends) for wire in self.wires):
            return
        if self.now < self.bans.get((one.number, two.number), 0):
            return
        wire = Wire(one, two)
        self.wires.append(wire)
        self._flush(wire)

    def _close(self, wire: Wire) -> None:
        if wire.alive:
            wire.alive = False
            self.wires.remove(wire)
            for session in wire.sessions.values():
                session.close()

    def _flush(self, wire: Wire) -> None:
        for node in wire.ends:
            session = wire.sessions[node.number]
            while wire.alive and node.up and (data := session.outgoing(self.now)) is not None:
                self._send(wire, node, data)

    def _send(self, wire: Wire, node: Node, data: bytes) -> None:
        if self.rng.random() < self.loss:
            self._close(wire)
            return
        delay = self.rng.randrange(1, 300) + len(data) // 1000
        at = max(self.now + delay, wire.free_at[node.number])
        wire.free_at[node.number] = at
        self._at(at, lambda: self._deliver(wire, wire.other(node), data))

    def _deliver(self, wire: Wire, node: Node, data: bytes) -> None:
        if not wire.alive or not node.up or wire.deaf is node:
            return
        events: tuple[Event, ...] = ()
        try:
            events = wire.sessions[node.number].receive(data, self.now)
        except ProtocolError as error:
            events = error.events if isinstance(error, Rejected) else ()
            self._blame(wire, node, str(error))
        except Crash:
            self._crash(node)
            return
        if events:
            if node.take(events):
                self._members_changed(node)
            self._at(
                self.now + 50, lambda: self._tell(node, {e.author for e in events}, eager=False)
            )
        self._flush(wire)

    def _blame(self, wire: Wire, node: Node, fault: str) -> None:
        other = wire.other(node)
        self.log.append(f"{self.now} {node.number} leaves {other.number}: {fault}")
        self._close(wire)
        if other.honest:
            raise self._broken(f"peer {node.number} blames honest peer {other.number}: {fault}")
        self.bans[node.number, other.number] = self.bans[other.number, node.number] = (
            self.now + BAN_MS
        )

    def _tell(self, node: Node, authors: set[str], *, eager: bool) -> None:
        for wire in self.wires.copy():
            if node in wire.ends and node.up:
                wire.sessions[node.number].poke(authors, eager=eager)
                self._flush(wire)

    def _broken(self, text: str) -> Broken:
        return Broken(f"seed {self.seed}: {text}", self.log)
