"""Dispatch joined to a running peer: its ledger, its fleet's owners, the room on its devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.edge.dispatch.ports import Fact, Owner
from mesh.edge.dispatch.remote import Call, RemoteOwner
from mesh.edge.live import Live
from mesh.edge.peering.mesh import Mesh
from mesh.edge.store.ledger import Ledger
from mesh.ledger.event import Event
from mesh.ledger.gate import Admission
from mesh.state.state import State
from mesh.sync.archive import Envelope


@final
class OwnLedger:
    """A peer's ledger as dispatch needs it."""

    def __init__(self, ledger: Ledger, live: Live) -> None:
        self.author: Final = ledger.author
        self._ledger, self._live = ledger, live

    @property
    def state(self) -> State:
        """What it says now."""
        return self._live.state

    async def emit_all(self, facts: Sequence[Fact]) -> list[Event]:
        """Sign and fold in, durably."""
        return await self._live.emit_all(facts)

    async def take_in(self, envelopes: Sequence[Envelope]) -> Sequence[Admission]:
        """Events of a member, through the gate; the verdict on each."""
        return await self._live.take_in(envelopes)

    def own_from(self, seq: int, count: int, max_bytes: int) -> list[Envelope]:
        """The end of our chain; nothing where it is too long."""
        tip = self._ledger.tip(self.author)
        if tip is None or not 0 <= tip.seq - seq < count:
            return []
        found = self._ledger.page(self.author, seq - 1, count, max_bytes).envelopes
        return list(found) if len(found) > tip.seq - seq else []


@final
class FleetOwners:
    """Every owner of the fleet: this peer at once, others over their links."""

    def __init__(
        self, author: str, here: Callable[[], Owner], call: Call, linked: Callable[[bytes], bool]
    ) -> None:
        self._author, self._here, self._call, self._linked = author, here, call, linked

    def owner(self, author: str) -> Owner:
        """The one that has this key."""
        return (
            self._here()
            if author == self._author
            else RemoteOwner(bytes.fromhex(author), self._call)
        )

    def reachable(self, author: str) -> bool:
        """Whether it is this peer, or one with a live link."""
        return author == self._author or self._linked(bytes.fromhex(author))


@final
class PeerCalls:
    """Calls over the fleet's links; with no fleet around this peer, nobody is reached."""

    def __init__(self, mesh: Callable[[], Mesh | None]) -> None:
        self._mesh = mesh

    async def ask(
        self, key: bytes, method: str, path: str, body: Mapping[str, object] | None
    ) -> Any:
        """A member's answer."""
        mesh = self._mesh()
        if mesh is None:
            text = "this peer has no fleet around it"
            raise RequestError("Unreachable", text, "set listen in fleet.toml", 503)
        return await mesh.call(key, method, path, body)

    def is_linked(self, key: bytes) -> bool:
        """Whether a link to a member is up now."""
        mesh = self._mesh()
        return mesh is not None and mesh.links.get(key) is not None
