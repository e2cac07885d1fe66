"""Models for jobs that other peers' homes sent here, and ours that go there."""

from __future__ import annotations

from pathlib import Path
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.models.service import Models
from providers.models.identity import identity_from_json


@final
class JobModels:
    """A job's model by its content: what it is called at its home, and where it lies here."""

    def __init__(self, models: Models) -> None:
        self._models: Final = models

    async def identity(self, path: str) -> dict[str, object]:
        """What another peer finds or fetches it by, which it may from now on."""
        identity = await self._models.identity_of(Path(path))
        if await self._models.have(identity.quick_hash) is None:
            await self._models.look(self._models.local.lend, path)
        return identity.to_json()

    async def fetch_ms(self, quick_hash: str, size_bytes: int, home: str) -> int:
        """How long until it is here, by what the line to its home made before; 0 where it is."""
        if not quick_hash or await self._models.have(quick_hash) is not None:
            return 0
        return round(self._models.transfer_ms(size_bytes, bytes.fromhex(home)).p50)

    async def path(self, identity: dict[str, object]) -> str:
        """Where it lies here, fetched from the nearest member where it is missing."""
        try:
            found = identity_from_json(identity)
        except ValueError as error:
            raise RequestError("BadField", f"model: {error}") from error
        return str(await self._models.ensure(found))
