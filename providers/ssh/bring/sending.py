"""One file of a model on its way to a host: to a `.part`, over cuts, named when it is right."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, final

from providers.base import NoSpace, ProviderError
from providers.ssh.bring.content import PartContent, whole_sum
from providers.ssh.bring.files import ONE_LINE, Runs, content_script, file_pieces
from providers.ssh.bring.tries import Tries
from providers.ssh.client import Unreached

ASK_LEAST_S: Final = 60.0
SUM_BYTES_PER_S: Final = 50_000_000  # the slowest disk that anybody runs models from
# `dd` counts in these: a transfer goes on at a multiple of it.
STEP_BYTES: Final = 1 << 20
OTHER: Final = 3  # what came is not what was sent


@final
@dataclass(slots=True)
class Sending:
    """A model on its way to a host, bytes."""

    name: str
    total: int
    sent: int = 0


@final
class PartTransfer:
    """One file to our folder `folder` on a host. `tag` names this peer in its draft: another's
    transfer is not gone on with."""

    def __init__(self, reach: Runs, host: str, folder: str, tag: str, part: PartContent) -> None:
        self._reach, self._host, self._part = reach, host, part
        self._cd = f'cd "$R/models/{folder}" 2>/dev/null'
        self._made = f'mkdir -p "$R/models/{folder}"'
        self._whole = f"./{shlex.quote(part.name)}"
        self._draft = "./" + shlex.quote(f".{part.name}.{tag}.part")
        self._came = 0  # bytes there at the last look

    async def stand(self) -> tuple[int, bool]:
        """(bytes there, whether it has its name already)."""
        text = (
            f"{self._cd} || exit 0\n"
            f"is {self._whole} {self._part.words} && echo whole\n"
            f"echo part $(size_of {self._draft})"
        )
        answer = await self._reach.run(content_script(text), ASK_LEAST_S)
        said = dict(line.partition(" ")[::2] for line in answer.body.decode().splitlines())
        if "whole" in said:
            return self._part.size, True
        came = said.get("part", "")
        return (int(came) if came.isdigit() and int(came) <= self._part.size else 0), False

    async def run(self, seen: Sending, retry: Callable[[], None]) -> None:
        """Until it has its name there; `retry` has the host tried at once after a pause.

        Unreached once nothing comes any more, NoSpace, ProviderError for another file than ours.
        """
        sums = asyncio.create_task(asyncio.to_thread(whole_sum, self._part.path))
        tries, before = Tries(), seen.sent
        try:
            while not await self._tried(seen, before, sums, tries):
                retry()
            seen.sent = before + self._part.size
        finally:
            sums.cancel()
            await asyncio.gather(sums, return_exceptions=True)

    async def _tried(
        self, seen: Sending, before: int, sums: asyncio.Task[str], tries: Tries
    ) -> bool:
        """Whether it has its name now; bytes that came since the last try earn further ones."""
        try:
            came, whole = await self.stand()
            if came > self._came:
                tries.won()
            self._came, seen.sent = came, before + came
            if whole:
                return True
            if came < self._part.size:
                await self._feed(seen, before)
            if await self._named(await asyncio.shield(sums)):
                return True
            less = f"{self._host} keeps less of {self._part.name} than it took"
            await tries.after(ProviderError(less, "look at its disk"))
        except Unreached as error:
            await tries.after(error)
        return False

    async def _feed(self, seen: Sending, before: int) -> None:
        """What is missing. A writer that an earlier cut left there does no harm: it writes the same
        bytes at the same places."""
        step = self._came // STEP_BYTES
        script = (
            f"{ONE_LINE}; {self._made} && {self._cd} && "
            f"dd of={self._draft} bs={STEP_BYTES} seek={step} conv=notrunc 2>/dev/null"
        )

        def counted() -> Iterator[bytes]:
            sent = before + step * STEP_BYTES
            for data in file_pieces(self._part.path, step * STEP_BYTES):
                yield data
                sent += len(data)
                seen.sent = sent

        answer = await self._reach.feed(script, counted(), ASK_LEAST_S)
        if answer.status:
            text = f"{self._host} took only a part of {self._part.name}"
            raise NoSpace(text, "free some space there")

    async def _named(self, sum_here: str) -> bool:
        """Give the draft its name if it is what it should be; False where it is not all there."""
        text = (
            f"{self._cd} || exit 1\n"
            f'[ "$(size_of {self._draft})" = {self._part.size} ] || exit 2\n'
            f'if [ "$(sum <{self._draft})" = {sum_here} ]\n'
            f"then mv {self._draft} {self._whole}; exit; fi\n"
            f"rm -f {self._draft}; exit {OTHER}"
        )
        limit_s = ASK_LEAST_S + self._part.size / SUM_BYTES_PER_S
        answer = await self._reach.run(content_script(text), limit_s)
        if answer.status == OTHER:
            text = f"{self._part.name} came to {self._host} as another file, and was removed there"
            raise ProviderError(text, "send it again; if it happens again, look at its disk")
        return answer.status == 0
