"""Attempts on a host of sshd alone: started once, logged, ended whole, whatever breaks in
between."""

import ast
import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from providers.base import Launch, Outcome, ProviderError, Taken
from providers.ssh.attempts import SshAttempts
from tests.providers.ssh.conftest import Reaches
from tests.support.sshd import Sshd

PYTHON = "/usr/bin/python3"
LIMIT_S = 60.0
WAYS = {"python": {"python": PYTHON}, "shell": {}, "namespace": {"wrap": True}}
NASTY = [
    "a b",
    "",
    " ",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "--",
    "-e",
    "\\n",
    "\\",
    "\\\\",
    "é\t*",
    "*",
    "?",
    "[a-z]*",
    '"',
    "'",
    "''",
    "a\nb",
    "\n",
    "!!",
    "!-1",
    "%PATH%",
    "%s%n",
    "$HOME",
    "${IFS}",
    "$'\\x41'",
    "~",
    "~root",
    "#x",
    "# y",
    ";",
    "&",
    "|",
    "||",
    "&&",
    ">pwned",
    "<x",
    ">>pwned",
    "2>&1",
    "(touch pwned)",
    "{a,b}",
    "A=B",
    "$(",
    "`",
    "${",
    "EOF",
    "EOX\ntouch pwned",
    "\r",
    "\r\n",
    "\x01\x7f",
    "\x1b[2J",
    "\u202e",
    "𝛑",
    "\udcff",
    "$((1/0))",
    "@@",
    "\n@@0-0\n",
    "if",
    "exec",
    "unset D",
    "x" * 70_000,
]


async def until(true: Callable[[], Awaitable[object]], limit_s: float = LIMIT_S) -> object:
    """Wait for a condition; what it gave."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if (found := await true()) not in (None, False):
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to be")


async def ended(attempts: SshAttempts, job: str, attempt: int = 0) -> Outcome:
    found = await until(lambda: attempts.poll(job, attempt))
    assert isinstance(found, Outcome)
    return found


async def says(attempts: SshAttempts, job: str, text: bytes) -> None:
    async def said() -> bool:
        return text in (await attempts.read(job, 0, "log.txt", 0, 4096))[0]

    await until(said)


def launch(job: str, *argv: str, attempt: int = 0, **more: object) -> Launch:
    return Launch(job_id=job, attempt=attempt, kind="command", argv=argv, **more)  # type: ignore[arg-type]


def jobs_folder(sshd: Sshd, account: str) -> Path:
    (found,) = (sshd.home(account) / ".local/state/fleet-ledger").glob("*/jobs")
    return found


def sleepers(seconds: str) -> list[int]:
    """Living processes that sleep so long, as a job here tells its own from others'."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:1] == [b"sleep"] and words[1:2] == [seconds.encode()]:
            found.append(int(folder.name))
    return found


def drop_locks(card: str) -> None:
    """Remove the lock files of cards that sysfs doesn't have."""
    for path in Path("/tmp").glob(f".fleet-ledger-{card}*.lock"):
        path.unlink()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_sixty_nasty_arguments_arrive_byte_for_byte_and_run_nothing(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account(f"nasty-{way}")), **WAYS[way])  # type: ignore[arg-type]
    assert len(NASTY) >= 60
    program = ["sh", "-c", 'printf "%s\\0" "$@"; printf "%s\\0" "$NASTY"; exit 7', "x"]
    await attempts.start(launch("n1", *program, *NASTY, env={"NASTY": NASTY[4], "PATHS": "a:b"}))
    outcome = await ended(attempts, "n1")
    assert (outcome.reason, outcome.exit_code) == ("exit", 7)
    wanted = "\0".join([*NASTY, NASTY[4], ""]).encode("utf-8", "surrogateescape")
    assert (await attempts.read("n1", 0, "log.txt", 0, 1_000_000))[0] == wanted
    assert [*sshd.folder.rglob("pwned")] == []


@pytest.mark.parametrize("sh", ["/bin/dash", "/bin/bash", "/bin/busybox", "/usr/bin/zsh"])
async def test_the_shells_supervisor_is_right_under_every_sh(
    sshd: Sshd, reaches: Reaches, sh: str
) -> None:
    name = f"sup-{Path(sh).name}"
    attempts = SshAttempts(reaches.to(sshd.account(name, sh=sh)), grace_s=1)
    await attempts.start(launch("ok", "sh", "-c", "echo out; echo err >&2"))
    outcome = await ended(attempts, "ok")
    assert (outcome.reason, outcome.exit_code) == ("ok", 0)
    assert sorted(((await attempts.read("ok", 0, "log.txt", 0, 99))[0]).split()) == [b"err", b"out"]
    await attempts.start(launch("dies", "sh", "-c", "kill -9 $$"))
    assert (await ended(attempts, "dies")).reason == "signal"
    await attempts.start(launch("long", "sh", "-c", "echo up; sleep 1111"))
    await says(attempts, "long", b"up")
    await attempts.cancel("long", 0)
    assert (await ended(attempts, "long")).reason == "cancelled"


async def test_the_python_supervisor_tells_code_from_signal_and_measures_memory(
    sshd: Sshd, reaches: Reaches
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("measures")), python=PYTHON)
    await attempts.start(launch("code", "sh", "-c", "exit 137"))
    await attempts.start(launch("killed", "sh", "-c", "kill -9 $$"))
    code, killed = await ended(attempts, "code"), await ended(attempts, "killed")
    assert (code.reason, code.exit_code) == ("exit", 137)
    assert (killed.reason, killed.exit_code) == ("signal", -9)
    await attempts.start(launch("eats", PYTHON, "-c", "x = b'1' * 50_000_000"))
    assert (await ended(attempts, "eats")).peak_memory_bytes > 50_000_000
    await attempts.start(
        launch("tells", "sh", "-c", "echo a; echo CUDA error: out of memory; exit 1")
    )
    outcome = await ended(attempts, "tells")
    assert (outcome.reason, outcome.text) == ("oom", "CUDA error: out of memory")


@pytest.mark.parametrize("way", ["python", "shell"])
async def test_of_many_racing_starts_by_two_peers_one_runs(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    host = sshd.account(f"race-{way}")
    peers = [SshAttempts(reaches.to(host), **WAYS[way]) for _ in range(2)]  # type: ignore[arg-type]
    for round_ in range(5):
        job = launch(f"race{round_}", "sh", "-c", "echo ran >>../ran; sleep 0.2")
        handles = await asyncio.gather(*(one.start(job) for one in (*peers, *peers)))
        assert len({(one.pid, one.start_ticks, one.boot_id) for one in handles}) == 1
        await ended(peers[0], job.job_id)
        folder = jobs_folder(sshd, host.name) / f"{job.job_id}.0"
        assert (folder / "ran").read_text() == "ran\n"
        assert (await peers[1].start(job)).pid == handles[0].pid  # and again, after its end
        assert (folder / "ran").read_text() == "ran\n"


@pytest.mark.parametrize("way", ["python", "shell"])
async def test_a_card_is_booked_once_also_by_two_peers_and_outlives_its_supervisor(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    card = f"test-{way}-{os.getpid()}:00.0"
    first, second = (
        SshAttempts(reaches.to(sshd.account(f"{who}-{way}")), grace_s=1, **WAYS[way])  # type: ignore[arg-type]
        for who in ("lock1", "lock2")
    )
    handle = await first.start(
        launch("holds", "sh", "-c", "sleep 2222 & sleep 2223", locks=(card,))
    )
    with pytest.raises(Taken, match=card):
        await second.start(launch("wants", "true", locks=(card,)))
    os.kill(handle.pid, signal.SIGKILL)
    await until_async(lambda: not alive(handle.pid))
    with pytest.raises(Taken, match=card):  # the job lives, and so does its lock
        await second.start(launch("wants", "true", locks=(card,)))
    assert await first.poll("holds", 0) is None
    await first.cancel("holds", 0)
    assert (await ended(first, "holds")).reason == "cancelled"
    await second.start(launch("wants", "true", locks=(card,)))  # it never began: the same again
    assert (await ended(second, "wants")).reason == "ok"
    drop_locks(card)


async def until_async(true: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return true()

    await until(asked)


async def test_two_slices_of_a_card_are_two_and_the_whole_card_waits_for_both(
    sshd: Sshd, reaches: Reaches
) -> None:
    card = f"mig-{os.getpid()}"
    attempts = SshAttempts(reaches.to(sshd.account("slices")), python=PYTHON, grace_s=1)
    for one in ("a", "b"):
        await attempts.start(launch(one, "sleep", "3333", locks=(f"{card}/{card}{one}",)))
    assert [await attempts.poll(one, 0) for one in ("a", "b")] == [None, None]
    for name, lock in (("again", f"{card}/{card}a"), ("whole", card)):
        with pytest.raises(Taken):
            await attempts.start(launch(name, "true", locks=(lock,)))
    for one in ("a", "b"):
        await attempts.cancel(one, 0)
        await ended(attempts, one)
    drop_locks(card)


TREE = r"""trap "" TERM
sleep 4441 & setsid sh -c 'trap "" TERM; sleep 4441; sleep 4441' &
(setsid sh -c 'i=0; while [ $i -lt 400 ]; do setsid sleep 4441 & i=$((i+1)); sleep 0.05; done' &)
echo up; sleep 4441"""
ESCAPEE = "setsid env -i /bin/sh -c 'trap \"\" TERM HUP; while :; do sleep 4442; done' &\n"


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_cancel_ends_the_whole_tree_within_twelve_seconds(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account(f"tree-{way}")), **WAYS[way])  # type: ignore[arg-type]
    escapes = ESCAPEE if way != "shell" else ""  # a shell alone can't see it: docs/measurements
    await attempts.start(launch("tree", "sh", "-c", escapes + TREE))
    await says(attempts, "tree", b"up")
    begun = time.monotonic()
    await attempts.cancel("tree", 0)
    assert time.monotonic() - begun < 2
    assert (await ended(attempts, "tree")).reason == "cancelled"
    took = time.monotonic() - begun
    assert (sleepers("4441"), sleepers("4442")) == ([], [])
    assert took < 12


@pytest.mark.parametrize("way", sorted(WAYS))
async def test_term_is_heard_once_and_an_obedient_job_ends_at_once(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account(f"once-{way}")), **WAYS[way])  # type: ignore[arg-type]
    text = "while [ $i -lt 6 ]; do i=$((i+(i>0))); sleep 0.1; done"
    trap = "i=0; trap 'echo heard; i=1' TERM; echo up; "
    await attempts.start(launch("hears", "sh", "-c", trap + text))
    await says(attempts, "hears", b"up")
    begun = time.monotonic()
    await attempts.cancel("hears", 0)
    await ended(attempts, "hears")
    assert time.monotonic() - begun < 7
    log = (await attempts.read("hears", 0, "log.txt", 0, 99))[0]
    assert log.count(b"heard") == 1


async def test_a_cancel_that_comes_before_the_start_wins(sshd: Sshd, reaches: Reaches) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("early")))
    await attempts.cancel("early", 0)
    await attempts.start(launch("early", "sh", "-c", "echo ran >>../ran"))
    assert (await ended(attempts, "early")).reason == "cancelled"
    assert not (jobs_folder(sshd, "early") / "early.0" / "ran").exists()


@pytest.mark.parametrize("way", ["python", "shell"])
async def test_a_paused_job_stands_still_and_can_be_cancelled(
    sshd: Sshd, reaches: Reaches, way: str
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account(f"pause-{way}")), grace_s=3, **WAYS[way])  # type: ignore[arg-type]
    text = "trap 'exit 3' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    await attempts.start(launch("counts", "sh", "-c", text))
    await says(attempts, "counts", b"2")
    assert await attempts.pause("counts", 0)
    before = (await attempts.read("counts", 0, "log.txt", 0, 1_000_000))[0]
    await asyncio.to_thread(os.sched_yield)
    for _ in range(5):
        assert (await attempts.read("counts", 0, "log.txt", 0, 1_000_000))[0] == before
    assert await attempts.resume("counts", 0)

    async def grew() -> bool:
        return len((await attempts.read("counts", 0, "log.txt", 0, 1_000_000))[0]) > len(before)

    await until(grew)
    assert await attempts.pause("counts", 0)
    begun = time.monotonic()
    await attempts.cancel("counts", 0)
    outcome = await ended(attempts, "counts")
    assert outcome.reason == "cancelled"
    assert 0 < outcome.paused_ms <= outcome.duration_ms
    assert time.monotonic() - begun < 12
    assert not await attempts.pause("counts", 0)


async def test_a_job_and_its_log_survive_cut_links_and_a_restart_of_sshd_and_of_us(
    own_sshd: Sshd, reaches: Reaches
) -> None:
    host = own_sshd.account("cuts")
    text = "i=0; while [ $i -lt 150 ]; do i=$((i+1)); echo line $i; sleep 0.02; done"
    await SshAttempts(reaches.to(host), python=PYTHON).start(launch("talks", "sh", "-c", text))
    got, breaks = b"", 0
    reach = reaches.to(host)
    attempts = SshAttempts(reach, python=PYTHON)  # another daemon, which knows only the id
    while (outcome := await attempts.poll("talks", 0)) is None or len(got) < log_size(own_sshd):
        try:
            got += (await attempts.read("talks", 0, "log.txt", len(got), 500))[0]
        except ProviderError:
            reach.retry()
        if breaks < 3 and len(got) > 300 * (breaks + 1):
            breaks += 1
            own_sshd.cut()
            if breaks == 2:
                own_sshd.stop()
                own_sshd.start()
    disk = (jobs_folder(own_sshd, "cuts") / "talks.0" / "log.txt").read_bytes()
    assert (breaks, got == disk, disk.count(b"\n")) == (3, True, 150)
    assert outcome.reason == "ok"


def log_size(sshd: Sshd) -> int:
    return (jobs_folder(sshd, "cuts") / "talks.0" / "log.txt").stat().st_size


async def test_an_attempt_nobody_started_is_known_to_be_none_and_ended_ones_are_forgotten(
    sshd: Sshd, reaches: Reaches
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("forgets")), grace_s=1)
    with pytest.raises(ProviderError, match="holds nothing of never"):
        await attempts.poll("never", 0)
    await attempts.start(launch("runs", "sleep", "5555"))
    with pytest.raises(ProviderError, match="running still"):
        await attempts.forget("runs", 0)
    await attempts.cancel("runs", 0)
    await ended(attempts, "runs")
    await attempts.forget("runs", 0)
    assert [*jobs_folder(sshd, "forgets").iterdir()] == []


async def test_a_supervisor_that_vanished_with_its_job_is_lost(
    sshd: Sshd, reaches: Reaches
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("lost")))
    handle = await attempts.start(launch("dies", "sleep", "6666"))
    os.kill(handle.pid, signal.SIGKILL)
    for pid in sleepers("6666"):
        os.kill(pid, signal.SIGKILL)
    assert (await ended(attempts, "dies")).reason == "lost"


async def test_outputs_are_read_by_name_and_nothing_outside_of_the_folder(
    sshd: Sshd, reaches: Reaches
) -> None:
    attempts = SshAttempts(reaches.to(sshd.account("reads")))
    await attempts.start(
        launch("writes", "sh", "-c", "mkdir 'a b'; printf '\\0\\1\\n' >'a b/out.bin'")
    )
    await ended(attempts, "writes")
    assert (await attempts.read("writes", 0, "a b/out.bin", 0, 99))[0] == b"\0\1\n"
    assert (await attempts.read("writes", 0, "a b/out.bin", 1, 1))[0] == b"\1"
    assert (await attempts.read("writes", 0, "absent", 0, 99))[0] == b""
    for name in ("../cmd", "/etc/passwd", "a/../../cmd", "", ".", "x\ny"):
        with pytest.raises(ProviderError, match="no file of a job"):
            (await attempts.read("writes", 0, name, 0, 99))[0]


def test_the_hosts_program_holds_to_what_python_3_6_knows() -> None:
    ast.parse(Path("providers/ssh/host/supervise.py").read_text(), feature_version=(3, 6))
