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
from tests.simulation.removed import GOES_ON, STILL_IN, Ended, Removed

if TYPE_CHECKING:
    from tests.simulation.world import World


@dataclass
class Plots:
    """The adversaries of one schedule."""

    world: "World"
    liars: list[Liar] = field(default_factory=list)
    carried: bool = False
    ended: dict[str, Ended] = field(default_factory=dict)  # by key

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
        """Whoever nobody may remove puts a key out, at the tip it knows; tried until it is done.

        While the founder's key is stolen its word may be void soon: the recovery words come first.
        """
        world, by = self.world, self.world.anchor

        async def remove() -> None:
            self.ended[author] = await actions.expel(world, by, author)

        if world.healing or author in self.ended:
            return
        if by.who.author not in world.stolen and by.up and by.fleet is not None:
            world.person(by, remove)
        world.loop.call_later(4, self.expel, author)

    def recover(self) -> None:
        """Somebody uses the recovery words; tried until they are safe somewhere."""
        if not self.world.healing and self.world.recovered_by is None:
            self.use_the_words()
            self.world.loop.call_later(4, self.recover)

    def use_the_words(self, *, late: bool = False) -> bool:
        """An honest peer cuts the founder's key at the last event it knows to be honest; False
        where there is no such peer. `late`: those will do that know less."""
        world, founder = self.world, self.world.peers[0]
        able = self._know_enough(late=late)

        async def save(peer: Peer) -> None:
            good = self.last_good(peer, founder.who.author)
            ended = await actions.recover(world, peer, founder.who.author, good)
            world.recovered_by = peer
            self._void(peer, ended)
            self.ended[founder.who.author] = ended

        if able:
            peer = world.rng.choice(able)
            world.person(peer, lambda: save(peer))
        return bool(able)

    def _know_enough(self, *, late: bool) -> list[Peer]:
        """Peers on which somebody may use the recovery words."""
        world = self.world
        up = [peer for peer in world.honest[1:] if peer.up and peer.fleet and not peer.forked]
        up = [peer for peer in up if peer.who.author not in world.stolen]
        able = [peer for peer in up if _knows(peer) and not peer.copied]
        if late and not able:
            able = [peer for peer in up if peer.live.state.members.founded is not None]
        return able

    def _void(self, peer: Peer, ended: Ended) -> None:
        """What the founder removed after its last good event is not removed; so once more."""
        good = Removed(peer, {}).before(ended.cut)
        for author, one in list(self.ended.items()):
            if one.removal.hash not in good:
                del self.ended[author]
                self.world.loop.call_later(1, self.expel, author)

    def last_good(self, peer: Peer, author: str) -> pen.Place:
        """The last event of a key's own chain, as far as this peer has it."""
        found = [pen.GENESIS]
        for at in pen.places(peer.ledger, author)[1:]:
            if at.hash in self.world.signed and at.seq == found[-1].seq + 1:
                found.append(at)
        return found[-1]

    # While everything else heals

    def recovered(self, *, late: bool) -> bool:
        """Whether a stolen founder's key is out for good, as far as anybody can see to it: the
        words are used again where a disk lost what they said. One that was not stolen, and needs
        somebody to let it in again, gets an admin who can."""
        founder, saved = self.world.peers[0].who.author, self.world.recovered_by
        if founder not in self.world.stolen:
            if self.world.peers[0] in self.world.again and not self.world.has_admin():
                self._make_an_admin(late=late)
            return True
        if saved is not None and self._holds(saved, self.ended[founder]):
            return True
        return not self.use_the_words(late=late)

    def carry(self) -> None:
        """Where a disk lost whom to ask, somebody carries an export from machine to machine."""
        if self.world.peers[0].who.author in self.world.stolen and not self.carried:
            self.carried = True
            self.world.note(self.world.anchor, "is exported for all others")
            ledger, made = self.world.anchor.ledger, list[Envelope]()
            for author in (identity(RECOVERY).author, *sorted(ledger.tips())):
                made += ledger.page(author, 0, 10_000, 1 << 30).envelopes
            for peer in self.world.honest:
                if peer.up and peer.fleet is not None:
                    peer.spawn(import_file(self.world, peer, made))

    def _make_an_admin(self, *, late: bool) -> None:
        """The recovery words make one, which waits for nobody where nobody comes."""
        able = self._know_enough(late=late)
        peer = self.world.rng.choice(able) if able else None
        if peer is None:
            return
        if peer.live.state.members.role(peer.who.author) != ADMIN:
            self.world.person(peer, lambda: actions.rise(self.world, peer))
        elif late and not peer.live.may_sign and not peer.alone:
            self.world.note(peer, "is told that it is alone")
            peer.alone = True
            peer.crash(back_s=0.1)

    def _holds(self, peer: Peer, ended: Ended) -> bool:
        said = ended.removal
        return peer.up and peer.ledger.has(said.author, said.seq, said.hash)

    def keep_flooding(self) -> None:
        """Strangers go on: one honest peer is handed events of invented keys."""
        world = self.world
        peer = world.rng.choice(world.honest)
        if not peer.up or peer.fleet is None:
            return
        everybody = [one.who.author for one in world.peers]
        crook = Crook(world.rng, peer.who, peer.ledger, peer.live.state, peer.now_ms(), everybody)
        peer.spawn(import_file(world, peer, flood(crook) + self.go_on(peer)))

    def go_on(self, peer: Peer) -> list[Envelope]:
        """Keys that were put out sign on, past whatever this peer has of them."""
        made: list[Envelope] = []
        removed, current = Removed(peer, self.ended), self.world.judge.is_current(peer)
        for one in self.liars:
            key = one.who
            if key.author in self.ended and key.author not in self.world.stolen:
                at = pen.places(peer.ledger, key.author)[-1]
                known = current and removed.is_past_the_end(key.author, at.seq + 1)
                text: dict[str, object] = {"text": GOES_ON if known else STILL_IN}
                made.append(pen.sign(key, at, peer.now_ms(), "note_added", text)[0])
        return made


def _knows(peer: Peer) -> bool:
    """Whether a machine's own ledger has it that it was let in: else it knows too little. That
    may count for nothing by now: a thief can take back what the founder's key signed."""
    return any(
        event.event_type == "peer_added" and event.payload.get("key") == peer.who.author
        for _, event in peer.ledger.events()
    )
