"""The models there are, as each API lists them: those that answer now, and those that come up when
they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, final

from mesh.edge.gateway.fleet import FleetServers, Row
from mesh.serving.family import Body
from mesh.serving.ollama_models import Listed
from mesh.serving.routing import plain_name
from mesh.state.jobs import JobView
from mesh.state.state import State

OWNER: Final = "fleet"
MAX_MS: Final = 253_402_300_799_000  # the end of the year 9999: datetime knows no later one


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model. `loaded`: a server of it answers now."""

    name: str
    created_ms: int
    loaded: bool
    context: int
    size_bytes: int
    quant: str


@final
class Listing:
    """What can be asked for at one peer's address."""

    def __init__(self, state: Callable[[], State], servers: FleetServers) -> None:
        self._state: Final = state
        self._servers: Final = servers

    async def models(self) -> list[Model]:
        """By name, each once."""
        found: dict[str, Model] = {}
        for job, row in await self._servers.rows():
            model = _served(job, row)
            known = found.get(plain_name(job.model))
            if known is None or model.loaded > known.loaded:
                found[plain_name(job.model)] = model
        for service in self._state().services.values():
            found.setdefault(plain_name(service.model), _unloaded(service.model))
        return [found[name] for name in sorted(found)]

    async def openai(self) -> list[Body]:
        """As `/v1/models` lists them; LM Studio's clients read the state."""
        return [
            {
                "id": one.name,
                "object": "model",
                "created": one.created_ms // 1000,
                "owned_by": OWNER,
                "state": "loaded" if one.loaded else "not-loaded",
                **({"context_length": one.context} if one.context else {}),
            }
            for one in await self.models()
        ]

    async def ollama(self) -> list[Listed]:
        """As Ollama lists them."""
        return [
            Listed(
                name=one.name,
                size_bytes=one.size_bytes,
                modified_at=_moment(one.created_ms),
                quant=one.quant,
                context=one.context,
                loaded=one.loaded,
                tools=True,
            )
            for one in await self.models()
        ]


def _served(job: JobView, row: Row | None) -> Model:
    return Model(
        name=job.model,
        created_ms=job.submitted_ms,
        loaded=row is not None and row.ready,
        context=0 if row is None else row.context,
        size_bytes=job.predicted.footprint.weights_bytes if job.plan is not None else 0,
        quant=job.predicted.quant if job.plan is not None else "",
    )


def _unloaded(name: str) -> Model:
    return Model(name=name, created_ms=0, loaded=False, context=0, size_bytes=0, quant="")


def _moment(ms: int) -> str:
    """RFC 3339; a peer may sign any."""
    return datetime.fromtimestamp(min(ms, MAX_MS) / 1000, UTC).isoformat().replace("+00:00", "Z")


def now_text() -> str:
    """The moment, as Ollama's answers have it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
