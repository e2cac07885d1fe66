"""Hold one engine's server for one job.

`FLEET_JOB_DIR=… python -m providers.engine_child.supervisor` starts the engine on a loopback port,
waits until it can answer, sends the job's requests or serves until it is told to stop, reads the
engine's figures into engine.json, and stops it. The engine's words and ours go to the log, answers
to answer.txt. Exit 78: this can't run here.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, final

from providers import durable
from providers.cores import idle_cores, physical_cores
from providers.engine.dialects import Line
from providers.engine.llamacpp import ANSWER_FILE
from providers.engine.servers import SERVERS
from providers.engine.setup import Engine, Setup, setup_of
from providers.engine_child.answering import Asker, Reply, measured
from providers.engine_child.asking import Cut, Refused
from providers.engine_child.batch import Answers, answer_all
from providers.engine_child.engine_process import Ended, EngineProcess, NotHere, start
from providers.engine_child.llamacpp import FILLER, Answer, log_until, refuse
from providers.engine_child.store import hand_over
from providers.log import SPEAKER, spoken
from providers.runner import JOB_DIR

READY: Final = "engine ready"
ENDED: Final = "engine ended"
# An engine that dies this often in one job dies of the job.
MAX_STARTS: Final = 3
KEY_BYTES: Final = 24
HEALTH_EVERY_S: Final = 2.0
# Misses in a row until a server counts as unwell: a long prompt may hold some engines' HTTP loop.
MAX_MISSES: Final = 15


@final
class Supervisor:
    """One job with one engine, from start to stop."""

    def __init__(self, job_dir: Path, spec: dict[str, object]) -> None:
        self.job_dir, self.spec = job_dir, spec
        self.setup: Setup = _with_threads(setup_of(spec))
        self.engine: Engine = _known(self.setup.engine)
        self.key: str = secrets.token_hex(KEY_BYTES)
        self.stop: Final = threading.Event()
        self.process: EngineProcess | None = None
        self.model = self.setup.name
        self.load_ms = 0
        self.state = "starting"

    def run(self) -> int:
        """The exit code."""
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        try:
            match self.spec.get("task"):
                case "serve":
                    return self._serve()
                case "lines":
                    return self._lines()
                case _:
                    return self._prompt()
        finally:
            self._end()

    def _asked_to_stop(self, *_: object) -> None:
        """Also breaks whatever answer is being read: a cancelled job waits for none."""
        self.stop.set()
        if self.process is not None and self.process.alive:
            self.process.child.send_signal(signal.SIGTERM)

    def _begin(self) -> Asker:
        """The engine started, and whoever asks it."""
        begun = time.monotonic()
        try:
            self.process = start(self.engine, self.setup, self.key)
            self.model = hand_over(self.engine, self.setup, self.process.server)
        except (NotHere, Cut, Refused, OSError) as error:
            if self.stop.is_set():
                sys.exit(0)
            refuse(f"{error}{self._why() if isinstance(error, Ended) else ''}")
        self.load_ms = int((time.monotonic() - begun) * 1000)
        print(f"{READY} after {self.load_ms} ms", file=sys.stderr, flush=True)
        return Asker(self.engine, self.setup, self.process.server, self.model)

    def _why(self) -> str:
        """What the engine said last, or first, that explains its end."""
        print(ENDED, file=sys.stderr, flush=True)
        log = log_until(ENDED, self.job_dir / "log.txt")
        said = spoken(log) or self.engine.reason(log)
        return f": {said}" if said else "; its log may say why"

    def _end(self) -> None:
        if self.process is None:
            return
        if self.engine.dialect == "ollama" and self.process.alive:
            with contextlib.suppress(Cut, Refused):
                self.process.server.call("DELETE", "/api/delete", {"model": self.model})
        self.process.stop()

    # One prompt, `parallel` times at once

    def _prompt(self) -> int:
        asker = self._begin()
        line, count = self._line(), self.setup.parallel
        with Answer(self.job_dir / ANSWER_FILE) as answer:
            hear = [answer.write, *[_silent] * (count - 1)]
            try:
                with ThreadPoolExecutor(count) as pool:
                    replies = list(pool.map(lambda one: asker.ask(line, one), hear))
            except Cut as error:
                return self._failed(f"{self.engine.name} broke off: {error}")
            for reply in replies:
                if reply.error:
                    return self._failed(f"{self.engine.name} refused: {reply.error}")
            for reply in replies[1:]:
                answer.write(f"\n{reply.text}")
            answer.write("\n")
        self._report(replies)
        return 0

    def _line(self) -> Line:
        spec = self.spec
        return Line(
            number=1,
            id=1,
            prompt=self._filled(str(spec.get("prompt") or "")),
            max_tokens=int(str(spec["tokens"])),
            ignore_eos=bool(spec.get("ignore_eos", True)),
        )

    def _filled(self, text: str) -> str | list[int]:
        """The job's words, or filler of the wanted length: exact where the engine counts tokens."""
        wanted = int(str(self.spec.get("prompt_tokens") or 0))
        if text or not wanted:
            return text
        many = FILLER * (wanted // 4 + 1)
        if not self.engine.tokenize or self.process is None:
            return FILLER * max(1, wanted // 9)  # it has 9 tokens in the vocabularies of today
        said = self.process.server.call("POST", self.engine.tokenize, {"content": many})
        tokens = said.get("tokens")
        return tokens[:wanted] if isinstance(tokens, list) else many

    # Many lines

    def _lines(self) -> int:
        lines, answers = lines_of(self.spec), Answers(self.job_dir)
        if answers.done:
            kept = f"{len(answers.done)} of {len(lines)} lines kept from an earlier attempt"
            print(kept, file=sys.stderr, flush=True)
        replies: list[Reply] = []
        try:
            if len(answers.done) < len(lines):
                self._answered(lines, answers, replies)
        except Cut as error:
            left = len(lines) - len(answers.done)
            return self._failed(f"{self.engine.name} broke off, {left} lines unanswered: {error}")
        finally:
            answers.close()
        if self.stop.is_set():
            return 0
        self._report(replies, lines=len(lines), lines_failed=answers.failed)
        if answers.failed == len(lines):
            first = next(iter(answers.done.values()))
            return self._failed(f"every line was refused, the first: {first.get('error')}")
        return 0

    def _answered(self, lines: list[Line], answers: Answers, replies: list[Reply]) -> None:
        """All lines; an engine that breaks off is started anew, for what is left."""
        for left in reversed(range(MAX_STARTS)):
            asker = self._begin()
            try:
                replies += answer_all(
                    lines,
                    answers,
                    asker.ask,
                    parallel=self.setup.parallel,
                    stopped=self.stop.is_set,
                )
                return
            except Cut as error:
                self._end()
                if not left or self.stop.is_set():
                    raise
                print(f"{self.engine.name} broke off ({error}); again", file=sys.stderr, flush=True)

    # A server

    def _serve(self) -> int:
        """Until told to stop; answer.txt says how it stands, a JSON object to a line."""
        self._begin()
        assert self.process is not None
        with Answer(self.job_dir / ANSWER_FILE) as said:
            self._say(said, "serving")
            missed = 0
            while not self.stop.wait(HEALTH_EVERY_S):
                if not self.process.alive:
                    return self._failed(f"{self.engine.name} ended by itself")
                missed = 0 if self._healthy() else missed + 1
                if missed == MAX_MISSES:
                    self._say(said, "unwell")
                elif missed == 0 and self.state != "serving":
                    self._say(said, "serving")
            self._say(said, "stopped")
        return 0

    def _healthy(self) -> bool:
        assert self.process is not None
        try:
            return self.process.server.status(self.engine.ready) == 200
        except Cut:
            return False

    def _say(self, said: Answer, state: str) -> None:
        assert self.process is not None
        self.state = state
        row = {
            "state": state,
            "url": f"http://{self.process.server.address}",
            "key": self.key if self.engine.keyed else "",
            "model": self.model,
            "engine": self.engine.name,
            "slots": self.setup.parallel,
            "context": self.setup.context,
            "load_ms": self.load_ms,
            "at_ms": time.time_ns() // 1_000_000,
        }
        said.write(json.dumps(row) + "\n")

    # What it came to

    def _report(self, replies: list[Reply], **more: int) -> None:
        assert self.process is not None or not replies
        page = ""
        if self.process is not None and self.engine.metrics:
            page = self.process.server.page(self.engine.metrics)
        log = log_until(READY, self.job_dir / "log.txt")
        memory = self.engine.memory(log, page)
        said = {name: getattr(memory, name) for name in MEMORY}
        sizes = {name: size for name, size in said.items() if size or self.engine.says_all}
        about = {"threads": self.setup.threads, "cores": physical_cores(), "load_ms": self.load_ms}
        found = {**measured(replies), **about, **more, "memory": sizes}
        durable.write_json(self.job_dir / "engine.json", found)

    def _failed(self, text: str) -> int:
        if self.stop.is_set():
            return 0
        print(SPEAKER + text, file=sys.stderr, flush=True)
        return 1


MEMORY: Final = ("weights_bytes", "kv_bytes", "compute_bytes", "state_bytes")


def _silent(_: str) -> None:
    """Nobody reads along."""


def _with_threads(setup: Setup) -> Setup:
    return setup if setup.threads else replace(setup, threads=idle_cores())


def _known(name: str) -> Engine:
    engine = SERVERS.get(name)
    if engine is None:
        refuse(f"{name!r} is no engine that jobs run by; there are {', '.join(SERVERS)}")
    return engine


def lines_of(spec: dict[str, object]) -> list[Line]:
    """The requests in a spec; what a line leaves out is the job's own."""
    rows, tokens = spec.get("lines"), int(str(spec["tokens"]))
    assert isinstance(rows, list)
    return [
        Line(
            number=row.get("line", number),
            id=row.get("id", number),
            prompt=row.get("prompt", ""),
            messages=tuple(row.get("messages", ())),
            max_tokens=row.get("max_tokens") or tokens,
            sampling=row.get("sampling", {}),
        )
        for number, row in enumerate(rows, 1)
    ]


def main() -> int:
    """Read the spec, run the job."""
    job_dir = Path(os.environ[JOB_DIR]).absolute()
    spec = (durable.read_json(job_dir / "launch.json") or {}).get("spec")
    if not isinstance(spec, dict):
        refuse(f"no spec in {job_dir / 'launch.json'}")
    try:
        made = Supervisor(job_dir, spec)
    except ValueError as error:
        refuse(f"{job_dir / 'launch.json'}: {error}")
    return made.run()


if __name__ == "__main__":
    sys.exit(main())
