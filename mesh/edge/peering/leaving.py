"""Giving up a key: the fleet is told by the key itself, while it still can sign."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, fleet_of, load_or_create
from mesh.edge.pairing.standing import admin_names
from mesh.edge.store.forks import forks
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import load_state
from mesh.state.facts.fact import encode
from mesh.state.facts.member import PeerRemoved
from mesh.state.members import ADMIN, REMOVED, Members

WHY: Final = "gave its key up"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Leaver:
    """A peer that is about to give its key up, and the fleet it knows."""

    home: Path
    author: str
    fleet: Fleet
    members: Members
    forked: bool

    @property
    def others(self) -> list[str]:
        """The admins who stay, by name."""
        return admin_names(self.members, self.author)

    def refuse_last_admin(self) -> None:
        """RequestError where nobody would be left to let the new key in, or anybody."""
        mine = self.members.role(self.author) == ADMIN
        stay = [one for one in self.members.peers() if one.role and one.author != self.author]
        if mine and stay and not self.others and not self.forked:
            raise RequestError(
                "LastAdmin",
                "this peer is the fleet's only admin; a new key would leave it without one",
                f"fleet up --detach, then fleet peers role {stay[0].name} admin",
                409,
            )

    def leave(self, now: int) -> bool:
        """Sign, with the key that goes, that it goes; whether it is out by that."""
        if self.forked or not self.members.role(self.author):
            return False
        try:
            with Ledger.open(self.home) as ledger:
                tip = ledger.tip(self.author)
                fact = PeerRemoved(
                    key=self.author,
                    until=tip.seq if tip else 0,
                    until_hash=tip.hash if tip else "",
                    reason=WHY,
                )
                ledger.append(REMOVED, ledger.peer_id, encode(fact), now)
            return not load_state(self.home).members.role(self.author)
        except StoreError:
            return False

    def way_back(self, *, left: bool) -> str:
        """How the new key comes in."""
        name = next((p.name for p in self.members.peers() if p.author == self.author), "")
        old = "" if left or not name else f", and fleet peers remove {name}"
        if self.others:
            return f"on {self.others[0]}: fleet invite{old}; then here: fleet join CODE"
        if self.fleet.recovery or self.members.recovery:
            there = "on another machine of the fleet: fleet recover, then fleet invite"
            return f"{there}{old}; then here: fleet join CODE"
        return (
            "nobody can let the new key in: the fleet has no other admin and no recovery words; "
            "fleet identity reset --new-fleet begins anew"
        )


def leaver(home: Path) -> Leaver | None:
    """Who gives its key up; None for a peer that is alone or never ran."""
    fleet = fleet_of(home)
    if fleet is None:
        return None
    me = load_or_create(home).author
    try:
        members, forked = load_state(home).members, me in forks(home)
    except StoreError:  # no ledger, or none that can be read: the key is all there is
        members, forked = Members(root=fleet.root, founding=fleet.founding), False
    return Leaver(home=home, author=me, fleet=fleet, members=members, forked=forked)
