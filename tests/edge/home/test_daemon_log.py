"""daemon.log stays bounded, and a line that was written is in one of the files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.edge.home import daemon_log
from mesh.edge.home.daemon_log import KEPT, MAX_BYTES, NAME, kept, lines_of, open_log

# A process whose output is the log: two threads write numbered lines, and the turns come between.
WRITER = """
import os, sys, threading
from pathlib import Path
from mesh.edge.home import daemon_log

home, most, lines = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
daemon_log.MAX_BYTES = most
daemon_log.redirect(home)
def write(stream):
    for number in range(lines):
        os.write(stream, f"{stream} {number}\\n".encode())
threads = [threading.Thread(target=write, args=(stream,)) for stream in (1, 2)]
[one.start() for one in threads]
turns = 0
while any(one.is_alive() for one in threads):
    turns += daemon_log.turn(home) if turns < daemon_log.KEPT else 0
[one.join() for one in threads]
(home / "turns").write_text(str(turns))
"""


def run(home: Path, most: int, lines: int) -> int:
    home.mkdir(exist_ok=True)
    words = [sys.executable, "-c", WRITER, str(home), str(most), str(lines)]
    subprocess.run(words, check=True, timeout=120)
    return int((home / "turns").read_text())


def test_no_line_is_lost_at_a_turn_whoever_writes_meanwhile(tmp_path: Path) -> None:
    turns = run(tmp_path, most=20_000, lines=20_000)
    assert turns == KEPT
    assert len(kept(tmp_path)) == KEPT + 1
    for stream in ("1", "2"):
        found = [line.split()[1] for line in lines_of(tmp_path) if line.split()[0] == stream]
        assert found == [str(number) for number in range(20_000)]


def test_what_is_kept_is_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        (tmp_path / NAME).write_text(f"{number} {'x' * MAX_BYTES}\n")
        os.close(open_log(tmp_path))
    firsts = [path.read_text()[:1] for path in kept(tmp_path)[:-1]]
    assert firsts == ["3", "4", "5"]
    assert kept(tmp_path)[-1].stat().st_size == 0


def test_a_log_that_is_not_full_goes_on(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("before\n")
    fd = open_log(tmp_path)
    os.write(fd, b"after\n")
    os.close(fd)
    assert list(lines_of(tmp_path)) == ["before\n", "after\n"]
    assert kept(tmp_path) == [tmp_path / NAME]


def test_another_programs_log_is_not_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs `fleet up` in a terminal, or with its output elsewhere, has no log of ours."""
    monkeypatch.setattr(daemon_log, "MAX_BYTES", 1)
    (tmp_path / NAME).write_text("somebody else's\n")
    assert not daemon_log.turn(tmp_path)
    assert kept(tmp_path) == [tmp_path / NAME]


def test_the_log_is_private(tmp_path: Path) -> None:
    os.close(open_log(tmp_path))
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
