"""A peer in somebody's hands who means harm: a member that lies, or a thief with a copied key."""

from typing import TYPE_CHECKING, Any

from mesh.sync import messages
from mesh.sync.archive import Envelope
from mesh.sync.session import Session
from tests.simulation.crimes import CRIMES, Crook
from tests.simulation.lying import LyingSession
from tests.simulation.peer import REFUSED, Peer

if TYPE_CHECKING:
    from tests.simulation.world import World

LIE_AT_ONCE = 6  # envelopes of its last crime that one answer may carry beside the asked ones


class Liar(Peer):
    """Runs the real code, with sessions that lie, and signs whatever harms the others."""

    honest = False

    def __init__(self, world: "World", number: int, key_number: int = 0) -> None:
        self.last: list[Envelope] = []  # what it signed last, for its sessions to slip in
        super().__init__(world, number, key_number)

    def speaks(self, *args: Any, **named: Any) -> Session:  # type: ignore[override]
        made = LyingSession(*args, **named)
        made.rng, made.who, made.extra = self.rng, self.who, self._extra
        return made

    def admits(self, author: str, seq: int) -> bool:
        """It takes anything of anybody, and passes it on."""
        return True

    def _extra(self) -> list[Envelope]:
        mine = [one for one in self.last if _author(one) == self.who.author]
        return self.rng.sample(mine, min(len(mine), LIE_AT_ONCE))

    async def misbehave(self) -> None:
        """One crime, told to its neighbours and handed to others as a file."""
        crime = self.rng.choice(CRIMES)
        everybody = [peer.who.author for peer in self.world.peers]
        state, now = self.live.state, self.now_ms()
        made = crime(Crook(self.rng, self.who, self.ledger, state, now, everybody))
        self.last = made
        self.world.note(self, f"signs {len(made)} events: {crime.__name__}")
        if self.rng.random() < 0.7:
            await self._spread(made)
        for peer in self.world.honest:
            if peer.up and peer.fleet is not None and self.rng.random() < 0.3:
                peer.spawn(import_file(self.world, peer, made))

    async def _spread(self, made: list[Envelope]) -> None:
        """Into its own ledger, so that its sessions tell of them."""
        loop = self.world.loop
        for one in made:
            try:
                await loop.run_in_executor(self.worker, self.ledger.take_in, [one])
            except REFUSED:
                return
        await self.live.catch_up()
        self.replication.notify({_author(one) for one in made})


async def import_file(world: "World", peer: Peer, envelopes: list[Envelope]) -> None:
    """Somebody is handed an export and takes it in; not while its peer is still alone, which would
    believe all of it."""
    if peer.live.state.members.alone:
        return
    left, done = envelopes, 0
    while taken := [one for one in left if _may_come(peer, one)]:  # a grant lets the next ones in
        left = [one for one in left if one not in taken]
        try:
            await peer.live.take_in(taken)
        except REFUSED:
            return
        peer.replication.notify({_author(one) for one in taken})
        done += len(taken)
    world.note(peer, f"imports {done} of {len(envelopes)} events")


def _may_come(peer: Peer, envelope: Envelope) -> bool:
    """Imports ask who is admitted, as sessions do."""
    place = messages.place_of(envelope[1])
    return peer.live.admits(place.author, place.seq)


def _author(envelope: Envelope) -> str:
    return messages.place_of(envelope[1]).author
