"""Who is linked with whom: dialling, splits, and what a peer does about a neighbour it blames."""

import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from mesh.policy.neighbours import choose
from tests.simulation.clock import VirtualLoop
from tests.simulation.disk import Disk
from tests.simulation.links import Link, Wire
from tests.simulation.peer import Peer
from tests.simulation.steps import Steps

DIAL_S = 2.0
BAN_S = 5.0


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the seed, `log` what led to it."""

    def __init__(self, text: str, log: list[str]) -> None:
        super().__init__(text)
        self.log = log


class Network:
    """All peers of one schedule and their links; `log` is what happened, for a person."""

    def __init__(self, seed: int, disk_type: type[Disk], folder: Path) -> None:
        self.seed, self.disk_type, self.folder = seed, disk_type, folder
        self.rng = random.Random(seed)
        self.loop = VirtualLoop(self.rng)
        self.steps = Steps()
        self.log: list[str] = []
        self.peers: list[Peer] = []
        self.wires: list[Wire] = []
        self.sides: dict[int, int] = {}
        self.loss = 0.0
        self.failed: str = ""  # the first thing that broke while tasks were running

    @property
    def honest(self) -> list[Peer]:
        return [peer for peer in self.peers if peer.honest]

    def note(self, peer: Peer | None, text: str) -> None:
        """Write down what happened."""
        who = f"{peer.number} " if peer else ""
        self.log.append(f"{self.loop.time():9.3f} {who}{text}")

    def fail(self, text: str) -> None:
        """Something that must not happen has; the schedule ends at the next check."""
        self.failed = self.failed or text
        self.log.append(f"{self.loop.time():9.3f} BROKEN {text}")

    def broken(self, text: str) -> Broken:
        return Broken(f"seed {self.seed}: {text}", self.log)

    def spawn(self, doing: Coroutine[Any, Any, Any]) -> None:
        """A task of the world's own."""
        self.loop.create_task(doing)

    # Links

    def wires_of(self, peer: Peer) -> list[Wire]:
        return [wire for wire in self.wires if peer in wire.ends]

    def dial_all(self) -> None:
        """Every peer looks for the neighbours it should have."""
        self.wires = [wire for wire in self.wires if wire.alive]
        for peer in self.peers:
            peer.disk.settle()
            if peer.up:
                peer.remember()
                self._dial(peer)

    def _dial(self, peer: Peer) -> None:
        others = [other for other in self.peers if peer.dials(other.who.author)]
        keys = {other.key for other in others} - {peer.key}
        linked = {wire.other(link).me.key for wire, link in self._ends(peer)}
        wanted = choose(peer.key, keys, [key for key in keys if key not in linked])
        for other in others:
            if other.key in wanted:
                self._link(peer, other)

    def _ends(self, peer: Peer) -> list[tuple[Wire, Link]]:
        return [(wire, link) for wire in self.wires for link in wire.links if link.me is peer]

    def _link(self, one: Peer, two: Peer) -> None:
        now = self.loop.time()
        if not (two.up and self.together(one, two) and two.hears(one.who.author)):
            return
        if now < max(one.bans.get(two.number, 0), two.bans.get(one.number, 0)):
            return
        if any(one in wire.ends and two in wire.ends for wire in self.wires if wire.alive):
            return
        wire = Wire(one, two, self.rng, self.loss)
        self.wires.append(wire)
        for link in wire.links:
            me = link.me
            assert isinstance(me, Peer)
            link.quiet = not me.trusts(link.other.key.hex())
            me.took_step("greeting")
            me.spawn(me.serve(link))

    def unlink(self, peer: Peer) -> None:
        """All its links end."""
        for wire in self.wires_of(peer):
            wire.cut()

    def members_changed(self, peer: Peer) -> None:
        """A peer looks at its links again: those of keys that were put out or came back end, to
        be made anew, quietly or not."""
        peer.remember()
        for wire, link in self._ends(peer):
            other = wire.other(link).me
            member = peer.trusts(other.key.hex())
            if member == link.quiet or not (member or peer.hears(other.key.hex())):
                self.loop.call_soon(wire.cut)

    def blames(self, peer: Peer, link: Link, fault: str) -> None:
        """A peer ended a link over what its neighbour did."""
        other = link.other
        assert isinstance(other, Peer)
        self.note(peer, f"leaves {other.number}: {fault}")
        if peer.honest and other.honest:
            self.fail(f"peer {peer.number} blames honest peer {other.number}: {fault}")
        peer.bans[other.number] = self.loop.time() + BAN_S

    # Splits

    def together(self, one: Peer, two: Peer) -> bool:
        return self.sides.get(one.number, 0) == self.sides.get(two.number, 0)

    def split(self) -> None:
        """The network falls in two, and is whole again some time later."""
        self.sides = {peer.number: self.rng.randrange(2) for peer in self.peers}
        self.note(None, f"split {self.sides}")
        for wire in self.wires:
            one, two = wire.ends
            if self.sides[one.number] != self.sides[two.number]:
                self.loop.call_soon(wire.cut)
        self.loop.call_later(self.rng.random() * 15, self.sides.clear)

    def quiet(self) -> None:
        """Links are sound again."""
        self.loss = 0.0
        for wire in self.wires:
            wire.loss = 0.0
