"""Models on a host: used where they lie already, else sent once and kept in our own folder there.

A file goes to a `.part` of this peer's own, at the place where the last try ended; it gets its name
only when its size and SHA-256, computed there, are those of the file here.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mathcore.units import show_bytes
from providers.base import ModelError, NoSpace, ProviderError
from providers.models.finding import model_at
from providers.ssh.bring.content import (
    ModelContent,
    PartContent,
    content_of,
    found_path,
    search_script,
    whole_sum,
)
from providers.ssh.bring.files import ONE_LINE, Runs, content_script, file_pieces
from providers.ssh.client import Unreached
from providers.ssh.reading.system import disk_free

SEARCH_LIMIT_S: Final = 150.0  # seven places of 20 s each at worst
SUM_LEAST_S: Final = 60.0
SUM_BYTES_PER_S: Final = 50_000_000  # the slowest disk that anybody runs models from
# Left on a host's disk beside a model: what jobs there write meanwhile.
RESERVE_BYTES: Final = 512 << 20
# `dd` counts in these: a transfer goes on at a multiple of it.
STEP_BYTES: Final = 1 << 20
# A transfer of less says more of a disk's and a hash's start than of the line.
TELLING_BYTES: Final = 16 << 20
# Cuts without a byte in between, after which a host counts as away; pauses double from a second.
TRIES: Final = 6
FIRST_PAUSE_S: Final = 1.0


@final
@dataclass(slots=True)
class Sending:
    """A model on its way to a host."""

    name: str
    total: int
    sent: int = 0


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
            text = (
                f"{self._host} has no room for {model.name}: {show_bytes(missing)} to send, "
                f"{show_bytes(free)} free"
            )
            raise NoSpace(
                text, "free some space there; models of ours lie in fleet-ledger/*/models"
            )
        return ""

    async def _there(self, model: ModelContent) -> int:
        """Bytes of it that came before."""
        return sum([at for at, _ in [await self._stand(model, one) for one in model.parts]])

    async def _stand(self, model: ModelContent, part: PartContent) -> tuple[int, bool]:
        """(bytes there, whether it has its name already) of one part in our own folder."""
        folder = f'cd "$R/models/{model.id}" 2>/dev/null || exit 0'
        whole, draft = shlex.quote(part.name), self._draft(part)
        text = f"{folder}\nis ./{whole} {part.words} && echo whole\necho part $(size_of ./{draft})"
        answer = await self._reach.run(content_script(text), SUM_LEAST_S)
        said = dict(line.partition(" ")[::2] for line in answer.body.decode().splitlines())
        if "whole" in said:
            return part.size, True
        came = said.get("part", "")
        return (int(came) if came.isdigit() and int(came) <= part.size else 0), False

    def _draft(self, part: PartContent) -> str:
        return shlex.quote(f".{part.name}.{self._tag}.part")

    async def _send(self, model: ModelContent) -> None:
        self.sending = Sending(model.name, model.size)
        begun, there = time.monotonic(), await self._there(model)
        try:
            for part in model.parts:
                await self._send_part(model, part, self.sending)
        finally:
            self.sending = None
        took_s = time.monotonic() - begun
        if model.size - there >= TELLING_BYTES:
            self.bps = round(8 * (model.size - there) / took_s)

    async def _send_part(self, model: ModelContent, part: PartContent, seen: Sending) -> None:
        """One file, over cuts, until it has its name there."""
        sums = asyncio.create_task(asyncio.to_thread(whole_sum, part.path))
        before, left, pause_s = seen.sent, TRIES, FIRST_PAUSE_S
        at = 0
        try:
            while True:
                try:
                    came, whole = await self._stand(model, part)
                    if came > at:
                        at, left, pause_s = came, TRIES, FIRST_PAUSE_S
                    seen.sent = before + came
                    if whole or await self._fed_and_named(model, part, came, sums, seen):
                        seen.sent = before + part.size
                        return
                    left -= 1
                    if not left:
                        raise ProviderError(f"{self._host} keeps less of {part.name} than it took")
                except Unreached:
                    left -= 1
                    if not left:
                        raise
                    await asyncio.sleep(pause_s)
                    pause_s *= 2
                    self._retry()
        finally:
            sums.cancel()
            await asyncio.gather(sums, return_exceptions=True)

    async def _fed_and_named(
        self,
        model: ModelContent,
        part: PartContent,
        came: int,
        sums: asyncio.Task[str],
        seen: Sending,
    ) -> bool:
        if came < part.size:
            await self._feed(model, part, came, seen)
        return await self._named(model, part, await asyncio.shield(sums))

    async def _feed(self, model: ModelContent, part: PartContent, came: int, seen: Sending) -> None:
        """What is missing of a part. A writer that an earlier cut left there does no harm: it
        writes the same bytes at the same places."""
        step = came // STEP_BYTES
        script = (
            f'{ONE_LINE}; mkdir -p "$R/models/{model.id}" && cd "$R/models/{model.id}" && '
            f"dd of=./{self._draft(part)} bs={STEP_BYTES} seek={step} conv=notrunc 2>/dev/null"
        )
        before = seen.sent - came + step * STEP_BYTES

        def counted() -> Iterator[bytes]:
            sent = before
            for data in file_pieces(part.path, step * STEP_BYTES):
                sent += len(data)
                seen.sent = sent
                yield data

        answer = await self._reach.feed(script, counted(), SUM_LEAST_S)
        if answer.status:
            raise NoSpace(f"{self._host} took only a part of {part.name}", "free some space there")

    async def _named(self, model: ModelContent, part: PartContent, sum_here: str) -> bool:
        """Give a part its name if it is what it should be; else it is removed: ProviderError."""
        whole, draft = f"./{shlex.quote(part.name)}", f"./{self._draft(part)}"
        text = (
            f'cd "$R/models/{model.id}" || exit 1\n'
            f'[ "$(size_of {draft})" = {part.size} ] || exit 2\n'
            f'if [ "$(sum <{draft})" = {sum_here} ]; then mv {draft} {whole}; exit; fi\n'
            f"rm -f {draft}; exit 3"
        )
        limit_s = SUM_LEAST_S + part.size / SUM_BYTES_PER_S
        answer = await self._reach.run(content_script(text), limit_s)
        if answer.status == 3:
            text = f"{part.name} came to {self._host} as another file, and was removed there"
            raise ProviderError(text, "send it again; if it happens again, look at its disk")
        return answer.status == 0
