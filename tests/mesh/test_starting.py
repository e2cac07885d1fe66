"""A real daemon that opens the home of an earlier version: what is seen while it does, and what is
left of it when it is stopped, killed, or has no disk left."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mesh.cli.client import Daemon, find_daemon
from mesh.edge.http.dashboard.guard import KEY_HEADER
from mesh.edge.http.dashboard.routes import LINK
from mesh.edge.http.guard import RETRY_AFTER_S
from mesh.edge.store import schema
from mesh.edge.store.care.lift import DRAFT, LIFTS, PACKS
from mesh.edge.store.ledger import Reader
from mesh.edge.store.state import FOLDS
from mesh.ledger.event import NO_PREV
from tests.edge.store.events import CYD, line
from tests.edge.store.old_ledger import write_old
from tests.mesh.conftest import ROOT, Machine
from tests.support.waiting import wait_until

EVENTS = 6500  # six full segments and an open one, and more than three pages of a lift
GOLDEN = ROOT / "tests" / "golden" / "ledger" / "home"
HELD = ROOT / "tests" / "support" / "held_daemon.py"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
SMALL_DISK = """
mount -t tmpfs -o size={size} tmpfs "$FLEET_HOME" || exit 90
cp -r {old}/. "$FLEET_HOME" || exit 91
{python} -m mesh up
echo "up ended with $?"
ls -a "$FLEET_HOME"
{python} -m mesh verify
echo "verify ended with $?"
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as a program of format 2 left it: Cyd's key, and a ledger longer than a segment."""
    home = tmp_path_factory.mktemp("old") / "home"
    write_old(home, 2, line(1, EVENTS, NO_PREV, "of then"))
    (home / "identity.key").touch(mode=0o600)
    (home / "identity.key").write_bytes(CYD)
    return home


class Held(Machine):
    """A machine whose daemon stops in the midst of its start, until `go`."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, "cyd")
        self.gate = home.with_name("gate")
        self.process: subprocess.Popen[str] | None = None

    def begin(self, step: str, events: int) -> None:
        """Start it, and wait until it stands there and says so."""
        words = [step, events, self.gate, "up"]
        self.process = subprocess.Popen(
            [sys.executable, str(HELD), *map(str, words)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: self.text().startswith(f"starting: {step}, "), f"it to say: {step}")

    def text(self) -> str:
        """What it says of itself."""
        if self.process is not None and self.process.poll() is not None:
            pytest.fail(f"it ended: {self.process.communicate()}")
        found = find_daemon(self.home)
        return "" if found is None else str(self.ask(found, "GET", "/v1/status")[2].get("text"))

    def ask(
        self, to: Daemon, method: str, path: str, headers: dict[str, str] | None = None, **body: str
    ) -> tuple[int, HTTPResponse, Any]:
        """(status, reply, its JSON); `headers` take the place of the token."""
        where = urlsplit(to.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=60)
        try:
            sent = {"Authorization": f"Bearer {to.token}"} if headers is None else headers
            connection.request(method, path, json.dumps(body) if body else None, sent)
            reply = connection.getresponse()
            data = reply.read()
            kind = reply.headers.get("Content-Type", "")
            return reply.status, reply, json.loads(data) if "json" in kind else data.decode()
        finally:
            connection.close()

    def go(self) -> None:
        """Let it go on, and wait until it is ready."""
        self.gate.touch()
        wait_until(lambda: self.ask(self.daemon, "GET", "/readyz")[0] == 200, "it to be ready")

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        """(exit code, what it wrote on standard error) after a signal."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@pytest.fixture
def held(template: Path, tmp_path: Path) -> Iterator[Held]:
    shutil.copytree(template, tmp_path / "home")
    made = Held(tmp_path / "home")
    yield made
    made.gate.touch()
    if made.process is not None:
        made.end()
    made.stop()


def format_of(home: Path) -> int:
    db = sqlite3.connect(home / schema.DATABASE)
    try:
        return schema.format_of(db)
    finally:
        db.close()


def texts(home: Path) -> list[object]:
    """Every note of the ledger, read without a daemon."""
    reader = Reader.open(home)
    try:
        return [one.payload["text"] for _, one in reader.events() if one.event_type == "note_added"]
    finally:
        reader.close()


def ids(home: Path) -> list[str]:
    """Every event's, in the order in which they came."""
    reader = Reader.open(home)
    try:
        return [one.id for _, one in reader.events()]
    finally:
        reader.close()


def test_while_the_ledger_is_lifted_everything_says_how_far_it_is(held: Held) -> None:
    held.begin(LIFTS, 2048)
    said = f"starting: lifts the ledger, 2,048 of {EVENTS:,} events"
    for words in (["status"], ["plan", "llama-3.1-8b"], ["ps"], ["cost"], ["devices"], []):
        done = held.run(*words)
        assert (done.code, done.out) == (3, ""), words
        assert done.err.startswith(f"fleet: {said}. try: again in a moment"), words
        assert done.err.count("\n") == 1
    assert held.run("status", "--help").code == 0
    own_log = held.run("-o", "text", "logs", "--daemon")
    assert "no daemon.log" in own_log.err, "it is read, where there is one"
    again = held.run("up")
    assert (again.code, "already runs as process" in again.err) == (3, True)
    daemon = held.daemon
    for method, path in (("GET", "/metrics"), ("GET", "/v1/jobs"), ("POST", "/v1/plan")):
        status, reply, error = held.ask(daemon, method, path, model="llama-3.1-8b")
        assert (status, reply.headers["Retry-After"]) == (503, str(RETRY_AFTER_S))
        assert {"code", "text", "hint"} < set(error)
        assert (error["code"], error["text"]) == ("Starting", said)
        assert error["progress"] == {"step": LIFTS, "done": 2048, "count": EVENTS}
    assert held.ask(daemon, "GET", "/healthz", {})[0] == 200
    status, _, error = held.ask(daemon, "GET", "/readyz", {})
    assert (status, error["code"]) == (503, "NotReady")
    assert str(EVENTS) not in str(error), "without the token no number is told"
    assert held.ask(daemon, "GET", "/metrics", {})[0] == 401


def test_a_browser_signs_in_meanwhile_and_stays_in(held: Held) -> None:
    held.begin(LIFTS, 2048)
    link = json.loads(held.ok("dashboard", "-o", "json"))["url"]
    daemon = held.daemon
    assert link.startswith(daemon.url + LINK)
    assert held.ask(daemon, "GET", "/dashboard/", {})[0] == 200
    code = link.partition(LINK)[2]
    status, reply, opened = held.ask(daemon, "POST", "/dashboard/session", {}, code=code)
    assert status == 201
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    page = {"Cookie": cookie, KEY_HEADER: opened["key"]}
    status, _, said = held.ask(daemon, "GET", "/v1/status", page)
    assert (status, said["code"], said["progress"]["done"]) == (503, "Starting", 2048)
    held.go()
    status, _, said = held.ask(held.daemon, "GET", "/v1/status", page)
    assert (status, said["daemon"]) == (200, True)
    assert held.daemon.url == daemon.url, "the port is the same"


def test_then_it_is_up_and_has_everything(held: Held) -> None:
    held.begin(FOLDS, 3200)
    done = held.run("status")
    assert done.err.startswith(f"fleet: starting: {FOLDS}, 3,200 of {EVENTS:,} events")
    held.go()
    assert json.loads(held.ok("status", "-o", "json"))["events"] >= EVENTS
    assert len(texts(held.home)) == EVENTS
    assert format_of(held.home) == schema.FORMAT
    assert "starting" not in json.loads((held.home / "daemon.json").read_text())
    held.ok("verify")


@pytest.mark.parametrize(("step", "events"), [(LIFTS, 2048), (PACKS, 3000)])
def test_killed_in_the_midst_it_loses_nothing_and_begins_again(
    held: Held, step: str, events: int
) -> None:
    held.begin(step, events)
    assert (held.home / DRAFT).exists()
    assert held.end(signal.SIGKILL)[0] == -signal.SIGKILL
    assert format_of(held.home) == 2
    assert len(texts(held.home)) == EVENTS
    assert held.run("status").code == 0, "without a daemon the old home is read as ever"
    held.up()
    assert format_of(held.home) == schema.FORMAT
    assert len(texts(held.home)) == EVENTS
    assert not (held.home / DRAFT).exists()


@pytest.mark.parametrize("how", ["down", "SIGTERM"])
def test_stopped_in_the_midst_it_ends_in_order(held: Held, how: str) -> None:
    held.begin(LIFTS, 2048)
    if how == "down":
        held.ok("down")
        assert held.process is not None
        held.process.wait(60)
    code, said = held.end()
    assert (code, "Traceback" in said) == (0, False)
    assert not (held.home / "daemon.json").exists()
    assert not (held.home / DRAFT).exists()
    assert (format_of(held.home), len(texts(held.home))) == (2, EVENTS)


def test_where_its_port_is_taken_it_says_so_and_the_home_stays_as_it_was(held: Held) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        held.env["FLEET_PORT"] = str(other.getsockname()[1])
        words = [LIFTS, "2048", str(held.gate), "up"]
        done = subprocess.run(
            [sys.executable, str(HELD), *words],
            env=held.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "cannot be had" in done.stderr
    assert (format_of(held.home), len(texts(held.home))) == (2, EVENTS)


def test_who_comes_second_is_refused_and_the_first_goes_on(held: Held) -> None:
    held.begin(LIFTS, 2048)
    said = (held.home / "daemon.json").read_text()
    (held.home / "daemon.json").rename(held.home / "hidden.json")  # as if it had not been told yet
    second = held.run("up")
    assert (second.code, "the ledger is in use by process" in second.err) == (3, True)
    assert not (held.home / "daemon.json").exists(), "what is not its own is not taken away"
    (held.home / "daemon.json").write_text(said)
    held.go()


def test_the_home_that_an_earlier_version_left_opens_and_has_all_it_had(
    machines: Callable[[str], Machine],
) -> None:
    root = machines("root")
    shutil.copytree(GOLDEN, root.home)
    root.home.chmod(0o700)
    assert format_of(root.home) < schema.FORMAT
    before = ids(root.home)
    root.env["FLEET_DISCOVERY"] = ""
    root.up()
    status = root.get("/v1/status")
    assert status["events"] >= len(before) > 0
    assert ids(root.home)[: len(before)] == before
    assert format_of(root.home) == schema.FORMAT
    root.ok("verify")


@NEEDS_ROOT
def test_a_disk_that_is_full_in_the_midst_leaves_the_old_home_as_it_was(
    template: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    machine = Machine(home, "cyd")
    need = (template / schema.DATABASE).stat().st_size
    script = SMALL_DISK.format(size=need + need // 8, old=template, python=sys.executable)
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        env=machine.env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "up ended with 3" in done.stdout, done
    assert "free some disk space; nothing was lost" in done.stderr
    assert "Traceback" not in done.stderr
    assert DRAFT not in done.stdout
    assert f"{EVENTS} events" in done.stdout
    assert "verify ended with 0" in done.stdout


@pytest.mark.parametrize("words", [["up"], ["status"], ["verify"], ["note", "hello"]])
def test_a_home_of_a_newer_version_is_refused_in_a_line_and_not_touched(
    machines: Callable[[str], Machine], words: list[str]
) -> None:
    ana = machines("ana")
    ana.ok("note", "one")
    db = sqlite3.connect(ana.home / schema.DATABASE)
    db.execute(f"PRAGMA user_version={schema.FORMAT + 1}")
    db.close()
    before = (ana.home / schema.DATABASE).read_bytes()
    done = ana.run(*words)
    assert done.code == 3
    assert done.err == (
        f"fleet: the ledger has format {schema.FORMAT + 1}, this program knows {schema.FORMAT}."
        " try: install a newer fleet-ledger\n"
    )
    assert (ana.home / schema.DATABASE).read_bytes() == before
