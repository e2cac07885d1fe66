"""One seeded schedule: peers, links and a clock that all obey one random number generator.

Raises Broken, with the seed, when an invariant does not hold.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from mesh.edge.disk import StoreError
from mesh.edge.store.sealed import pack as sealed
from mesh.edge.store.verify import verify
from mesh.ledger import document, ids, signing
from mesh.state import members
from mesh.state.checkpoint import pack
from mesh.sync import messages, wants
from mesh.sync.manifest import digest
from tests.simulation.disk import Crash, Disk, identity
from tests.simulation.liar import Liar
from tests.simulation.net import Net
from tests.simulation.nodes import Node

RUN_MS = 60_000
DIAL_MS = 2_000
HEARTBEAT_MS = 15_000  # a link that says nothing for so long is dead
# A schedule takes a few thousand; a hundred times that is a loop.
MAX_STEPS = 300_000
HOUR_MS = 3_600_000
# Small, so that a schedule of seconds seals segments and pages through batches.
SMALL = {
    (document, "SEGMENT_EVENTS"): 8,
    (sealed, "SEGMENT_EVENTS"): 8,
    (wants, "TAIL_EVENTS"): 4,
    (messages, "BATCH_EVENTS"): 5,
    (wants, "FIRST_STEP_BACK"): 2,
    (members, "GRACE_EVENTS"): 2,
}


class World(Net):
    """All of one schedule."""

    def __init__(self, seed: int, disk_type: type[Disk] = Disk) -> None:
        super().__init__(seed)
        self.signed: set[str] = set()
        self._disk_type = disk_type
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
                self._must_play()
                self._heal()
                self._check()
            except StoreError as error:
                raise self._broken(f"a peer cannot use its own ledger: {error}") from error

    def _seal(self, seed: bytes, body: bytes) -> bytes:
        """Remember what the honest signed: nothing else may ever be admitted in their name."""
        self.signed.add(ids.event_hash(body))
        return SEAL(seed, body)

    # The schedule

    def _plan(self) -> None:
        for at in range(0, RUN_MS, DIAL_MS):
            self._at(at, self._dial)
        if self.fleet:
            self._at(0, self._found)
            for _ in range(self.rng.randrange(3)):
                self._at(self.rng.randrange(RUN_MS), self._remove)
        for do, times in (
            (self._write, self.rng.randrange(8, 32)),
            (self._burst, self.rng.randrange(3)),
            (self._power_cut, self.rng.randrange(4)),
            (self._fragile, self.rng.randrange(4)),
            (self._split, self.rng.randrange(3)),
            (self._reset, self.rng.randrange(5)),
            (self._half_open, self.rng.randrange(3)),
            (self._jump, self.rng.randrange(3)),
            (self._clone, self.rng.random() < 0.3),
            (self._refresh, 2),
        ):
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

    # The end

    def _must_play(self) -> None:
        if not self._play(MAX_STEPS):
            raise self._broken("peers talk without end")

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
            self._must_play()
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
        for event in everything.values():
            if event.hash not in self.signed and event.author in authors:
                raise self._broken(f"a forged event was admitted: {event}")
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
