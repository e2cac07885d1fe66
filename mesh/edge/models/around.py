"""The other members, as the travel of models sees them: who they are, where, what they have."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final
from urllib.parse import quote

from mathcore.planner.loading import transfer_ms
from mesh.api.errors import RequestError
from mesh.edge.peering.mesh import Mesh
from mesh.state.address import Address
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from providers.models.identity import ModelIdentity, identity_from_json

ASK_S: Final = 6.0  # for one member's list; it may have to look through its folders first
# Where a person waits for all of them, this machine's own models too: who takes longer is named.
READ_S: Final = 1.0
ASK_AT_ONCE: Final = 32  # so many silent members keep nobody else from being asked in time
MAX_PLACES: Final = 8
MAX_LISTED: Final = 1000  # models of one answer; more are named one by one


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Another peer of the fleet."""

    key: bytes
    name: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A model at another peer, and how long it would take to come here, in ms at p50."""

    member: Member
    identity: ModelIdentity
    keeper: str
    transfer_ms: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Silent:
    """A member that did not say what it has, and why."""

    member: Member
    text: str


@final
class Around:
    """The fleet around this peer; of a peer that is alone there is nobody."""

    def __init__(
        self, mesh: Mesh | None, state: Callable[[], State], measured: Callable[[str], int]
    ) -> None:
        self._mesh, self._state, self._measured = mesh, state, measured

    def members(self) -> list[Member]:
        """Every other member, the linked ones first: they answer at once."""
        if self._mesh is None:
            return []
        found = [self.member(key) for key, _ in self._mesh.trust.placed()]
        return sorted(found, key=lambda one: (not self.is_linked(one.key), one.name))

    def member(self, key: bytes) -> Member:
        """A key with its name; its peer id where nobody named it."""
        author = key.hex()
        return Member(key=key, name=self._state().members.name(author) or peer_id(author)[:7])

    def is_linked(self, key: bytes) -> bool:
        """Whether there is a link to it now."""
        return self._mesh is not None and self._mesh.links.get(key) is not None

    def named(self, text: str) -> Member:
        """The member of that name or that start of an id; RequestError for none, or oneself."""
        if self._mesh is None:
            raise alone()
        key = bytes.fromhex(self._mesh.roster.find(text).author)
        if not self._mesh.trust.is_member(key):
            raise RequestError("Self", f"{text} is this machine", "name another peer", 409)
        return self.member(key)

    def places(self, key: bytes) -> list[tuple[Address, ssl.SSLContext]]:
        """Where a member may be, and the TLS that takes its key alone; [] once it is none."""
        mesh = self._mesh
        if mesh is None or not mesh.trust.is_member(key):
            return []
        context = mesh.trust.client_context(key)
        found = mesh.sightings.candidates(peer_id(key.hex()), mesh.trust.written(key))
        return [(address, context) for address, _ in found][:MAX_PLACES]

    async def ask(
        self, member: Member, method: str, path: str, body: dict[str, object] | None = None
    ) -> Any:
        """One member's answer; RequestError with its name where it says no."""
        if self._mesh is None:
            raise alone()
        try:
            async with asyncio.timeout(ASK_S):
                return await self._mesh.call(member.key, method, path, body)
        except TimeoutError as error:
            raise _unanswered(member) from error
        except RequestError as error:
            text = f"{member.name}: {error.text}"
            raise RequestError(error.code, text, error.hint, error.status) from error

    async def who_has(self, query: str, within_s: float = ASK_S) -> tuple[list[Copy], list[Silent]]:
        """Every other member's copies, the nearest first, and who did not say `within_s`."""
        gate = asyncio.Semaphore(ASK_AT_ONCE)

        async def one(member: Member) -> list[Copy] | Silent:
            try:
                async with asyncio.timeout(within_s), gate:
                    return await self.copies(member, query)
            except TimeoutError:
                return Silent(member=member, text=_unanswered(member).text)
            except RequestError as error:
                return Silent(member=member, text=error.text)

        said = await asyncio.gather(*(one(member) for member in self.members()))
        silent = [one for one in said if isinstance(one, Silent)]
        copies = [copy for one in said if not isinstance(one, Silent) for copy in one]
        return sorted(copies, key=self._distance), silent

    def _distance(self, copy: Copy) -> tuple[bool, float, str]:
        return (not self.is_linked(copy.member.key), copy.transfer_ms, copy.member.name)

    async def copies(self, member: Member, query: str) -> list[Copy]:
        """What one member has; `query` is "id=..." or "name=...", "" for all."""
        said = await self.ask(member, "GET", f"/v1/models/have?{query}")
        rows = said.get("models") if isinstance(said, dict) else None
        if not isinstance(rows, list) or len(rows) > MAX_LISTED:
            raise RequestError("BadAnswer", f"{member.name} is not understood", "", 502)
        try:
            return [self._copy(member, one) for one in rows]
        except ValueError as error:
            text = f"{member.name} is not understood: {error}"
            raise RequestError("BadAnswer", text, "", 502) from error

    def _copy(self, member: Member, row: object) -> Copy:
        identity = identity_from_json(row)
        assert isinstance(row, dict)
        band = transfer_ms(identity.size_bytes, 0, self._measured(member.key.hex()))
        keeper = str(row.get("keeper", ""))[:40]
        return Copy(member=member, identity=identity, keeper=keeper, transfer_ms=band.p50)


def _unanswered(member: Member) -> RequestError:
    text = f"{member.name} does not answer"
    return RequestError("Unanswered", text, "see fleet doctor", 504)


def by_id(model_id: str) -> str:
    """The query for one content."""
    return f"id={model_id}"


def by_name(ref: str) -> str:
    """The query for what a person typed."""
    return f"name={quote(ref, safe='')}"


def alone() -> RequestError:
    """There is nobody to ask."""
    return RequestError("Alone", "this peer is in no fleet", "fleet invite, fleet join CODE", 409)
