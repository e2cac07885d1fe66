"""A new user's path in fresh environments, with the wheel at hand: each step timed. argv: [WHEEL].

What is downloaded is timed apart, and then nothing is: pip installs from that folder alone. Each
machine has an environment, a home and, where the kernel lets us, a network namespace of its own.
Ends with 1 where a stage takes longer than a newcomer is promised.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from mesh.cli.machines.extras import PACKAGE
from tests.netns.lab import Lab, NoNamespaces
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

ROOT = Path(__file__).parent.parent
WANTED = f"{PACKAGE}[llamacpp]"
MODEL = "llama-3.1-8b"
STAGE_S = 60.0  # of the promise: a plan within it, a second machine within another, a chat likewise
STAGES = ("plan answered", "second machine paired", "first chat")
# Without namespaces both machines are this one: loopback alone, on free ports.
LOOPBACK = {
    "FLEET_LISTEN": "127.0.0.1", "FLEET_DISCOVERY": "", "FLEET_MESH_PORT": "0",
    "FLEET_PAIRING_PORT": "0", "FLEET_GATEWAY_PORT": "0",
}  # fmt: skip


class Clock:
    """Steps with their seconds, in the order in which they were done."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float]] = []

    @contextmanager
    def step(self, stage: str, what: str) -> Iterator[None]:
        print(f"{stage}: {what} …", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        yield
        self.rows.append((stage, what, time.perf_counter() - begun))

    def of(self, stage: str) -> float:
        return sum(seconds for one, _, seconds in self.rows if one == stage)


class Machine:
    """A newcomer's: an environment and a home, nothing of ours and nothing of this user's."""

    def __init__(
        self, folder: Path, inside: Callable[..., list[str]], more: Mapping[str, str]
    ) -> None:
        self.folder, self._inside = folder, inside
        (folder / "home").mkdir(parents=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        self._env = {**kept, "HOME": str(folder / "home"), "FLEET_HOME": str(folder / "fleet")}
        self._env |= {"FLEET_NAME": folder.name, "NO_COLOR": "1", **more}

    def run(self, *words: object, check: bool = True) -> str:
        done = subprocess.run(
            self._inside(*map(str, words)), env=self._env, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise SystemExit(f"newcomer: {words} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def fleet(self, *words: object, check: bool = True) -> str:
        return self.run(self.folder / "venv" / "bin" / "fleet", *words, check=check)

    def install(self, wheels: Path) -> None:
        python = self.folder / "venv" / "bin" / "python"
        self.run(python, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", wheels,
                 "--disable-pip-version-check", WANTED)  # fmt: skip

    def sees(self, name: str) -> bool:
        rows = json.loads(self.fleet("peers", "-o", "json"))
        rows = rows["peers"] if isinstance(rows, dict) else rows
        return any(row["name"] == name and row["state"] == "online" for row in rows)

    def end(self) -> None:
        """Its daemon, and whatever that left running: by pid, and only what has this home."""
        if (self.folder / "fleet" / "daemon.json").exists():
            self.fleet("down", check=False)
        mine = [one for one in psutil.process_iter() if self._is_mine(one)]
        for one in mine:
            one.terminate()
        for one in psutil.wait_procs(mine, timeout=20)[1]:
            one.kill()

    def _is_mine(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("FLEET_HOME") == self._env["FLEET_HOME"]
        except (psutil.Error, OSError):
            return False


def built(folder: Path) -> Path:
    """A pure wheel of this checkout, made in a copy: what a build leaves behind is not ours."""
    copy = folder / "checkout"
    copy.mkdir()
    files = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x"], cwd=copy, check=True, input=files.stdout)
    words = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "..", "."]
    env = os.environ | {"FLEET_COMPILE": "0"}
    subprocess.run([sys.executable, "-m", *words], cwd=copy, check=True, env=env)
    shutil.rmtree(copy)
    return next(folder.glob("*.whl"))


def download(wheel: Path, wheels: Path) -> None:
    words = ["pip", "download", "--quiet", "--disable-pip-version-check", "-d", str(wheels)]
    wanted = f"{wheel}[llamacpp]"
    subprocess.run([sys.executable, "-m", *words, wanted], check=True)


@contextmanager
def machines(folder: Path) -> Iterator[tuple[Machine, Machine, str]]:
    """Two machines and how they are apart; what runs on them is ended at the end."""
    lab, made = Lab(folder, 2), []
    try:
        try:
            lab.build()
            how = "a network namespace each, on one bridge; found by mDNS"
            ways = [(host.inside, {}) for host in lab.hosts]
        except NoNamespaces as error:
            how = f"loopback alone, for there are no namespaces: {error}"
            ways = [(lambda *words: list(words), LOOPBACK)] * 2
        for name, (inside, more) in zip(("first", "second"), ways, strict=True):
            made.append(Machine(folder / name, inside, more))
        yield made[0], made[1], how
    finally:
        for one in made:
            one.end()
        lab.close()


def walk(clock: Clock, first: Machine, second: Machine, wheels: Path, model: Path) -> None:
    plan, pair, talk = STAGES
    with clock.step(plan, "an empty environment"):
        first.run(sys.executable, "-m", "venv", first.folder / "venv")
    with clock.step(plan, "pip install, offline"):
        first.install(wheels)
    with clock.step(plan, f"fleet plan {MODEL}, on a card nobody owns"):
        first.fleet("plan", MODEL, "--what-if", "RTX 4090")
    with clock.step(pair, "fleet up --detach"):
        first.fleet("up", "--detach")
    with clock.step(pair, "there: an empty environment"):
        second.run(sys.executable, "-m", "venv", second.folder / "venv")
    with clock.step(pair, "there: pip install, offline"):
        second.install(wheels)
    with clock.step(pair, "there: fleet up --detach"):
        second.fleet("up", "--detach")
    with clock.step(pair, "fleet invite, there: fleet join CODE"):
        code = json.loads(first.fleet("invite", "-o", "json"))["code"]
        second.fleet("join", code)
    with clock.step(pair, "until each sees the other online"):
        wait_until(lambda: first.sees("second") and second.sees("first"), "each to see the other")
    with clock.step(talk, "fleet chat, which loads the model"):
        said = json.loads(first.fleet("chat", model, "-p", "Hello", "--tokens", "16", "-o", "json"))
    if not said["usage"]["completion_tokens"]:
        raise SystemExit("newcomer: the model answered nothing")


def show(clock: Clock, how: str, sizes: str) -> bool:
    """The table as Markdown; whether each stage was within its minute."""
    here = f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}"
    print(f"{here}; {psutil.getloadavg()[1]:.1f} programs at work in the last 5 minutes")
    print(f"machines: {how}; {sizes}\n\n| stage | step | s |\n|---|---|---|")
    for stage, what, seconds in clock.rows:
        print(f"| {stage} | {what} | {seconds:.1f} |")
    print("\n| stage | s | promised |\n|---|---|---|")
    for stage in STAGES:
        print(f"| {stage} | {clock.of(stage):.1f} | {STAGE_S:.0f} |")
    return all(clock.of(stage) <= STAGE_S for stage in STAGES)


def main(given: str | None) -> bool:
    with tempfile.TemporaryDirectory(prefix="fleet-newcomer-") as text:
        folder, clock = Path(text), Clock()
        wheels, model = folder / "wheels", folder / "tiny.gguf"
        write_tiny_gguf(model, layers=8, hidden=512, ffn=1536, heads=8, kv_heads=2)
        with clock.step("before", "the wheel" if given else "the wheel, built pure"):
            wheel = Path(given).resolve() if given else built(folder)
        with clock.step("before", "download of all it needs, llama.cpp included"):
            download(wheel, wheels)
        total = sum(path.stat().st_size for path in wheels.iterdir())
        sizes = f"{len([*wheels.iterdir()])} wheels of {total / 1e6:.0f} MB"
        with machines(folder) as (first, second, how):
            walk(clock, first, second, wheels, model)
        return show(clock, how, sizes)


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1] if len(sys.argv) > 1 else None) else 1)
