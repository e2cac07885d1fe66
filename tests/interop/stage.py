"""Peers of one fleet on loopback, for programs that ask them from outside: each a real daemon.

Needs nothing but Python itself: it is also run where only the clients are installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = str(ROOT / ".venv" / "bin" / "python")
PATIENCE_S = 180.0  # of anything: the machine may be busy
LOOK_S = 0.1


def until(look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(LOOK_S)
    raise SystemExit(f"waited {patience_s:.0f} s in vain for {what}")


def free_port() -> int:
    """A port that nobody has now: a peer that starts again is to be found where it was."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def fetch(url: str, body: object = None, key: str = "", timeout_s: float = PATIENCE_S) -> Any:
    """A JSON answer; HTTPError where it is none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=timeout_s) as s:
        return json.load(s)


class Peer:
    """One daemon and the engines it holds."""

    def __init__(self, folder: Path, name: str, *, prefix: tuple[str, ...] = ()) -> None:
        """`prefix`: words before the command of its daemon."""
        self.home, self.name, self.prefix = folder / name, name, prefix
        self.env = os.environ | {
            "FLEET_HOME": str(self.home),
            "FLEET_NAME": name,
            "FLEET_LISTEN": "127.0.0.1",
            "FLEET_DISCOVERY": "",
            "FLEET_METERED": "no",
            "FLEET_MESH_PORT": str(free_port()),
            "FLEET_PAIRING_PORT": str(free_port()),
            "FLEET_GATEWAY_PORT": str(free_port()),
            "NO_COLOR": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
        }
        self.address = f"http://127.0.0.1:{self.env['FLEET_GATEWAY_PORT']}"

    def run(self, *words: object) -> str:
        """One command; its output. SystemExit where it fails."""
        command = [*self.prefix, PYTHON, "-m", "mesh", *map(str, words)]
        done = subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: fleet {words}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> None:
        """Start its daemon."""
        self.run("up", "--detach")

    @property
    def pid(self) -> int:
        """Its daemon's."""
        return int(json.loads((self.home / "daemon.json").read_text())["pid"])

    def kill(self) -> None:
        """kill -9 of its daemon, and of nothing else; its engines stay."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), f"the end of {self.name}'s daemon")

    def api(self, path: str, body: object = None) -> Any:
        """What its own people ask of it, by the token."""
        url = json.loads((self.home / "daemon.json").read_text())["url"]
        return fetch(url + path, body, (self.home / "token").read_text().strip())

    def keep(self, model: Path, *, least: int = 1, most: int = 1, **spec: object) -> str:
        """Keep a model up here; the service's id."""
        spec |= {"model": str(model), "on": self.name}
        body = {"spec": spec, "min": least, "max": most, "idle_ms": 0}
        return str(self.api("/v1/services", body)["service_id"])

    def replicas(self) -> list[dict[str, Any]]:
        """Every server of the fleet, as it sees them."""
        return list(self.api("/v1/services")["replicas"])

    def engine(self, model: str) -> Engine:
        """The engine of a model that it serves."""
        ours = [one["job_id"] for one in self.replicas() if one["model"] == model]
        for job_id in ours:
            for path in (self.home / "jobs" / job_id).glob("*/answer.txt"):
                if lines := path.read_text().splitlines():
                    return Engine(path.parent, json.loads(lines[-1]))
        raise SystemExit(f"{self.name} serves no {model}")

    def close(self) -> None:
        """End its services and servers, and its daemon."""
        with contextlib.suppress(SystemExit, OSError, ValueError, KeyError, urllib.error.URLError):
            for one in self.api("/v1/services")["services"]:
                if self.run("id").strip() and one["home"]:
                    with contextlib.suppress(urllib.error.HTTPError):
                        self.api(f"/v1/services/{one['service_id']}/end", {})
            until(lambda: not runners(self.home), f"{self.name}'s servers to end", 30)
        with contextlib.suppress(SystemExit):
            self.run("down")
        for pid in runners(self.home):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)


class Engine:
    """One model's own server."""

    def __init__(self, folder: Path, said: dict[str, Any]) -> None:
        self.folder, self.url, self.key = folder, str(said["url"]), str(said["key"])

    @property
    def pid(self) -> int:
        """The program that computes: its runner's child's child."""
        runner = int(json.loads((self.folder / "runner.json").read_text())["pid"])
        (supervisor,) = children(runner)
        (engine,) = children(supervisor)
        return engine

    def busy(self) -> int:
        """How many of its slots compute, as it says itself."""
        return sum(bool(one["is_processing"]) for one in fetch(f"{self.url}/slots", key=self.key))

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "log.txt").read_text(errors="replace")


def children(pid: int) -> list[int]:
    """The processes it started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def runners(home: Path) -> list[int]:
    """The runners of a peer's attempts that still run."""
    found = [int(json.loads(one.read_text())["pid"]) for one in home.glob("jobs/*/*/runner.json")]
    return [pid for pid in found if alive(pid) and str(home) in _words(pid)]


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def write_model(path: Path, kind: str = "tiny", **sizes: object) -> Path:
    """A model of one of tests/support's kinds; written where the project's packages are."""
    given = ", ".join(f"{name}={value}" for name, value in sizes.items())
    code = (
        "import sys; from gguf import PoolingType; "
        f"from tests.support.{kind}_gguf import write_{kind}_gguf as write; "
        f"write(sys.argv[1], {given})"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([PYTHON, "-c", code, str(path)], env=env, check=True)
    return path


@contextmanager
def fleet(*peers: Peer) -> Iterator[None]:
    """Peers up and together: the first one's fleet takes the others in."""
    try:
        for peer in peers:
            peer.up()
        for peer in peers[1:]:
            code = peers[0].api("/v1/invites", {"role": "runner"})["code"]
            peer.api("/v1/join", {"code": code, "name": peer.name})
        yield
    finally:
        for peer in peers:
            peer.close()


@contextmanager
def folder() -> Iterator[Path]:
    """For models and homes; gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="fleet-clients-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class Report:
    """What was run, how it went, and how long it took."""

    def __init__(self) -> None:
        self.failed = 0

    def say(self, what: str, *, ok: bool, note: str = "", took_s: float | None = None) -> None:
        """One line."""
        self.failed += not ok
        took = "" if took_s is None else f"{took_s:7.2f} s"
        print(f"{'ok  ' if ok else 'FAIL'} {took:9} {what:52} {note}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """Something could not be run."""
        print(f"skip {'':9} {what:52} {why}", flush=True)

    def run(self, what: str, call: Callable[[], object]) -> Any:
        """A call that must succeed; what it says of itself is shown."""
        begun = time.monotonic()
        try:
            found = call()
        except Exception as error:  # whatever a client raises is a failure
            note, ok, found = f"{type(error).__name__}: {error}"[:300], False, None
        else:
            note, ok = str(found if found is not None else "")[:80].replace("\n", " "), True
        self.say(what, ok=ok, note=note, took_s=time.monotonic() - begun)
        return found
