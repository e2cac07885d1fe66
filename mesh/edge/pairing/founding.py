"""How a fleet begins: its first event, the recovery key in it, and what was there before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.identity import Fleet, Identity
from mesh.edge.pairing.branches import branches, chain_of
from mesh.edge.pairing.standing import Keeper
from mesh.ledger import signing
from mesh.policy.words import words_of
from mesh.state.facts.fact import encode
from mesh.state.facts.member import FleetFounded, PeerAdded, PeerRemoved
from mesh.state.members import ADDED, REMOVED, RUNNER

FOUNDED: Final = "fleet_founded"
# Authors whose earlier events a new fleet takes over: a dozen reinstalled machines and then some.
MAX_ADOPTED: Final = 64


@final
class Founding:
    """Founds the fleet of one peer. The recovery words leave here once, and are kept nowhere."""

    def __init__(
        self,
        keeper: Keeper,
        who: Identity,
        home: Path,
        name: str,
        tls: Callable[[], str],
        fleet: Callable[[], Fleet | None],
    ) -> None:
        self._keeper, self._who, self._home = keeper, who, home
        self._name, self._tls, self._fleet = name, tls, fleet

    async def found(self) -> list[str]:
        """Make this peer the root of a fleet; the words of its recovery key, [] where it has one.

        The words are the caller's to show: if that fails, nobody has them.
        """
        if self._fleet() is not None:
            return []
        others = sorted(set(self._keeper.tips()) - {self._who.author})[:MAX_ADOPTED]
        words = await self._begin()
        for author in others:
            await self._adopt(author)
        return words

    async def add_recovery(self) -> list[str]:
        """Give a fleet of an earlier version its recovery key; the words."""
        members, fleet = self._keeper.state.members, self._fleet()
        if fleet is None:
            raise RequestError(
                "NoFleet", "this peer is alone", "fleet invite makes one, and shows its words", 409
            )
        if members.recovery or fleet.recovery or members.founding or fleet.founding:
            raise RequestError(
                "HasRecovery",
                "this fleet has its recovery words; they were shown once and are kept nowhere",
                "fleet recover asks for them",
                409,
            )
        if fleet.root != self._who.author:
            root = next((one.name for one in members.peers() if one.author == fleet.root), "")
            where = root or "the machine that founded it"
            raise RequestError(
                "NotTheFounder",
                "only the key that founded the fleet can give it recovery words",
                f"on {where}: fleet recovery new",
                403,
            )
        return await self._begin()

    async def _begin(self) -> list[str]:
        """The founding event, and our belonging to its fleet."""
        seed = signing.keygen()
        recovery = signing.author_of(seed)
        fact = FleetFounded(recovery=recovery, name=self._name, tls=self._tls())
        event = await self._keeper.emit(FOUNDED, self._who.peer_id, encode(fact))
        await self._keeper.belong(
            Fleet(root=self._who.author, founding=event.hash, recovery=recovery)
        )
        return words_of(seed)

    async def _adopt(self, author: str) -> None:
        """What another key wrote into this ledger before there was a fleet goes on counting.

        An own key given up, an import by hand: each is granted what it said so far and no more.
        """
        seq, digest = await self._end_of(author)
        added = PeerAdded(key=author, name="", role=RUNNER, tls="", since=1)
        ended = PeerRemoved(key=author, until=seq, until_hash=digest, reason="kept as history")
        await self._keeper.emit(ADDED, self._who.peer_id, encode(added))
        await self._keeper.emit(REMOVED, self._who.peer_id, encode(ended))

    async def _end_of(self, author: str) -> tuple[int, str]:
        """The author's last event; of a forked one the last of the branch kept first."""
        tip = self._keeper.tips()[author]
        if not tip.fork:
            return tip.seq, tip.hash
        events = await asyncio.to_thread(chain_of, self._home, author)
        kept = branches(events)[0].last
        return kept.seq, kept.hash
