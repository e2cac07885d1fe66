"""Who means harm in a schedule, and what the honest do about it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mesh.state.members import ADMIN
from mesh.sync.archive import Envelope
from tests.simulation import actions, pen
from tests.simulation.crimes import Crook, flood
from tests.simulation.crook import Liar, import_file
from tests.simulation.keys import RECOVERY, identity
from tests.simulation.peer import Peer

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Plots:
    """The adversaries of one schedule."""

    world: "World"
    liars: list[Liar] = field(default_factory=list)
    carried: bool = False
    ended: dict[str, str] = field(default_factory=dict)  # by key: the hash its removal names

    def plan(self, until_s: float) -> None:
        """Decide who lies, when a key is stolen, and when somebody notices."""
        rng = self.world.rng
        if rng.random() < 0.5:
            self.liar()
        chance = rng.random()
        if chance < 0.15:
            self.world.loop.call_at(5 + rng.random() * 15, self.steal_admin)
        elif chance < 0.3:
            self.world.loop.call_at(5 + rng.random() * 15, self.steal_founder)
        for _ in range(rng.randrange(2, 7)):
            self.world.loop.call_at(4 + rng.random() * (until_s - 4), self.misbehave)

    def liar(self) -> None:
        """A member that lies; the founder may see through it some day."""
        world = self.world
        made = Liar(world, len(world.peers) + 1)
        world.peers.append(made)
        self.liars.append(made)
        world.loop.call_at(0.5 + world.rng.random() * 5, world.let_in, made)
        if world.rng.random() < 0.6:
            world.loop.call_at(8 + world.rng.random() * 20, self.expel, made.who.author)

    def misbehave(self) -> None:
        """One of them does something, if any is up and in."""
        able = [one for one in self.liars if one.up and one.fleet is not None]
        if able:
            one = self.world.rng.choice(able)
            one.spawn(one.misbehave())

    # Stolen keys

    def steal_admin(self) -> None:
        """A thief copies an admin's disk; the founder removes the key a little later."""
        members = self.world.peers[0].live.state.members
        admins = [
            peer
            for peer in self.world.honest[1:]
            if peer.up and not peer.copied and members.role(peer.who.author) == ADMIN
        ]
        if admins:
            victim = self.world.rng.choice(admins)
            self._thief(victim)
            later = self.world.loop.time() + 2 + self.world.rng.random() * 8
            self.world.loop.call_at(later, self.expel, victim.who.author)

    def steal_founder(self) -> None:
        """A thief copies the founder's disk; somebody uses the recovery words."""
        founder = self.world.peers[0]
        if founder.up and not founder.copied and founder.fleet is not None:
            self._thief(founder)
            later = self.world.loop.time() + 2 + self.world.rng.random() * 8
            self.world.loop.call_at(later, self.recover)

    def _thief(self, victim: Peer) -> None:
        world = self.world
        world.note(victim, "has its key stolen")
        world.stolen.add(victim.who.author)
        thief = Liar(world, len(world.peers) + 1, victim.who_number)
        world.take_over(thief, victim)
        world.peers.append(thief)
        self.liars.append(thief)

    # What the honest do

    def expel(self, author: str) -> None:
        """The founder removes a key, at the tip it knows; tried until it is done."""
        founder = self.world.peers[0]

        async def remove() -> None:
            head = await actions.expel(self.world, founder, author)
            self.ended[author] = head

        if self.world.healing or founder.who.author in self.world.stolen:
            return
        if author not in self.ended:
            if founder.up and founder.fleet is not None:
                self.world.person(founder, remove)
            self.world.loop.call_later(4, self.expel, author)

    def recover(self) -> None:
        """An honest peer cuts the founder's key at the last event it knows to be honest."""
        world, founder = self.world, self.world.peers[0]
        able = [peer for peer in world.honest[1:] if peer.up and peer.fleet and not peer.copied]
        able = [peer for peer in able if peer.who.author not in world.stolen]

        async def save(peer: Peer) -> None:
            good = self.last_good(peer, founder.who.author)
            await actions.recover(world, peer, founder.who.author, good.seq, good.hash)
            self.ended[founder.who.author] = good.hash
            world.recovered_by = peer

        if world.healing or world.recovered_by is not None:
            return
        if able:
            peer = world.rng.choice(able)
            world.person(peer, lambda: save(peer))
        world.loop.call_later(4, self.recover)

    def last_good(self, peer: Peer, author: str) -> pen.Place:
        """The last event of a key's own chain, as far as this peer has it."""
        found = [pen.GENESIS]
        for at in pen.places(peer.ledger, author)[1:]:
            if at.hash in self.world.signed and at.seq == found[-1].seq + 1:
                found.append(at)
        return found[-1]

    # While everything else heals

    def carry_recovery(self) -> None:
        """What the recovery words said is carried by hand to peers that shut the others out.

        A thief with the founder's key may have removed everybody: who believed it takes no links.
        """
        saved = self.world.recovered_by
        if saved is None or self.carried:
            return
        self.carried = True
        made: list[Envelope] = []
        for author in (identity(RECOVERY).author, self.world.peers[0].who.author):
            made += saved.ledger.page(author, 0, 10_000, 1 << 30).envelopes
        for peer in self.world.honest:
            if peer.up and peer.fleet is not None:
                peer.spawn(import_file(self.world, peer, made))

    def keep_flooding(self) -> None:
        """Strangers go on: one honest peer is handed events of invented keys."""
        world = self.world
        peer = world.rng.choice(world.honest)
        if not peer.up or peer.fleet is None:
            return
        everybody = [one.who.author for one in world.peers]
        crook = Crook(world.rng, peer.who, peer.ledger, peer.live.state, peer.now_ms(), everybody)
        peer.spawn(import_file(world, peer, flood(crook)))
