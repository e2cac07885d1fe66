"""What dispatch needs of the rest of a peer, and what its two halves are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mesh.api.wire.claims import Ask, Claim, Lease, Leases, Offer, Part
from mesh.ledger.event import Event
from mesh.ledger.gate import Admission
from mesh.state.state import State
from mesh.sync.archive import Envelope

Fact = tuple[str, str, dict[str, object]]


class Ledger(Protocol):
    """The signed facts of a peer, folded."""

    @property
    def author(self) -> str:
        """Its own key, in hex."""

    @property
    def state(self) -> State:
        """What they say now."""

    async def emit_all(self, facts: Sequence[Fact]) -> list[Event]:
        """Sign and fold in, durably; all or none."""

    async def take_in(self, envelopes: Sequence[Envelope]) -> Sequence[Admission]:
        """Put others' events through the gate, and fold them in; the verdict on each."""

    def own_from(self, seq: int, count: int, max_bytes: int) -> list[Envelope]:
        """The end of its own chain from an event on; blocks. Nothing where that is more than
        `count` events or so many bytes."""


class Owner(Protocol):
    """Who books devices: this peer, or another one over its link. `home` is who asks.

    RequestError with a code of `claims.GONE` where it says no for good; any other, and Unanswered,
    leave the outcome unknown.
    """

    async def offer(self, home: str, ask: Ask) -> Offer:
        """May this attempt run there, and when."""

    async def claim(self, home: str, claim: Claim) -> Lease:
        """Take it; durable before the answer."""

    async def withdraw(self, home: str, job_id: str, attempt: int) -> Lease:
        """See that an attempt ends, or never begins."""

    async def release(self, home: str, offer_id: str) -> None:
        """The home took another offer."""

    async def status(self, home: str, job_id: str, attempt: int) -> Lease:
        """How an attempt stands; RequestError NotFound where the owner has none."""

    async def waiting(self, home: str) -> Leases:
        """The home's attempts that wait there, each with its reason."""

    async def output(
        self, home: str, job_id: str, attempt: int, name: str, offset: int, wait_s: float
    ) -> Part:
        """What an attempt wrote past an offset; waits for something new while it runs."""


class ModelFiles(Protocol):
    """Models by their content, wherever they lie."""

    async def identity(self, path: str) -> dict[str, object]:
        """What another peer finds or fetches a model of ours by."""

    async def fetch_ms(self, quick_hash: str, size_bytes: int, home: str) -> int:
        """How long until it is here; 0 where it is."""

    async def path(self, identity: dict[str, object]) -> str:
        """Where it lies here, fetched where it is missing."""


class Peers(Protocol):
    """The owners of the fleet's devices."""

    def owner(self, author: str) -> Owner:
        """The one that has this key, wherever it is."""

    def reachable(self, author: str) -> bool:
        """Whether asking it now is likely to get an answer."""
