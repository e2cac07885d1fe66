"""One peer's dispatch on a state in memory: events are folded at once and kept to be looked at."""

from collections.abc import Sequence
from pathlib import Path

from mathcore.device import DeviceSpec
from mesh.api.errors import RequestError
from mesh.api.wire.claims import Ask
from mesh.edge.dispatch.peer import Dispatch
from mesh.edge.dispatch.ports import Fact
from mesh.ledger.event import Event
from mesh.ledger.gate import Admission
from mesh.policy.queue.room import room_of
from mesh.policy.queue.values import Room
from mesh.state.fleet import spec
from mesh.state.fold import apply
from mesh.state.state import State
from mesh.sync.archive import Envelope
from providers.here import LocalAttempts
from tests.state.job_story import ANA, T0, event

LATER = 1000  # ms past the story's beginning


class Stage:
    """Ana's side of everything."""

    def __init__(self, folder: Path, state: State, author: str = ANA) -> None:
        self.folder, self.state, self.author = folder, state, author
        self.said: list[tuple[str, str, dict[str, object]]] = []
        here = LocalAttempts(folder / "jobs")
        self.dispatch = Dispatch(
            folder,
            self,
            self._call,
            linked=lambda _: False,
            live=self.live,
            attempts=lambda _: here,
            may_act=lambda: True,
            now_ms=lambda: T0 + LATER,
            models=self,
            rooms=self.rooms,
            wake=lambda: None,
        )
        self.effects, self.home = self.dispatch.effects, self.dispatch.home

    async def emit(self, kind: str, device: str, fact: dict[str, object]) -> None:
        await self.emit_all([(kind, device, fact)])

    async def emit_all(self, facts: Sequence[Fact]) -> list[Event]:
        made = []
        for kind, device, fact in facts:
            self.said.append((kind, device, fact))
            made.append(
                event(kind, LATER + len(self.said), author=self.author, device=device, **fact)
            )
            apply(self.state, made[-1])
        return made

    async def take_in(self, envelopes: Sequence[Envelope]) -> Sequence[Admission]:
        raise AssertionError("nobody else is on this stage")

    def own_from(self, seq: int, count: int, max_bytes: int) -> list[Envelope]:
        return []

    def live(self) -> list[DeviceSpec]:
        return [spec(view) for view in self.state.devices.values()]

    async def identity(self, path: str) -> dict[str, object]:
        return {"quick_hash": path, "size_bytes": 1}

    async def fetch_ms(self, quick_hash: str, size_bytes: int, home: str) -> int:
        return 0

    async def path(self, identity: dict[str, object]) -> str:
        return str(identity["quick_hash"])

    def rooms(self) -> list[Room]:
        now = T0 + LATER
        return [room_of(self.state, one, now, now_ms=now) for one in self.live()]

    async def _call(self, key: bytes, method: str, path: str, body: object) -> object:
        raise RequestError("Unreachable", f"{method} {path}: nobody is there", "", 503)


def asks(job_id: str, device_id: str, attempt: int = 1, **more: object) -> Ask:
    """A command's ask."""
    return Ask(job_id=job_id, attempt=attempt, device_id=device_id, kind="command", **more)
