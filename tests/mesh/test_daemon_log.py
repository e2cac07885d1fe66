"""daemon.log of a running daemon turns by itself, and `fleet logs --daemon` reads over turns."""

import subprocess
import sys
from pathlib import Path

from mesh.edge.home.daemon_log import MAX_BYTES, NAME
from tests.mesh.conftest import Maker, up_all
from tests.support.waiting import wait_until


def test_a_full_log_turns_under_a_daemon_that_lives_and_is_followed_over_the_turn(
    machines: Maker,
) -> None:
    (ana,) = up_all(machines, "ana")
    log, older = ana.home / NAME, ana.home / f"{NAME}.1"
    reading = subprocess.Popen(
        [sys.executable, "-m", "mesh", "logs", "--daemon", "-f"],
        env=ana.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reading.stdout is not None
    assert "ana is up" in reading.stdout.readline()
    line = "x" * 1023 + "\n"
    with log.open("a") as file:
        file.write(line * (MAX_BYTES // len(line) + 1))
    wait_until(older.is_file, "the turn")
    wait_until(log.is_file, "the new file")
    assert older.read_text().startswith("fleet: ana is up")
    fds = [f"/proc/{ana.pid}/fd/{stream}" for stream in (1, 2)]
    if Path("/proc/self/fd").is_dir():
        wait_until(lambda: {Path(fd).readlink() for fd in fds} == {log}, "both streams in it")
    with log.open("a") as file:
        file.write("after the turn\n")
    last = next(said for said in reading.stdout if not said.startswith(("x", " ")))
    assert last == "after the turn\n"
    reading.terminate()
    reading.communicate(timeout=60)
    said = ana.ok("logs", "--daemon").splitlines()
    assert (said[0], said[-1]) == ("fleet: ana is up", "after the turn")


def test_what_logs_is_asked_for_is_one_thing(machines: Maker) -> None:
    ana = machines("ana")
    for words in ([], ["JOB", "--daemon"], ["--daemon", "--answer"]):
        refused = ana.run("logs", *words)
        assert (refused.code, "name a job, or say --daemon" in refused.err) == (2, True)
    nothing = ana.run("logs", "--daemon")
    assert (nothing.code, "fleet up --detach" in nothing.err) == (102, True)
