"""Attempts on a host that has nothing of ours but a folder: each survives the link, sshd and us.

The host is the authority: a claim there lets one start win, whoever asks, and a lock on the card
itself keeps two peers from booking it twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shlex
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final, final

from providers.attempts import Given, LeftFile
from providers.base import Handle, Launch, Outcome, ProviderError, Taken
from providers.ssh.bring.files import ASK_LIMIT_S, NO_SPACE, PRELUDE, Runs
from providers.ssh.bring.workfiles import bring_back, lay_out, list_left
from providers.ssh.client import Unreached
from providers.ssh.framing import Answer
from providers.ssh.launching import (
    ENGINE,
    LOG,
    Told,
    attempt_name,
    file_word,
    handle_of,
    job_script,
    lock_words,
    outcome_of,
    read_states,
)
from providers.ssh.limits import MAX_READ_BYTES

START_LIMIT_S: Final = 30.0
GRACE_S: Final = 6  # TERM to KILL: with the rounds of KILL, a whole tree is dead within 12 s
# How old what the host said may be: a new attempt is asked for often, an old one each second.
FRESH_FROM_S: Final = 0.05
FRESH_TO_S: Final = 1.0
NOT_INSTALLED: Final = 74
BUSY: Final = "ended.busy."  # the state of an attempt that found a lock taken
MAX_FIGURES_BYTES: Final = 256 * 1024  # engine.json has under 1 KiB
TAIL_BYTES: Final = 8192  # of a failed attempt's log, for its one line


def program(name: str) -> tuple[str, str]:
    """(name with its hash, text) of a file of ours for hosts."""
    text = files("providers.ssh").joinpath("host", name).read_text()
    stem, _, ending = name.rpartition(".")
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{stem}-{digest}.{ending}", text


@final
class SshAttempts:
    """Attempts on one host. `python` is an interpreter there of 3.6 or later, "" for the shell's
    way; `wrap`: a shell's way in a PID namespace of its own, where unshare works."""

    def __init__(
        self,
        reach: Runs,
        *,
        python: str = "",
        wrap: bool = False,
        grace_s: int = GRACE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reach = reach
        self.python, self.wrap = python, wrap
        self._grace_s = grace_s
        self._now = now
        self._told: dict[str, Told] = {}
        self._told_s = float("-inf")
        self._asking = asyncio.Lock()
        self._began_s: dict[str, float] = {}
        self._cancelling: dict[str, asyncio.Task[None]] = {}

    def equip(self, *, python: str, wrap: bool) -> None:
        """Use what a probe found for the attempts that start from now on."""
        self.python, self.wrap = python, wrap

    async def give(self, job_id: str, attempt: int, given: Sequence[Given]) -> None:
        """Lay files out in the folder where an attempt that has not begun will run."""
        await lay_out(self._reach, attempt_name(job_id, attempt), given)

    async def bring_back(self, job_id: str, attempt: int, path: str, work: Path) -> None:
        """Have a file that an attempt left also below a folder here; or none, as there."""
        name, here = attempt_name(job_id, attempt), work / path
        try:
            if not await bring_back(self._reach, name, path, here):
                await asyncio.to_thread(here.unlink, missing_ok=True)
        except OSError as error:
            raise ProviderError(f"{path[:80]} cannot be kept here: {error.strerror}") from error

    async def left(self, job_id: str, attempt: int, most: int) -> list[LeftFile] | None:
        """The files in an attempt's folder there; None where it is gone."""
        return await list_left(self._reach, attempt_name(job_id, attempt), most)

    async def start(self, launch: Launch, holder: str = "") -> Handle:
        """Start it, or find it started. Unreached: it may run; ask again, the answer will be the
        same. Taken: it did not begin. `holder`: as `job_script` says."""
        name = attempt_name(launch.job_id, launch.attempt)
        script, locks = job_script(launch, holder), lock_words(launch.locks)
        if name in self._cancelling:
            await asyncio.wait([self._cancelling[name]])  # a cancel that came first wins
        settings = {
            "LOCKS": locks,
            "GRACE": str(self._grace_s),
            "PY": self.python,
            "WRAP": "yes" if self.wrap and not self.python else "",
            "SIZE": str(len(script)),
            "SUPERVISOR": program("supervise.py")[0],
        }
        said = await self._ask(name, "start", settings=settings, stdin=script)
        words = said.split()
        if not words or words[0] in ("absent", "nospace", "setup"):
            raise ProviderError(*_not_started(launch.job_id, words))
        self._told_s = float("-inf")
        if words[0].startswith(BUSY):
            await self._give_up(name, launch)
        self._began_s.setdefault(name, self._now())
        return handle_of(name, words[1:])

    async def _give_up(self, name: str, launch: Launch) -> None:
        """Leave the way free for another start of an attempt that found a lock taken."""
        told = await self._state(name)
        await self.forget(launch.job_id, launch.attempt)
        raise Taken(told.why or "one of its cards is taken", "it waits for another peer's job")

    async def poll(self, job_id: str, attempt: int) -> Outcome | None:
        """How it ended; None while it runs or the host is away.

        ProviderError where the host is reached and knows nothing of it: it will never end.
        """
        name = attempt_name(job_id, attempt)
        try:
            told = await self._state(name)
        except Unreached:
            return None
        if told.state == "absent" and name in self._cancelling:
            return None  # once it hears that, the host will know that it never begins
        if told.state == "absent":
            text = f"the host holds nothing of {name}: never started there, or removed"
            raise ProviderError(text, "start it again as another attempt")
        if not told.ended:
            return None
        failed = not told.state.startswith(("ended.exit.0", "ended.cancelled"))
        try:
            tail = await self._tail(name) if failed else ""
            figures = {} if failed else await self._figures(name)
        except Unreached:
            return None
        return outcome_of(told, tail, figures)

    async def cancel(self, job_id: str, attempt: int) -> None:
        """Ask for its end, and go on asking until the host heard it."""
        name = attempt_name(job_id, attempt)
        if name not in self._cancelling:
            task = asyncio.create_task(self._cancel(name))
            self._cancelling[name] = task
            task.add_done_callback(lambda _: self._cancelling.pop(name, None))
        await asyncio.wait([self._cancelling[name]], timeout=1.0)

    async def pause(self, job_id: str, attempt: int) -> bool:
        """Stop every process of it where it is; False where it doesn't run or the host is away."""
        return await self._signal(attempt_name(job_id, attempt), "pause")

    async def resume(self, job_id: str, attempt: int) -> bool:
        """Let it go on."""
        return await self._signal(attempt_name(job_id, attempt), "resume")

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of its log or of a file in its folder, and the file's size as of now."""
        most = min(limit, MAX_READ_BYTES)
        size, data = await self._look(attempt_name(job_id, attempt), file_word(name), offset, most)
        return data, size

    async def forget(self, job_id: str, attempt: int) -> None:
        """Remove what an ended attempt left; ProviderError while it runs."""
        name = attempt_name(job_id, attempt)
        said = (await self._ask(name, "forget")).strip()
        if said != "gone":
            raise ProviderError(f"{name} is {said or 'there'} still", "cancel it first")
        self._began_s.pop(name, None)

    async def close(self) -> None:
        """Stop asking; nothing on the host changes."""
        for task in list(self._cancelling.values()):
            task.cancel()
        await asyncio.gather(*self._cancelling.values(), return_exceptions=True)

    async def _cancel(self, name: str) -> None:
        pause = 0.5
        while True:
            try:
                await self._ask(name, "cancel", {"GRACE": str(self._grace_s)}, urgent=True)
                return
            except Unreached:
                await asyncio.sleep(pause)
                pause = min(30.0, pause * 2)

    async def _signal(self, name: str, verb: str) -> bool:
        try:
            said = await self._ask(name, verb, urgent=True)
        except Unreached:
            return False
        return said.strip() == "yes"

    async def _state(self, name: str) -> Told:
        """What the host says of an attempt: one question serves all that are asked for at once."""
        age = self._now() - self._began_s.setdefault(name, self._now())
        fresh = min(FRESH_TO_S, max(FRESH_FROM_S, age / 10))
        async with self._asking:
            if self._now() - self._told_s > fresh or name not in self._told:
                self._told = read_states(await self._ask("", "states"))
                self._told_s = self._now()
        return self._told.get(name, Told(state="absent"))

    async def _tail(self, name: str) -> str:
        size, data = await self._look(name, LOG, 0, 1)
        if size > 1:
            start = max(0, size - TAIL_BYTES)
            _, data = await self._look(name, LOG, start, TAIL_BYTES)
        return data.decode(errors="replace")

    async def _figures(self, name: str) -> dict[str, object]:
        """What an engine said of itself; {} of a job that had none."""
        _, data = await self._look(name, ENGINE, 0, MAX_FIGURES_BYTES)
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    async def _look(self, name: str, file: str, offset: int, limit: int) -> tuple[int, bytes]:
        if offset < 0 or limit < 0:
            raise ProviderError("no file has bytes before its first", "ask from 0")
        answer = await self._run(name, f"read {shlex.quote(file)} {offset} {limit}", limit + 4096)
        head, _, body = answer.body.partition(b"\n")
        words = head.split()
        size = int(words[0]) if words and words[0].isdigit() else 0
        return size, body[:limit]

    async def _ask(
        self,
        name: str,
        verb: str,
        settings: dict[str, str] | None = None,
        *,
        stdin: bytes = b"",
        urgent: bool = False,
    ) -> str:
        words = " ".join(f"{key}={shlex.quote(value)}" for key, value in (settings or {}).items())
        answer = await self._run(name, verb, 0, settings=words, stdin=stdin, urgent=urgent)
        return answer.body.decode(errors="replace")

    async def _run(
        self,
        name: str,
        verb: str,
        limit: int = 0,
        *,
        settings: str = "",
        stdin: bytes = b"",
        urgent: bool = False,
    ) -> Answer:
        """Run a verb of attempt.sh, which is put there first where it is missing."""
        script = _call(name, settings, verb, stdin)
        more = {"limit": limit} if limit else {}
        for _ in range(2):
            answer = await self._reach.run(script, ASK_LIMIT_S, urgent=urgent, **more)
            if answer.status != NOT_INSTALLED:
                return answer
            await self._install()
        raise ProviderError("the host keeps no file of ours", "is its home writable?")

    async def _install(self) -> None:
        """Both programs under their hashes: each a whole file or none."""
        parts = [PRELUDE, 'mkdir -p "$R/bin" "$R/jobs" && cd "$R/bin" || exit 73\n']
        for name in ("attempt.sh", "supervise.py"):
            hashed, text = program(name)
            parts.append(_written(hashed, text))
        answer = await self._reach.run("".join(parts) + "exit 0\n", START_LIMIT_S)
        if answer.status:
            raise ProviderError("the host has no room for our program", "free some space there")


def _call(name: str, settings: str, verb: str, stdin: bytes) -> str:
    """One call of attempt.sh as a script; `stdin` is handed on byte for byte."""
    hashed, _ = program("attempt.sh")
    lines = [
        f'{PRELUDE}H="$R/bin/{hashed}"; [ -s "$H" ] || exit {NOT_INSTALLED}',
        f'D="$R/jobs/{name}" A={shlex.quote(name)} {settings} sh "$H" {verb} 2>/dev/null',
    ]
    if stdin:
        mark = "EOF" + hashlib.blake2b(stdin, digest_size=12).hexdigest()
        text = stdin.decode("utf-8", "surrogateescape")
        return f"{lines[0]}\n{lines[1]} <<'{mark}'\n{text}{mark}"
    return f"{lines[0]}\n{lines[1]} </dev/null"


def _written(name: str, text: str) -> str:
    mark = "EOF" + hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
    size = len(text.encode())
    return (
        f"cat >.{name}.$$ <<'{mark}'\n{text}{mark}\n"
        f'[ "$(wc -c <.{name}.$$)" -eq {size} ] && mv .{name}.$$ {name} '
        f"|| {{ rm -f .{name}.$$; exit {NO_SPACE}; }}\n"
    )


def _not_started(job_id: str, words: list[str]) -> tuple[str, str]:
    if words[:1] == ["nospace"]:
        return f"can't start {job_id}: no space on the host's disk", "free some space there"
    rest = "".join(c for c in " ".join(words[1:]) if c.isprintable())[:300]
    return f"can't start {job_id}: {rest or 'no supervisor came up'}", "look at the host by hand"
