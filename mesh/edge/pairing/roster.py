"""What a person decides about those who are in: another role, another name, out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import final

from mesh.api.errors import RequestError
from mesh.config import slug
from mesh.edge.identity import Fleet, Identity
from mesh.edge.pairing.branches import chain_of, place_of
from mesh.edge.pairing.desk import fits, free_name, only
from mesh.edge.pairing.standing import Keeper, refuse_forked, refuse_powerless
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerAdded, PeerRemoved, PeerRenamed
from mesh.state.members import ADDED, ADMIN, REMOVED, RENAMED, PeerView, allowed
from mesh.state.peer_id import peer_id


@final
class Roster:
    """Changes who is in. Refused here is what no other peer would believe."""

    def __init__(
        self, keeper: Keeper, who: Identity, home: Path, fleet: Callable[[], Fleet | None]
    ) -> None:
        self._keeper, self._who, self._home, self._fleet = keeper, who, home, fleet

    def find(self, text: str) -> PeerView:
        """The member of that name or that start of an id."""
        peers = [one for one in self._keeper.state.members.peers() if one.role]
        found = [one for one in peers if fits(text, one.name, peer_id(one.author))]
        return only(found, text, "is in this fleet", "fleet peers")

    async def role(self, text: str, role: str) -> dict[str, object]:
        """Give a peer another role: what it did before keeps the old one, what it does from its
        newest event known here on has the new one."""
        one = self.find(text)
        self._refuse(one, "change its own role")
        if one.role == role:
            raise RequestError("SameRole", f"{one.name} is {role} already", "fleet peers", 409)
        tip = self._keeper.tips().get(one.author)
        refuse_forked(tip, one.name)
        fact = PeerAdded(
            key=one.author,
            name=one.name,
            role=role,
            tls=one.tls,
            since=tip.seq + 1 if tip else 1,
            since_hash=tip.hash if tip else "",
            names=self._keeper.state.members.names_for(one.author),
        )
        await self._keeper.emit(ADDED, self._who.peer_id, encode(fact))
        return {"peer_id": peer_id(one.author), "name": one.name, "role": role, "was": one.role}

    async def remove(self, text: str, reason: str, keep: str = "") -> dict[str, object]:
        """Put a peer out: what is not at or before one event of its chain no longer counts.

        That event is the newest one known here, or the one that `keep` names: of a key that signed
        two histories, somebody must say which is the good one.
        """
        one = self.find(text)
        self._refuse(one, "remove itself")
        seq, digest = await self._cut(one, keep)
        fact = PeerRemoved(key=one.author, until=seq, until_hash=digest, reason=reason)
        await self._keeper.emit(REMOVED, self._who.peer_id, encode(fact))
        return {"peer_id": peer_id(one.author), "name": one.name, "until": seq}

    async def rename(self, text: str, name: str) -> dict[str, object]:
        """Call a peer something else; only an admin may name another."""
        one = self.find(text)
        members = self._keeper.state.members
        mine = members.role(self._who.author)
        if one.author != self._who.author and not allowed(mine, ADMIN):
            raise RequestError("WrongRole", "only an admin names other peers", "", 403)
        new = free_name(members, slug(name), one.author)
        fact = PeerRenamed(key=one.author, name=new)
        await self._keeper.emit(RENAMED, self._who.peer_id, encode(fact))
        return {"peer_id": peer_id(one.author), "name": new}

    def _refuse(self, one: PeerView, what: str) -> None:
        """Who may not, and whom it may not be done to."""
        me = self._who.author
        refuse_powerless(self._keeper, me, self._fleet())
        if one.author == me:
            raise RequestError(
                "Self", f"a peer cannot {what}", "ask another admin of the fleet", 409
            )
        if not self._keeper.state.members.may_end(me, one.author):
            raise senior(one.name)

    async def _cut(self, one: PeerView, keep: str) -> tuple[int, str]:
        """(seq, hash) of the last event that still counts; (0, "") for none."""
        if keep:
            events = await asyncio.to_thread(chain_of, self._home, one.author)
            return place_of(events, keep, one.name)
        tip = self._keeper.tips().get(one.author)
        refuse_forked(tip, one.name)
        return (tip.seq, tip.hash) if tip else (0, "")


def senior(name: str) -> RequestError:
    """The refusal to end the grant of somebody who was an admin first."""
    return RequestError(
        "Senior",
        f"{name} is senior: you can't remove or demote the one who let you in, nor who was let in "
        "before you",
        f"the recovery words can: fleet recover --remove {name}",
        403,
    )
