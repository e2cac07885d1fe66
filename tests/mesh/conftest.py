"""Several real daemons on loopback, each in its own home, driven by the real command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


def is_gone(process: psutil.Process) -> bool:
    """True for one that ended, whether or not the system has collected it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Machine:
    """One peer. `api` speaks to its daemon without the cost of a new process."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self.name = home, name
        self.starting: subprocess.Popen[str] | None = None
        self.env = os.environ | {
            "FLEET_HOME": str(home),
            "FLEET_NAME": name,
            "FLEET_LISTEN": "127.0.0.1",
            "FLEET_DISCOVERY": "",
            "FLEET_MESH_PORT": "0",
            "FLEET_PAIRING_PORT": "0",
            "NO_COLOR": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *words: object) -> SimpleNamespace:
        done = subprocess.run(
            [sys.executable, "-m", "mesh", *map(str, words)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    def ok(self, *words: object) -> str:
        done = self.run(*words)
        assert done.code == 0, f"fleet {words}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def start(self) -> None:
        """Begin to start the daemon; `up` waits for it."""
        self.starting = subprocess.Popen(
            [sys.executable, "-m", "mesh", "up", "--detach"],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self) -> "Machine":
        """Start the daemon, or wait for one that is starting, until it is ready."""
        if self.starting is None:
            self.start()
        assert self.starting is not None
        said, _ = self.starting.communicate(timeout=120)
        assert self.starting.returncode == 0, said
        self.starting = None
        return self

    @property
    def daemon(self) -> Any:
        from mesh.cli.client import need_daemon

        return need_daemon(self.home)

    @property
    def pid(self) -> int:
        return int(json.loads((self.home / "daemon.json").read_text())["pid"])

    def get(self, path: str) -> Any:
        return self.daemon.get(path)

    def post(self, path: str, **body: object) -> Any:
        return self.daemon.post(path, body)

    def invite(self, **body: object) -> str:
        return str(self.post("/v1/invites", **body)["code"])

    def join(self, host: "Machine", role: str = "runner") -> "Machine":
        self.post("/v1/join", code=host.invite(role=role), name=self.name)
        return self

    def note(self, text: str) -> None:
        self.post("/v1/notes", text=text)

    def notes(self) -> set[str]:
        return {
            event["payload"]["text"]
            for event in json.loads(self.ok("events", "-o", "json"))
            if event["event_type"] == "note_added"
        }

    def has(self, *texts: str) -> Callable[[], bool]:
        """A condition: all these notes are in the ledger here."""
        from mesh.edge.store.ledger import Reader

        def look() -> bool:
            reader = Reader.open(self.home)
            try:
                found = {e.payload.get("text") for _, e in reader.events()}
            finally:
                reader.close()
            return found.issuperset(texts)

        return look

    def peers(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.get("/v1/peers")["peers"]}

    def sees(self, name: str, state: str) -> Callable[[], bool]:
        return lambda: self.peers().get(name, {}).get("state") == state

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the daemon by its pid and wait until it is gone."""
        if self.starting is not None:
            self.starting.communicate(timeout=120)
            self.starting = None
        if not (self.home / "daemon.json").exists():
            return
        try:
            process = psutil.Process(self.pid)
        except (psutil.NoSuchProcess, ValueError, OSError):
            return
        os.kill(process.pid, how)
        wait_until(lambda: is_gone(process), f"the end of {self.name}'s daemon")
        (self.home / "daemon.json").unlink(missing_ok=True)


Maker = Callable[[str], Machine]


def make(folder: Path) -> Iterator[Maker]:
    """Makes machines by name; whatever still runs at the end is stopped by pid."""
    made: dict[str, Machine] = {}

    def machine(name: str) -> Machine:
        return made.setdefault(name, Machine(folder / name, name))

    try:
        yield machine
    finally:
        for one in made.values():
            one.stop()


def up_all(machines: Maker, names: str) -> list[Machine]:
    """Daemons of these names, started side by side."""
    made = [machines(name) for name in names.split()]
    for one in made:
        one.start()
    return [one.up() for one in made]


def fleet_of_three(machines: Maker) -> tuple[Machine, Machine, Machine]:
    """Ana founded a fleet, Ben and Cid joined it; everyone is linked with everyone."""
    ana, ben, cid = up_all(machines, "ana ben cid")
    ben.join(ana)
    cid.join(ana)
    for one, others in ((ana, "ben cid"), (ben, "ana cid"), (cid, "ana ben")):
        for other in others.split():
            wait_until(one.sees(other, "online"), f"{one.name} linked with {other}")
    return ana, ben, cid


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Maker]:
    """A maker of machines for one test."""
    yield from make(tmp_path)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine, Machine]]:
    """A fleet of three that no test leaves smaller than it was."""
    maker = make(tmp_path_factory.mktemp("fleet"))
    yield fleet_of_three(next(maker))
    next(maker, None)
