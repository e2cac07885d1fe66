"""A real daemon in a temporary home, driven by the real command line."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until


class Fleet:
    """`fleet` in one home; `ok` insists on exit 0, `run` hands everything back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = os.environ | {
            "FLEET_HOME": str(home),
            "FLEET_HOST_PRICE_NUSD": "1200000000000",
            "NO_COLOR": "1",
            "FLEET_LISTEN": "127.0.0.1",
            "FLEET_DISCOVERY": "",
        }

    def run(self, *words: object, said: str = "", **extra: str) -> SimpleNamespace:
        """One command, `said` on its standard input."""
        done = subprocess.run(
            [sys.executable, "-m", "mesh", *map(str, words)],
            env=self.env | extra,
            input=said,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    def ok(self, *words: object) -> str:
        done = self.run(*words)
        assert done.code == 0, f"fleet {words}: {done.code}\n{done.out}\n{done.err}"
        return done.out

    def json(self, *words: object):
        return json.loads(self.ok(*words, "-o", "json"))

    def up(self) -> int:
        self.ok("up", "--detach")
        return self.pid

    @property
    def pid(self) -> int:
        return int(json.loads((self.home / "daemon.json").read_text())["pid"])

    def kill(self) -> None:
        """kill -9 of the daemon, and wait until it is gone."""
        daemon = psutil.Process(self.pid)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait(10)

    def job(self, job_id: str) -> dict:
        return self.json("job", job_id)

    def ended(self, job_id: str) -> dict:
        ends = {"succeeded", "failed", "cancelled"}

        def look() -> dict | None:
            job = self.job(job_id)
            return job if job["status"] in ends else None

        return wait_until(look, f"the end of {job_id}")

    def dispatch(self, body: dict[str, str]) -> str:
        """The words with which the daemon refuses the seed's call, or ""."""
        url = json.loads((self.home / "daemon.json").read_text())["url"]
        token = (self.home / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        request = Request(f"{url}/dispatch", json.dumps(body).encode(), headers)
        try:
            urlopen(request).close()
        except HTTPError as error:
            with error:
                return str(json.loads(error.read())["text"]) if error.code < 500 else ""
        return ""

    def close(self) -> None:
        """End the daemon, and by their pids the runners that would outlive it."""
        self.run("down")
        end_runners(self.home)

    def newest_job(self) -> str:
        rows = self.json("ps", "-a")
        return (rows["jobs"] if isinstance(rows, dict) else rows)[0]["job_id"]


def end_runners(home: Path) -> None:
    """What still runs of a home's jobs, by pid."""
    for path in (home / "jobs").glob("*/*/runner.json"):
        pid = json.loads(path.read_text())["pid"]
        with contextlib.suppress(psutil.Error):  # gone, or a zombie nobody has waited for yet
            if "providers.runner" in psutil.Process(pid).cmdline():
                os.kill(pid, signal.SIGTERM)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet without a daemon yet; whatever it leaves running is stopped by pid."""
    made = Fleet(tmp_path / "home")
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 4-layer GGUF that real llama.cpp runs."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_gguf(path)
    return path
