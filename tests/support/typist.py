"""Lines of a page as somebody types them, each in a real shell whose `fleet` is the program.

A page has many commands and a Python takes long to start: so `fleet` is a small script here, which
hands its words, folder, environment and standard streams to a server that has the program loaded
already. That forks a process for each, which runs `mesh.cli.app.run` as the installed `fleet` does.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import click

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
STREAMS = 3
MESSAGE_BYTES = 256 * 1024  # the words and the environment of one command
LINE_S = 120  # one that takes longer hangs
# -E and -S: a client has no use for site-packages, and starts in a tenth of the time.
CLIENT = """#!{python} -ES
import array, json, os, socket, sys
line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
line.connect({where!r})
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
handed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", (0, 1, 2)))]
line.sendmsg([b"%d\\n" % len(said)], handed)
line.sendall(said)
sys.exit(int(line.recv(8) or 1))
"""


class Typed(NamedTuple):
    """How a line ended, and what it wrote."""

    code: int
    out: str
    err: str


class Typist:
    """Types lines in `folder`, with `env`."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        tools = folder / ".tools"  # no name that a page lists
        tools.mkdir(parents=True)
        self._short = Path(tempfile.mkdtemp())  # a socket's path has 100 characters at most
        where = self._short / "s"
        (tools / "fleet").write_text(CLIENT.format(python=sys.executable, where=str(where)))
        (tools / "fleet").chmod(0o755)
        self.env = dict(env) | {"PATH": f"{tools}{os.pathsep}{env['PATH']}"}
        words = [sys.executable, "-m", "tests.support.typist", str(where)]
        paths = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
        self._server = subprocess.Popen(words, env=dict(env) | paths, cwd=ROOT)
        wait_until(lambda: where.exists(), "the program to be loaded")

    def type(self, line: str, said: str = "y\n", **extra: str) -> Typed:
        """One line in a shell, `said` on its standard input."""
        done = subprocess.run(
            [shutil.which("bash") or "sh", "-c", line],
            env=self.env | extra,
            cwd=self.folder,
            input=said,
            capture_output=True,
            text=True,
            timeout=LINE_S,
            check=False,
        )
        return Typed(done.returncode, done.stdout, done.stderr)

    def ok(self, line: str, said: str = "y\n", **extra: str) -> Typed:
        """A line that ends with 0, and with no traceback."""
        done = self.type(line, said, **extra)
        assert done.code == 0, f"{line}: {done.code}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err
        return done

    def close(self) -> None:
        """End the server, which has no command left."""
        self._server.terminate()
        self._server.wait()
        shutil.rmtree(self._short)


def _serve(where: str) -> None:
    """Take one command after another, each in a process of its own, until the server is ended."""
    from mesh.cli.app import HOMES, fleet, run

    for name in HOMES:
        fleet.get_command(click.Context(fleet), name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies; nobody asks this process
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(where)
        listener.listen()
        while True:
            line, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _one(line, run)
            line.close()


def _one(line: socket.socket, run: Callable[[list[str]], int]) -> None:
    """Run the command that a client hands over, on its streams; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    words, folder, env = _handed(line)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    # Those that this process was made with are of the server's standard streams.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, closefd=False)
    code = 1
    with contextlib.suppress(SystemExit):
        code = run(words)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    line.sendall(str(code).encode())
    os._exit(0)


def _handed(line: socket.socket) -> tuple[list[str], str, dict[str, str]]:
    """A client's words, folder and environment; its streams are this process's from here on."""
    first, rights, _, _ = line.recvmsg(MESSAGE_BYTES, socket.CMSG_LEN(STREAMS * 4))
    found = array.array("i")
    for _, _, data in rights:
        found.frombytes(data)
    for at, given in enumerate(found):
        os.dup2(given, at)
        os.close(given)
    length, _, said = first.partition(b"\n")
    while len(said) < int(length):
        said += line.recv(MESSAGE_BYTES)
    words, folder, env = json.loads(said)
    return words, folder, env


if __name__ == "__main__":
    _serve(sys.argv[1])
