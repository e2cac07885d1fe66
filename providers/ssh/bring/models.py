"""Models on a host: used where they lie already, else sent once and kept in our own folder there.

A file goes to a `.part` of this peer's own, at the place where the last try ended; it gets its name
only when its size and SHA-256, computed there, are those of the file here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from mathcore.units import show_bytes
from providers.base import ModelError, NoSpace, ProviderError
from providers.models.finding import model_at
from providers.ssh.bring.content import ModelContent, content_of, found_path, search_script
from providers.ssh.bring.files import Runs, content_script
from providers.ssh.bring.sending import PartTransfer, Sending
from providers.ssh.reading.system import disk_free

SEARCH_LIMIT_S: Final = 150.0  # seven places of 20 s each at worst
# Left on a host's disk beside a model: what jobs there write meanwhile.
RESERVE_BYTES: Final = 512 << 20
# A transfer of less says more of a disk's and a hash's start than of the line.
TELLING_BYTES: Final = 16 << 20
OURS: Final = "free some space there; models of ours lie in fleet-ledger/*/models"


@final
class HostModels:
    """One host's models. `tag` names this peer in drafts, which are no other peer's; `retry` has
    the host tried at once."""

    def __init__(self, reach: Runs, tag: str, host: str, retry: Callable[[], None]) -> None:
        self._reach, self._tag, self._host, self._retry = reach, tag, host, retry
        self._one = asyncio.Lock()  # two at once would only share the line
        self._known: dict[str, tuple[str, int]] = {}  # where a model was found and its size, by id
        self.bps = 0  # what the last transfer made of the line, bits a second; 0 = none yet
        self.sending: Sending | None = None

    def has(self, size_bytes: int) -> bool:
        """Whether a model of this size was found there since this daemon began."""
        return any(size == size_bytes for _, size in self._known.values())

    async def bring(self, path: Path) -> str:
        """The path on the host of the model that lies here, sent first where it is missing there.

        NoSpace, Unreached, ProviderError; what came stays for the next try.
        """
        try:
            return await self._bring(path)
        except (ModelError, OSError) as error:
            raise ProviderError(f"{path.name} cannot be read here: {error}") from error

    async def _bring(self, path: Path) -> str:
        model = await asyncio.to_thread(model_at, path)
        if model is None:
            raise ProviderError(f"{path.name} is no model's file", "name a GGUF file or a folder")
        content = await asyncio.to_thread(content_of, model)
        async with self._one:
            found = await self._find(content)
            if not found:
                await self._send(content)
                found = await self._find(content)
        if not found:
            raise ProviderError(f"{self._host} lost {content.name} as it came", "try again")
        return found

    async def _find(self, model: ModelContent) -> str:
        """Where the host has it, "" for nowhere; NoSpace where it has neither it nor room."""
        script = content_script(search_script(model, self._known.get(model.id, ("", 0))[0]))
        answer = await self._reach.run(script, SEARCH_LIMIT_S)
        lines = answer.body.decode("utf-8", "surrogateescape").splitlines()
        found = found_path(lines)
        if found:
            self._known[model.id] = found, model.size
            return found
        self._known.pop(model.id, None)
        free = disk_free("\n".join(lines))
        missing = model.size - await self._there(model)
        if free is not None and missing + RESERVE_BYTES > free:
            sizes = f"{show_bytes(missing)} to send, {show_bytes(free)} free"
            raise NoSpace(f"{self._host} has no room for {model.name}: {sizes}", OURS)
        return ""

    def _transfers(self, model: ModelContent) -> list[PartTransfer]:
        return [
            PartTransfer(self._reach, self._host, model.id, self._tag, part) for part in model.parts
        ]

    async def _there(self, model: ModelContent) -> int:
        """Bytes of it that came before."""
        return sum([(await one.stand())[0] for one in self._transfers(model)])

    async def _send(self, model: ModelContent) -> None:
        self.sending = seen = Sending(model.name, model.size)
        begun, there = time.monotonic(), await self._there(model)
        try:
            for one in self._transfers(model):
                await one.run(seen, self._retry)
        finally:
            self.sending = None
        if model.size - there >= TELLING_BYTES:
            self.bps = round(8 * (model.size - there) / (time.monotonic() - begun))
