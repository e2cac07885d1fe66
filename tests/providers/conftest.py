"""A real small model, and a place for attempts where nothing is left running."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from providers import durable, local, process
from providers.base import Outcome
from tests.support.tiny_gguf import write_tiny_gguf

DEADLINE_S = 60.0


def write_model(path: Path, heads: int) -> Path:
    """4 layers, 128 wide, 2 KV heads, f16: 1.6 MiB of noise that llama.cpp runs."""
    pytest.importorskip("xllamacpp")
    write_tiny_gguf(path, heads=heads)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 heads of 16 numbers."""
    return write_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", heads=8)


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 heads of 32 numbers: one block of a quantised cache each."""
    return write_model(tmp_path_factory.mktemp("wide") / "wide.gguf", heads=4)


@pytest.fixture
def jobs_dir(tmp_path: Path) -> Iterator[Path]:
    """Whatever a test started here is dead afterwards."""
    jobs = tmp_path / "jobs"
    yield jobs
    for path in jobs.glob("*/*/runner.json"):
        runner = durable.read_json(path) or {}
        for name, born in (("child_pid", "child_ticks"), ("pid", "start_ticks")):
            pid, ticks = int(str(runner[name])), int(str(runner[born]))
            if process.alive(pid, ticks, str(runner["boot_id"])):
                os.kill(pid, signal.SIGKILL)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for the world, not for the clock."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


async def ended(folder: Path | str) -> Outcome:
    """The outcome, once there is one."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            outcome = local.poll(Path(folder))
            if outcome is not None:
                return outcome
            await asyncio.sleep(0.01)
