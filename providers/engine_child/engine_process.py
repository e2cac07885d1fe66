"""One engine's process: found, started on a free port, waited for, and stopped.

It stays in its supervisor's process group, so whoever ends the job ends it and all it started.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, final

from providers.engine.devices import selection
from providers.engine.setup import Engine, Program, Setup, ready_limit_s
from providers.engine_child.asking import Cut, Server

# Another program may take the port between our look and the engine's bind; not three times.
PORT_TRIES: Final = 3
LOOK_EVERY_S: Final = 0.05
# Of the ten seconds a runner leaves a cancelled job (providers.runner.GRACE_S).
STOP_S: Final = 6.0
LIBRARIES: Final = "LD_LIBRARY_PATH"
LISTENS: Final = "0A"  # TCP_LISTEN of the kernel's tcp_states.h
# The folder our own modules are in; on a host that has nothing of ours, the zip they came in.
PACKAGE_PARENT: Final = Path(__file__).absolute().parent.parent.parent


class NotHere(Exception):
    """This engine can't be started here, with or without another try."""


@final
class Ended(NotHere):
    """It was started, and its log says why it ended."""


@final
class EngineProcess:
    """A running engine. `server` is where it answers."""

    def __init__(self, child: subprocess.Popen[bytes], server: Server) -> None:
        self.child: Final = child
        self.server: Final = server

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.child.poll() is None

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        if not self.alive:
            return
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def start(engine: Engine, setup: Setup, key: str) -> EngineProcess:
    """The engine once it can answer; NotHere with the reason where it can't be had."""
    if fault := engine.fault(setup):
        raise NotHere(fault)
    program = found_program(engine, setup)
    for _ in range(PORT_TRIES):
        port = free_port()
        process = _spawn(program, engine, setup, port, key)
        if _ready(process, engine, setup):
            return process
        if not _taken(port):
            raise Ended(f"{engine.name} ended before it could answer")
        print(f"port {port} was taken meanwhile; trying another", file=sys.stderr, flush=True)
    raise NotHere(f"no free port found in {PORT_TRIES} tries")


def found_program(engine: Engine, setup: Setup) -> list[str]:
    """The words that start it."""
    wanted = engine.programs(setup)
    for program in wanted:
        words = _words(program, setup.program)
        if words:
            return words
    names = " or ".join(dict.fromkeys(one.executable or one.module for one in wanted))
    raise NotHere(f"{engine.name} is not installed here: no {names}")


def _words(program: Program, known: str = "") -> list[str]:
    """`known`: the executable, where it was found before; then no other is taken."""
    path = shutil.which(known or program.executable) if program.executable else None
    if path is not None:
        # A module's own Python stands beside its script, whatever venv or tool installed both.
        python = Path(path).resolve().parent / "python"
        if program.module and python.exists():
            return [str(python), "-m", program.module]
        return [path, *program.words]
    if program.module and not (program.executable or known) and _importable(program.module):
        return [sys.executable, "-m", program.module]
    return []


def _importable(module: str) -> bool:
    """Found without running any of it; a parent that is missing raises."""
    try:
        return importlib.util.find_spec(module.split(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def free_port() -> int:
    """One that nobody has on loopback at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _is_ours(process: EngineProcess) -> bool:
    """Whether what answers is this user's: whoever took the port first may say anything."""
    port = int(process.server.address.rpartition(":")[2])
    try:
        uid = listener_uid(Path("/proc/net/tcp").read_text(), port)
    except OSError:
        return True  # not Linux: there is no such table
    if uid in (None, os.getuid()):
        return True
    process.stop()
    return False


def listener_uid(table: str, port: int) -> int | None:
    """Who listens on a port of loopback or of all addresses, by proc(5)'s table of sockets."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, state = fields[1], fields[3]
        if state == LISTENS and int(local.rpartition(":")[2], 16) == port:
            return int(fields[7])
    return None


def _spawn(program: list[str], engine: Engine, setup: Setup, port: int, key: str) -> EngineProcess:
    env = {**os.environ, **_modules(), **libraries_beside(program[0])}
    env |= selection(setup.vendor, setup.cards)
    env |= engine.env(setup, port, key)
    argv = [*program, *engine.argv(setup, port)]
    try:
        # Its words go where ours go: into the job's log.
        child = subprocess.Popen(
            argv,
            env=env,
            cwd=PACKAGE_PARENT if PACKAGE_PARENT.is_dir() else None,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
        )
    except (OSError, ValueError) as error:
        raise NotHere(f"can't start {argv[0]}: {error}") from error
    return EngineProcess(child, Server(f"127.0.0.1:{port}", key))


def libraries_beside(program: str) -> dict[str, str]:
    """Where an engine's own libraries are looked for: last of all beside it. llama.cpp's images and
    archives have them there, and not every release of it looks there (b9282: llama.cpp#23517)."""
    folder, kept = Path(program).parent, os.environ.get(LIBRARIES, "")
    if not any(folder.glob("libllama*.so*")):
        return {}
    return {LIBRARIES: os.pathsep.join([*([kept] if kept else []), str(folder)])}


def _modules() -> dict[str, str]:
    """How an engine in Python finds our own modules: in the folder it starts in, or in a zip."""
    return {} if PACKAGE_PARENT.is_dir() else {"PYTHONPATH": str(PACKAGE_PARENT)}


def _ready(process: EngineProcess, engine: Engine, setup: Setup) -> bool:
    """True once it answers, False where it ended; NotHere where it takes too long."""
    limit_s = ready_limit_s(setup)
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if not process.alive:
            return False
        try:
            if process.server.status(engine.ready) == 200 and process.alive:
                return _is_ours(process)
        except Cut:
            pass
        time.sleep(LOOK_EVERY_S)
    process.stop()
    raise NotHere(f"{engine.name} could not answer within {limit_s:.0f} s")
