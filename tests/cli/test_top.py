"""`fleet top` beside its golden texts: live in a terminal, in a pipe, with names that are nasty."""

import os
import pty
import queue
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from mesh.cli.machines import top
from mesh.cli.machines.top_view import frame
from mesh.cli.output import wide
from tests.cli.fixed_fleet import NOW, PICTURE, now

ROOT = Path(__file__).parents[2]
# A daemon whose stream is the fixed picture again and again, in the real command.
LIVE = """
import itertools, sys, time
from mesh.cli.machines import top
from tests.cli.fixed_fleet import PICTURE
class Daemon:
    def stream(self, path):
        for _ in itertools.count():
            yield "message", PICTURE
            time.sleep(0.05)
top.need_daemon = lambda home: Daemon()
from mesh.cli.app import run
sys.exit(run(["top"]))
"""


def one_device(**changes: object) -> dict[str, Any]:
    peer = {**PICTURE["peers"][0], "devices": [now("card") | changes]}
    return {"at_ms": NOW, "peers": [peer]}


def _as_a_shell_would() -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests run in the background


class Terminal:
    """The command in a terminal of 80 by 24."""

    def __init__(self) -> None:
        self.leader, follower = pty.openpty()
        termios.tcsetwinsize(self.leader, (24, 80))
        env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "FLEET_HOME": "none"}
        env.pop("COLUMNS", None)
        self.before = termios.tcgetattr(follower)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LIVE],
            cwd=ROOT, env=env, stdin=follower, stdout=follower, stderr=follower,
            preexec_fn=_as_a_shell_would,
        )  # fmt: skip
        self.follower = follower
        self.said = b""

    def until(self, text: bytes, count: int = 1) -> None:
        end = time.monotonic() + 60
        while self.said.count(text) < count and time.monotonic() < end:
            if select.select([self.leader], [], [], 0.2)[0]:
                self.said += os.read(self.leader, 65536)
        assert self.said.count(text) >= count, self.said[-2000:]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.leader)
        os.close(self.follower)


@pytest.fixture
def terminal() -> Any:
    made = Terminal()
    yield made
    made.close()


def test_it_redraws_in_place_until_q_and_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.until(b"workstation-gpu0", count=4)
    assert terminal.said.count(top.HOME.encode()) >= 2
    os.write(terminal.leader, b"xq")
    terminal.until(top.LEAVE.encode())
    assert terminal.process.wait(30) == 0
    assert termios.tcgetattr(terminal.follower) == terminal.before


def test_ctrl_c_ends_it_and_gives_the_terminal_back(terminal: Terminal) -> None:
    terminal.until(b"workstation-gpu0")
    os.kill(terminal.process.pid, signal.SIGINT)
    terminal.until(top.LEAVE.encode())
    assert terminal.process.wait(30) == 130
    assert termios.tcgetattr(terminal.follower) == terminal.before


def test_more_devices_than_lines_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "_height", lambda: 5)
    top.draw([f"line {n}" for n in range(10)])
    said = capsys.readouterr().out
    assert said.count("\n") == 4
    assert "7 more" in said


@pytest.mark.parametrize("width", [20, 40, 60, 80, None])
def test_a_name_full_of_tricks_breaks_no_line_and_moves_no_cursor(width: int | None) -> None:
    nasty = "\x1b[2J\x07a\nb\r\u202e" + "界" * 300
    holder = {"pid": 1, "program": nasty, "memory_bytes": 1 << 33}
    picture = one_device(name=nasty, health="lost", health_text=nasty, foreign=[holder])
    lines = frame(picture, width)
    for line in lines:
        assert "\x1b" not in line
        assert "\n" not in line
        assert width is None or wide(line) <= width


def test_what_is_unknown_is_a_dash_and_idle_is_0() -> None:
    unknown = dict.fromkeys(("free_bytes", "utilisation_percent", "power_mw", "temperature_c"))
    assert "–  ok" in frame(one_device(**unknown, foreign=None), None)[2]
    idle = frame(one_device(utilisation_percent=0, power_mw=0, free_bytes=24 << 30), None)[2]
    assert "  0%  0  " in idle
    assert "0.0/24.0" in idle


def test_a_stream_that_ends_is_said() -> None:
    class Ended:
        def stream(self, path: str) -> Any:
            yield "error", {"code": "Unanswered", "text": "gone", "hint": ""}

    came: Any = queue.Queue(maxsize=1)
    top._read(Ended(), came)  # type: ignore[arg-type]
    assert came.get_nowait().text == "gone"
