"""Supervise one attempt: `python -m providers.runner JOB_DIR`.

A process of its own, in its own session, so that killing the daemon leaves the job alone. It
reads launch.json, claims the folder with runner.json, runs the child in its own process group
with its words in log.txt, and ends by writing result.json. While the file `hold` lies in the
folder the whole tree is stopped, and `held` says that it is. Only stdlib: it must start fast.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from providers import durable, process, tree
from providers.hold import Hold
from providers.log import Log, last_words, says_out_of_memory

if TYPE_CHECKING:
    import resource

# An engine unloads in well under a second; after this a cancelled one is killed.
GRACE_S = 10.0
# A helper that left the group may hold the log open: the result doesn't wait for it.
DRAIN_S = 2.0
READ_BYTES = 64 * 1024
SETUP_EXIT = 78  # sysexits.h EX_CONFIG: our engine programs say "this can't run here" with it
JOB_DIR = "FLEET_JOB_DIR"


class Runner:
    """One attempt, from claim to result."""

    def __init__(self, job_dir: Path) -> None:
        self.job_dir = job_dir
        self.cancel_at: float | None = None
        self.hold = Hold(job_dir)
        self.log: Log
        self.me: dict[str, object] = {
            "pid": os.getpid(),
            "start_ticks": process.start_ticks(os.getpid()),
            "boot_id": process.boot_id(),
            "child_pid": 0,
            "child_ticks": 0,
        }

    def run(self) -> int:
        """Exit code 0 also when the job failed: the result says so. 3: the folder is taken."""
        launch = durable.read_json(self.job_dir / "launch.json")
        if launch is None:
            print(f"no launch.json in {self.job_dir}", file=sys.stderr)
            return 2
        if not durable.claim_json(self.job_dir / "runner.json", self.me):
            return 3
        self.log = Log(self.job_dir / "log.txt")
        self.wake = wakeup_pipe(self.ask_to_stop)
        tree.adopt_orphans()
        result = self.attempt(launch)
        self.log.close()
        durable.write_json(self.job_dir / "result.json", result)
        return 0

    def ask_to_stop(self, *_: object) -> None:
        """SIGTERM: the fleet wants this attempt to end."""
        if self.cancel_at is None:
            self.cancel_at = time.monotonic() + GRACE_S

    def attempt(self, launch: dict[str, object]) -> dict[str, object]:
        """Run the child to its end and say how it went."""
        started_ms, begun, kills = time.time_ns() // 1_000_000, time.monotonic(), oom_kills()
        try:
            child = spawn(launch, self.job_dir)
        except (OSError, ValueError) as error:
            text = f"can't start {launch_argv(launch)[:1]}: {error}"
            self.log.write(text.encode() + b"\n")
            return result(127, started_ms, 0, 0, 0, "setup", text)
        self.me |= {"child_pid": child.pid, "child_ticks": process.start_ticks(child.pid)}
        durable.write_json(self.job_dir / "runner.json", self.me)
        status, peak = self.watch(child)
        duration_ms = int((time.monotonic() - begun) * 1000)
        code = os.waitstatus_to_exitcode(status)
        tail = self.log.last()
        reason = self.reason(code, tail, str(launch["kind"]), oom=oom_kills() > kills)
        text = explain(reason, code, last_words(tail))
        return result(code, started_ms, duration_ms, self.hold.paused_ms, peak, reason, text)

    def watch(self, child: subprocess.Popen[bytes]) -> tuple[int, int]:
        """(wait status, peak bytes) once the child has ended and its whole tree is gone."""
        assert child.stdout is not None
        said = child.stdout.fileno()
        stage = 0
        while (end := reaped(child.pid)) is None:
            if self.cancel_at is None:
                self.hold.look()
            stage = self.press(stage)
            self.listen(said, 0.5)
        status, usage = end
        child.returncode = status  # already reaped: Popen must not wait again
        self.hold.over()
        tree.kill(os.getpid())
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and self.listen(said, 0.05):
            pass
        child.stdout.close()
        # getrusage(2): kilobytes on Linux, bytes on macOS; the largest process of the tree.
        return status, usage.ru_maxrss * (1024 if sys.platform == "linux" else 1)

    def press(self, stage: int) -> int:
        """Ask a cancelled tree once, kill it when its grace is over."""
        if self.cancel_at is None:
            return 0
        if stage == 0:
            tree.terminate(os.getpid())
            self.hold.over()
        if time.monotonic() >= self.cancel_at:
            tree.kill(os.getpid())
        return 1

    def listen(self, said: int, seconds: float) -> bool:
        """Wait for words or a signal; False once the child's side of the pipe is closed."""
        ready, _, _ = select.select([said, self.wake], [], [], seconds)
        if self.wake in ready:
            os.read(self.wake, 512)
        if said not in ready:
            return True
        data = os.read(said, READ_BYTES)
        self.log.write(data)
        if not data:
            time.sleep(0.02)  # closed early by a child that lives on: don't spin on end-of-file
        return bool(data)

    def reason(self, code: int, tail: str, kind: str, *, oom: bool) -> str:
        """One of the reason codes of `providers.base.Outcome`."""
        if self.cancel_at is not None:
            return "cancelled"
        if code == 0:
            return "ok"
        if (code == -signal.SIGKILL and oom) or says_out_of_memory(tail):
            return "oom"
        if code < 0:
            return "signal"
        return "setup" if kind == "model" and code == SETUP_EXIT else "exit"


def wakeup_pipe(on_term: Callable[..., None]) -> int:
    """A descriptor that becomes readable at every signal; SIGTERM also calls `on_term`."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read


def launch_argv(launch: dict[str, object]) -> list[str]:
    """The command line in launch.json."""
    argv = launch["argv"]
    assert isinstance(argv, list)
    return [str(word) for word in argv]


def spawn(launch: dict[str, object], job_dir: Path) -> subprocess.Popen[bytes]:
    """Start the child in its own group. Engines start beside the package, commands in JOB_DIR."""
    extra, spec = launch["env"], launch["spec"]
    assert isinstance(extra, dict)
    assert isinstance(spec, dict)
    root = Path(__file__).parent.parent if launch["kind"] == "model" else job_dir
    return subprocess.Popen(
        launch_argv(launch),
        cwd=str(spec.get("cwd") or root),
        env={**os.environ, **extra, JOB_DIR: str(job_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        bufsize=0,
    )


def reaped(child: int) -> tuple[int, "resource.struct_rusage"] | None:
    """(wait status, usage) of the child once it has ended; adopted orphans are only taken away."""
    while True:
        try:
            ended, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == child:
            return status, usage
        if ended == 0:
            return None


def oom_kills() -> int:
    """How often the kernel has killed for memory since boot; 0 where it doesn't say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def explain(reason: str, code: int, words: str) -> str:
    """One line for people."""
    if reason == "ok":
        return ""
    if reason == "cancelled":
        return "cancelled"
    if reason == "setup" and words:
        return words
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{how}: {words}" if words else how


def result(
    code: int,
    started_ms: int,
    duration_ms: int,
    paused_ms: int,
    peak: int,
    reason: str,
    text: str,
) -> dict[str, object]:
    """result.json"""
    return {
        "exit_code": code,
        "started_ms": started_ms,
        "ended_ms": started_ms + duration_ms,
        "duration_ms": duration_ms,
        "paused_ms": paused_ms,
        "peak_memory_bytes": peak,
        "reason": reason,
        "text": text,
    }


def detach() -> bool:
    """Leave the parent for good; True in the process that goes on."""
    if os.fork():
        return False
    os.setsid()
    return True


def main(argv: list[str]) -> int:
    """`--detach JOB_DIR` returns at once and runs on alone; `JOB_DIR` runs in place."""
    if argv[:1] == ["--detach"]:
        if not detach():
            return 0
        argv = argv[1:]
    if len(argv) != 1:
        print("usage: python -m providers.runner [--detach] JOB_DIR", file=sys.stderr)
        return 2
    return Runner(Path(argv[0])).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
