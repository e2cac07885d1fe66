"""One seeded schedule: peers, links and a clock that all obey one random number generator.

A link is reliable and in order until it dies, as TCP is; what arrives twice or in another order
comes over different links, over a link that died in between, or from a liar. Raises Broken, with
the seed, when an invariant does not hold.
"""

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from mesh.edge.store_errors import StoreError
from mesh.edge.store_verify import verify
from mesh.ledger import document, ids, signing
from mesh.ledger.event import Event
from mesh.policy.neighbours import choose
from mesh.state import members
from mesh.state.checkpoint import pack
from mesh.sync import messages, wants
from mesh.sync.manifest import digest
from mesh.sync.messages import place_of
from mesh.sync.session import ProtocolError, Rejected, Session
from tests.simulation.disk import Crash, Disk, identity
from tests.simulation.liar import Liar
from tests.simulation.nodes import Node

RUN_MS = 60_000
DIAL_MS = 2_000
HEARTBEAT_MS = 15_000  # a link that says nothing for so long is dead
BAN_MS = 5_000
HOUR_MS = 3_600_000
# Small, so that a schedule of seconds seals segments and pages through batches.
SMALL = {
    (document, "SEGMENT_EVENTS"): 8, (wants, "TAIL_EVENTS"): 4, (messages, "BATCH_EVENTS"): 5,
    (wants, "FIRST_STEP_BACK"): 2, (members, "GRACE_EVENTS"): 2,
}  # fmt: skip


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


class World:
    """All of one schedule. `run` plays it; `log` is what happened, for a person."""

    def __init__(self, seed: int, disk_type: type[Disk] = Disk) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.now = 0
        self.log: list[str] = []
        self.signed: set[str] = set()
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._disk_type = disk_type
        self.wires: list[Wire] = []
        self.bans: dict[tuple[int, int], int] = {}
        self.sides: dict[int, int] = {}
        count = self.rng.choice((2, 3, 3, 4))
        self.nodes = [self._node(number, Node) for number in range(1, count + 1)]
        if self.rng.random() < 0.5:
            self.nodes.append(self._node(count + 1, Liar))
            self.nodes[-1].honest = False
        self.loss = self.rng.choice((0, 0, 0.01, 0.05))
        self.fleet = self.rng.random() < 0.5
        for node in self.nodes:
            node.root = self.nodes[0].who.author if self.fleet else ""
            node.state.members.root = node.root

    def _node(self, number: int, kind: type[Node]) -> Node:
        return kind(number, identity(number), self._disk_type(self.rng), self.rng)

    @property
    def honest(self) -> list[Node]:
        return [node for node in self.nodes if node.honest]

    def run(self) -> None:
        """Play the schedule, heal everything, and check what must hold."""
        with ExitStack() as stack:
            for (module, name), value in SMALL.items():
                stack.enter_context(mock.patch.object(module, name, value))
            stack.enter_context(mock.patch.object(signing, "seal", self._seal))
            try:
                self._plan()
                while self._queue:
                    self.now, _, do = heapq.heappop(self._queue)
                    do()
                self._heal()
                self._check()
            except StoreError as error:
                raise self._broken(f"a peer cannot use its own ledger: {error}") from error

    def _seal(self, seed: bytes, body: bytes) -> bytes:
        """Remember what the honest signed: nothing else may ever be admitted in their name."""
        self.signed.add(ids.event_hash(body))
        return SEAL(seed, body)

    def _at(self, when: int, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, do))

    # The schedule

    def _plan(self) -> None:
        for at in range(0, RUN_MS, DIAL_MS):
            self._at(at, self._dial)
        if self.fleet:
            self._at(0, self._found)
            for _ in range(self.rng.randrange(3)):
                self._at(self.rng.randrange(RUN_MS), self._remove)
        for do, times in (
            (self._write, self.rng.randrange(8, 32)), (self._burst, self.rng.randrange(3)),
            (self._power_cut, self.rng.randrange(4)), (self._fragile, self.rng.randrange(4)),
            (self._split, self.rng.randrange(3)), (self._reset, self.rng.randrange(5)),
            (self._half_open, self.rng.randrange(3)), (self._jump, self.rng.randrange(3)),
            (self._clone, self.rng.random() < 0.3), (self._refresh, 2),
        ):  # fmt: skip
            for _ in range(times):
                self._at(self.rng.randrange(RUN_MS), do)

    def _write(self, count: int = 1) -> None:
        node = self.rng.choice(self.nodes)
        for _ in range(count):
            if not node.up:
                return
            try:
                if not node.write(self.now):
                    return
            except Crash:
                self._crash(node)
                return
        if self.rng.random() < 0.05:  # the user has just been told that it is safe
            self._crash(node)
        self._tell(node, {node.who.author}, eager=True)

    def _found(self) -> None:
        """The first peer makes the fleet: it lets everybody in."""
        for node in self.nodes[1:]:
            fact = {"key": node.who.author, "role": "admin", "since": 1}
            self._say(self.nodes[0], ("peer_added", fact))

    def _remove(self) -> None:
        """Somebody removes somebody, from the last event it has seen on."""
        one, other = self.rng.sample(self.nodes, 2)
        if one.up and one.honest:
            tip = one.ledger.tip(other.who.author)
            fact = {"key": other.who.author, "until": tip.seq if tip else 0}
            self.log.append(f"{self.now} {one.number} removes {other.number}: {fact['until']}")
            self._say(one, ("peer_removed", fact))

    def _say(self, node: Node, fact: tuple[str, dict[str, object]]) -> None:
        try:
            node.write(self.now, fact)
        except Crash:
            self._crash(node)
            return
        self._tell(node, {node.who.author}, eager=True)
        self._members_changed(node)

    def _members_changed(self, node: Node) -> None:
        for wire in self.wires.copy():
            if node in wire.ends and node.up:
                wire.sessions[node.number].refresh()
                self._flush(wire)

    def _burst(self) -> None:
        self._write(self.rng.randrange(4, 20))

    def _power_cut(self) -> None:
        self._crash(self.rng.choice(self.nodes))

    def _fragile(self) -> None:
        self.rng.choice(self.nodes).disk.fragile = True

    def _split(self) -> None:
        self.sides = {node.number: self.rng.randrange(2) for node in self.nodes}
        self.log.append(f"{self.now} split {self.sides}")
        for wire in self.wires.copy():
            if not self._together(*wire.ends):
                self._close(wire)
        self._at(self.now + self.rng.randrange(20_000), self.sides.clear)

    def _reset(self) -> None:
        if self.wires:
            self._close(self.rng.choice(self.wires))

    def _half_open(self) -> None:
        hearing = [wire for wire in self.wires if wire.deaf is None]
        if hearing:
            wire = self.rng.choice(hearing)
            wire.deaf = self.rng.choice(wire.ends)
            self.log.append(f"{self.now} {wire.deaf.number} hears nothing more")
            self._at(self.now + HEARTBEAT_MS, lambda: self._close(wire))

    def _jump(self) -> None:
        self.rng.choice(self.nodes).skew_ms = self.rng.randrange(-HOUR_MS, HOUR_MS)

    def _clone(self) -> None:
        """A disk is copied, and both copies run."""
        one = self.rng.choice(self.honest)
        copy = self._node(len(self.nodes) + 1, Node)
        copy.stop()
        copy.who, copy.root = one.who, one.root
        copy.disk.durable = one.disk.durable
        copy.start()
        self.nodes.append(copy)
        self.log.append(f"{self.now} {copy.number} is a copy of {one.number}")

    def _refresh(self) -> None:
        for wire in self.wires:
            for session in wire.sessions.values():
                session.refresh()
            self._flush(wire)

    # Peers and links

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
            self._at(self.now + 50, lambda: self._tell(node, {e.author for e in events}, False))
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

    def _tell(self, node: Node, authors: set[str], eager: bool) -> None:
        for wire in self.wires.copy():
            if node in wire.ends and node.up:
                wire.sessions[node.number].poke(authors, eager)
                self._flush(wire)

    # The end

    def _heal(self) -> None:
        """All faults end; then everything must settle by itself."""
        self.sides.clear()
        self.bans.clear()
        self.loss = 0
        for node in self.nodes:
            node.disk.fragile = False
            if not node.up:
                node.start()
        for wire in self.wires.copy():
            self._close(wire)
        for node in self.nodes:
            if not node.honest:
                node.stop()  # it has lied enough; what it told is still everywhere
        for _ in range(30):
            self._dial()
            self._refresh()
            steps = 0
            while self._queue:
                self.now, _, do = heapq.heappop(self._queue)
                do()
                steps += 1
                if steps > 50_000:
                    raise self._broken("peers talk without end")
            if len({digest(node.holds()) for node in self.honest}) == 1:
                return
        tips = [node.holds() for node in self.honest]
        raise self._broken(f"peers do not converge: {tips}")

    def _check(self) -> None:
        """The invariants. Everything is compared after a restart from disk."""
        for node in self.honest:
            node.disk.settle()
            node.stop()
            node.start()
        states = {pack(node.settled()) for node in self.honest}
        if len(states) != 1:
            raise self._broken("equal ledgers fold to different states")
        everything = {event.id: event for _, event in self.honest[0].ledger.events()}
        for node in self.honest:
            lost = [name for name in node.acked if name not in everything]
            if lost and self._counted(node, lost[0]):
                raise self._broken(f"peer {node.number} lost {lost[0]}, which it had acknowledged")
        authors = {node.who.author for node in self.honest}
        for (body,) in self.honest[0].ledger._db.execute("SELECT body FROM events"):
            if ids.event_hash(body) not in self.signed and place_of(body).author in authors:
                raise self._broken(f"a forged event was admitted: {body[:200]!r}")
        self._verify(self.rng.choice(self.honest))

    def _counted(self, node: Node, name: str) -> bool:
        """Whether an event its author lost or kept to itself would count: not past a cut-off."""
        for event in node.ledger.ordered():
            if event.id == name:
                return node.admits(event.author, event.seq)
        return True

    def _verify(self, node: Node) -> None:
        """Every byte on one peer's disk, by a gate that is not broken."""
        with mock.patch.object(signing, "verify", VERIFY):
            for finding in verify(node.ledger._db).findings:
                if not finding.text.startswith("fork:"):
                    raise self._broken(f"peer {node.number}: {finding}")

    def _broken(self, text: str) -> Broken:
        return Broken(f"seed {self.seed}: {text}", self.log)


SEAL = signing.seal
VERIFY = signing.verify


@contextmanager
def broken(name: str) -> Iterator[type[Disk]]:
    """The world with one part broken; "" for a sound one."""
    from tests.simulation.broken import VARIANTS

    with ExitStack() as stack:
        yield VARIANTS[name](stack)


def play(seed: int, name: str = "") -> World:
    """Run one schedule; Broken when it fails."""
    with broken(name) as disk_type:
        world = World(seed, disk_type)
        world.run()
    return world
