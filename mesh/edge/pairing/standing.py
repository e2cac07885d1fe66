"""Whether this peer's word counts when it lets others in or puts them out, and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mesh.api.errors import RequestError
from mesh.edge.identity import Fleet
from mesh.ledger.event import Event
from mesh.state.members import ADMIN, Members
from mesh.state.state import State
from mesh.sync.manifest import Tip


class Keeper(Protocol):
    """The node behind the desk."""

    @property
    def state(self) -> State: ...

    @property
    def waits(self) -> bool:
        """Whether neighbours must bring something of our own chain before we sign."""

    def now(self) -> int: ...

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event: ...

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        """Write down whose fleet this is, and fold the ledger by its rules.

        `own` is where our own chain ends at whoever let us in; None for a fleet of our own.
        """

    def tips(self) -> Mapping[str, Tip]:
        """Where each author's chain ends here."""


def refuse_powerless(keeper: Keeper, me: str, fleet: Fleet | None) -> None:
    """RequestError where a decision about members, signed here, would change nothing."""
    members = keeper.state.members
    tip = keeper.tips().get(me)
    if tip is not None and tip.fork:
        raise RequestError(
            "Forked",
            "this peer's key signed two histories, so it signs no more and lets nobody in",
            way_back(members, fleet, me),
            409,
        )
    role = members.role(me)
    joining = members.alone and fleet is not None  # its ledger is being folded by the fleet's rules
    if role == ADMIN and not joining:
        return
    if joining or (not role and fleet is not None and fleet.role):
        raise RequestError(
            "NotSynced", "this peer just joined and has not synced yet", "fleet sync", 409
        )
    gone = "was removed" if is_known(members, me) else "was never let in"
    what = f"this peer is a {role}" if role else f"this peer's key {gone}"
    others = admin_names(members, me)
    hint = f"the same on {_or(others)}" if others else "fleet recover, with the recovery words"
    raise RequestError("WrongRole", f"only an admin decides who belongs; {what}", hint, 403)


def way_back(members: Members, fleet: Fleet | None, me: str) -> str:
    """What helps a peer whose key is of no use any more: who can let a new one in."""
    others = admin_names(members, me)
    if others:
        return f"fleet identity reset here, then fleet invite on {_or(others)}"
    if members.recovery or (fleet is not None and fleet.recovery):
        return (
            "fleet recover on another machine of the fleet makes that one admin; then fleet "
            "identity reset here and fleet invite there"
        )
    return "no other admin and no recovery words: fleet identity reset --new-fleet begins anew"


def is_known(members: Members, author: str) -> bool:
    """Whether a key was ever let in."""
    return any(one.author == author for one in members.peers())


def refuse_forked(tip: Tip | None, name: str) -> None:
    """RequestError where nobody can say which of a peer's histories is meant."""
    if tip is not None and tip.fork:
        raise RequestError(
            "Forked",
            f"{name}'s key signed two histories from its event {tip.fork} on",
            f"fleet peers remove {name} lists them; --keep EVENT says which is the good one",
            409,
        )


def admin_names(members: Members, me: str) -> list[str]:
    """What the other admins are called."""
    others = [author for author in members.admins() if author != me]
    return sorted(members.peer(author).name or author[:8] for author in others)


def _or(names: list[str]) -> str:
    return " or ".join(names[:3])
