"""What this home's services run by: a file each, for this user alone. No other peer hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import explained
from providers.durable import read_json, write_json

FOLDER: Final = "services"


@final
class Settings:
    """All of one home's. Ids are of our own making: those of others name no file."""

    def __init__(self, home: Path) -> None:
        self._folder: Final = home / FOLDER

    async def keep(self, service_id: str, spec: Mapping[str, object]) -> None:
        """Write them; StoreError where the disk refuses."""
        await asyncio.to_thread(self._write, service_id, spec)

    async def read(self, service_id: str) -> dict[str, object] | None:
        """None where they are gone."""
        return await asyncio.to_thread(self._read, service_id)

    async def drop(self, service_id: str) -> None:
        """Nobody needs them any more."""
        await asyncio.to_thread(self._unlink, service_id)

    def _path(self, service_id: str) -> Path:
        return self._folder / f"{service_id}.json"

    def _write(self, service_id: str, spec: Mapping[str, object]) -> None:
        with explained("cannot keep a service's settings"):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(self._path(service_id), dict(spec))

    def _read(self, service_id: str) -> dict[str, object] | None:
        with explained("cannot read a service's settings"):
            return read_json(self._path(service_id))

    def _unlink(self, service_id: str) -> None:
        with explained("cannot drop a service's settings"):
            self._path(service_id).unlink(missing_ok=True)
