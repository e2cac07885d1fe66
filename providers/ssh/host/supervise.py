"""Supervises one attempt on a host that has Python 3.6 or later; attempt.sh says what its files
mean.

usage: python3 -I supervise.py FOLDER MARKER GRACE_S [LOCK ...]

It sees what a shell can't: exit code and signal apart, peak memory, and every descendant, whatever
session it fled to and whatever it did to its environment.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36  # orphans of the job become ours, so that none is out of sight
LOOK_S = 0.1
ROUNDS = 40  # of KILL against a storm of forks, 0.05 s apart
SYSFS = {"cpu": "/sys/devices/system/cpu/possible"}


def read(path: str) -> str:
    """A small file's text; "" where there is none."""
    try:
        with open(path, errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


BOOT = read("/proc/sys/kernel/random/boot_id").strip()


def fields(pid: int) -> "list[str]":
    """/proc/PID/stat from the state on; a name may hold parentheses."""
    return read("/proc/%d/stat" % pid).rpartition(")")[2].split()  # noqa: UP031


def triple(pid: int) -> str:
    """What names a process for good: pid, start, boot."""
    found = fields(pid)
    return "%d %s %s" % (pid, found[19] if len(found) > 19 else 0, BOOT)  # noqa: UP031


def write(name: str, text: str, *, link: bool = False) -> None:
    """A whole file or none; `link`: FileExistsError where there is one."""
    draft = ".%s.%d" % (name, os.getpid())  # noqa: UP031
    with open(draft, "w") as file:  # noqa: PTH123
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, name) if link else os.rename(draft, name)  # noqa: PTH104
    finally:
        if link:
            os.unlink(draft)  # noqa: PTH108


def ours(mark: str) -> "set[int]":
    """Every descendant, and every process of this user that carries the marker."""
    children = {}  # type: dict[int, list[int]]
    found = set()
    wanted = ("FLEET_ATTEMPT=" + mark).encode()
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:  # noqa: PTH208
        stat = fields(pid)
        if not stat or stat[0] in "ZX":
            continue
        children.setdefault(int(stat[1]), []).append(pid)
        try:
            with open("/proc/%d/environ" % pid, "rb") as file:  # noqa: PTH123, UP031
                if wanted in file.read().split(b"\0"):
                    found.add(pid)
        except OSError:
            pass
    todo = [os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), []):
            found.add(pid)
            todo.append(pid)
    return found - {os.getpid()}


def tell(mark: str, number: int) -> None:
    """Signal everyone once."""
    for pid in ours(mark):
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def lock_file(name: str) -> str:
    """What is locked for a name; a file of our own where sysfs has none."""
    path = SYSFS.get(name, "/sys/bus/pci/devices/%s/vendor" % name)  # noqa: UP031
    if os.path.exists(path):  # noqa: PTH110
        return path
    path = "/tmp/.fleet-ledger-%s.lock" % name  # noqa: UP031
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        os.chmod(path, 0o644)  # noqa: PTH101
    return path


def take(name: str, kind: int) -> None:
    """Take a lock that the job inherits; OSError where somebody has it."""
    held = os.open(lock_file(name), os.O_RDONLY | os.O_NOFOLLOW)
    os.set_inheritable(held, True)  # noqa: FBT003
    fcntl.flock(held, kind | fcntl.LOCK_NB)


def take_all(names: "list[str]") -> str:
    """Take every lock; else the name of what is taken."""
    for name in sorted(names):
        card, slash, part = name.partition("/")
        try:
            take(card, fcntl.LOCK_SH if slash else fcntl.LOCK_EX)
        except OSError:
            return "card %s is taken%s" % (card, holder(card))  # noqa: UP031
        try:
            if slash:
                take(part, fcntl.LOCK_EX)
        except OSError:
            return "slice %s is taken%s" % (part, holder(part))  # noqa: UP031
    return ""


def holder(name: str) -> str:
    """Who the kernel says holds a lock; never learned by taking it."""
    inode = ":%d" % os.stat(lock_file(name)).st_ino  # noqa: PTH116, UP031
    for line in read("/proc/locks").splitlines():
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(inode):
            return " by process %s" % words[4]  # noqa: UP031
    return ""


def plain_signals() -> None:
    """In the job's process: what we block or ignore is not the job's."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


class Job:
    """The job's processes and what became of them."""

    def __init__(self, mark: str, grace: float) -> None:
        self.mark = mark
        self.grace = grace
        self.stop_at = 0.0
        self.asked = 0
        self.held_at = 0.0  # since when it stands still; 0 = it runs
        self.held_s = 0.0
        self.status = None  # type: int | None
        self.peak_kib = 0
        self.cpu_s = 0.0
        self.began = time.monotonic()
        self.began_ms = int(time.time() * 1000)
        self.ooms = self.kernel_ooms()
        self.pid = 0

    @staticmethod
    def kernel_ooms() -> int:
        """How often the kernel killed for want of memory since it booted."""
        for line in read("/proc/vmstat").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
        return 0

    def start(self) -> None:
        """Run the job's script in a session of its own."""
        with open("log.txt", "ab", buffering=0) as log:  # noqa: PTH123
            # Kept: one that is thrown away takes the child's status with it.
            self.process = subprocess.Popen(
                ["/bin/sh", "./cmd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                close_fds=False,
                preexec_fn=plain_signals,
                env=dict(os.environ, FLEET_ATTEMPT=self.mark),
            )
        self.pid = self.process.pid
        write("child", triple(self.pid))

    def hear(self, number: int, _: object) -> None:
        """TERM: cancel. USR1 and USR2: pause and go on."""
        if number == signal.SIGTERM:
            self.stop_at = self.stop_at or time.monotonic()
        else:
            self.asked = signal.SIGSTOP if number == signal.SIGUSR1 else signal.SIGCONT

    def obey(self) -> None:
        """Do what was asked since the last look."""
        if self.asked:
            tell(self.mark, self.asked)
            if self.asked == signal.SIGSTOP:
                write("paused", "")
                self.held_at = self.held_at or time.monotonic()
            else:
                self.go_on()
            self.asked = 0

    def go_on(self) -> None:
        """It stands still no more."""
        if self.held_at:
            self.held_s += time.monotonic() - self.held_at
            self.held_at = 0.0
        if os.path.exists("paused"):  # noqa: PTH110
            os.unlink("paused")  # noqa: PTH108

    def reap(self) -> None:
        """Take in what ended."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except OSError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                self.status = status
            self.peak_kib = max(self.peak_kib, used.ru_maxrss)
            self.cpu_s += used.ru_utime + used.ru_stime

    def watch(self) -> None:
        """Until the job's first process ended."""
        told = False
        while self.status is None:
            self.obey()
            if self.stop_at and not told:
                told = True
                tell(self.mark, signal.SIGTERM)  # once each: to many engines a second means "now"
                tell(self.mark, signal.SIGCONT)
            if self.stop_at and time.monotonic() - self.stop_at > self.grace:
                tell(self.mark, signal.SIGKILL)
            signal.sigtimedwait([signal.SIGCHLD], LOOK_S)
            self.reap()

    def clear(self) -> None:
        """Nothing of the job outlives it; after a cancel its grace is everybody's."""
        end = self.stop_at + self.grace if self.stop_at else 0.0
        while time.monotonic() < end and ours(self.mark):
            time.sleep(LOOK_S)
            self.reap()
        for _ in range(ROUNDS):
            if not ours(self.mark):
                return
            tell(self.mark, signal.SIGKILL)
            time.sleep(0.05)
            self.reap()

    def book(self) -> None:
        """Leave how it ended; the rename needs no free disk block."""
        self.go_on()
        wall_ms = int((time.monotonic() - self.began) * 1000)
        held_ms = int(self.held_s * 1000)
        cpu_ms, peak = int(self.cpu_s * 1000), self.peak_kib * 1024
        status = self.status or 0
        code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        why = "cancelled" if self.stop_at else "signal" if os.WIFSIGNALED(status) else "exit"
        if why == "signal" and code == signal.SIGKILL and self.kernel_ooms() > self.ooms:
            why = "oom"
        with contextlib.suppress(OSError):
            used = (self.began_ms, wall_ms, cpu_ms, peak, held_ms)
            write("usage", "%d %d %d %d %d" % used)  # noqa: UP031
        os.rename("child", "ended.%s.%d" % (why, code))  # noqa: PTH104, UP031


def main(folder: str, mark: str, grace: float, locks: "list[str]") -> int:
    """0 once the job's end is booked, 3 where another supervisor has it, 1 where it can't start."""
    os.chdir(folder)
    os.umask(0o077)
    job = Job(mark, grace)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, job.hear)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        write("claim", triple(os.getpid()), link=True)
    except FileExistsError:
        return 3
    if job.stop_at:  # a cancel came while we came up: it runs for no time
        os.link("claim", "ended.cancelled.0")
        return 0
    taken = take_all(locks)
    if taken:
        write("why", taken)
        os.link("claim", "ended.busy.75")
        return 1
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        job.start()
    except OSError as error:
        write("why", str(error))
        os.link("claim", "ended.setup.127")
        return 1
    job.watch()
    job.clear()
    job.book()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
