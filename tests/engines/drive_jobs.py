"""Jobs by engines' own servers: a prompt, a file of lines, and a server that is cancelled.

Real vLLM and MLX on the CPU, and stand-ins named so for Ollama and TGI, which can't be had from a
registry: those prove our side of their protocols, and the real clients prove the stand-ins.
"""

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from providers import durable, local
from providers.base import Outcome
from providers.engine.setup import Setup, launch

DEADLINE_S = 600.0
CLIENT_PACKAGES = ("ollama", "text-generation")
LINES: list[dict[str, object]] = [
    *({"line": i, "id": f"q{i}", "prompt": f"say {i}", "max_tokens": 8} for i in range(1, 12)),
    {"line": 12, "id": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8},
    {"line": 13, "id": "long", "prompt": "word " * 9000, "max_tokens": 8},
]


async def run_job(
    setup: Setup, task: str, jobs: Path, **work: object
) -> tuple[Outcome, Path, float]:
    """One job to its end, and how long it took."""
    job_id = f"{setup.engine.replace('.', '')}-{task}-{time.monotonic_ns()}"
    begun = time.monotonic()
    made = launch(
        setup, job_id=job_id, attempt=1, python=sys.executable, task=task,  # type: ignore[arg-type]
        work={"tokens": 16, **work},
    )  # fmt: skip
    handle = await local.start(made, jobs)
    folder = Path(handle.job_dir)
    if task == "serve":
        await until(
            lambda: (folder / "answer.txt").exists() and (folder / "answer.txt").read_text()
        )
        await local.cancel(handle)
    outcome = await until(lambda: local.poll(folder))
    return outcome, folder, time.monotonic() - begun


async def until(look):  # type: ignore[no-untyped-def]
    """The first true value."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if found := look():
                return found
            await asyncio.sleep(0.05)


def row(
    engine: str, task: str, outcome: Outcome, folder: Path, wall_s: float, *, good: bool
) -> bool:
    """One line of what it came to."""
    found = durable.read_json(folder / "engine.json") or {}
    memory = found.get("memory")
    sizes = {k: v for k, v in memory.items() if v} if isinstance(memory, dict) else {}
    print(
        f"{engine:<18} {task:<7} {'ok ' if good else 'OFF'} ready {found.get('load_ms', '-')} ms, "
        f"{outcome.prompt_tokens} + {outcome.tokens_generated} tokens, "
        f"{outcome.decode_mtps / 1000:.1f} tok/s, {wall_s:.1f} s, {sizes}",
        flush=True,
    )
    if not good:
        print(f"  {outcome.reason}: {outcome.text}\n{(folder / 'log.txt').read_text()[-3000:]}")
    return good


async def drive(name: str, setup: Setup, jobs: Path) -> bool:
    """The three kinds of job of one engine."""
    outcome, folder, wall = await run_job(setup, "prompt", jobs, prompt="hello", ignore_eos=True)
    text = (folder / "answer.txt").read_text() if (folder / "answer.txt").exists() else ""
    good = outcome.reason == "ok" and outcome.tokens_generated == 32 and bool(text.strip())
    ok = row(name, "prompt", outcome, folder, wall, good=good)
    # MLX's server has no longest context: it would read 45,000 tokens on two cores.
    lines = [one for one in LINES if setup.engine != "mlx" or one["id"] != "long"]
    outcome, folder, wall = await run_job(setup, "lines", jobs, lines=lines)
    text = (folder / "answer.txt").read_text() if (folder / "answer.txt").exists() else ""
    rows = {one["id"]: one for one in map(json.loads, text.splitlines())}
    good = outcome.reason == "ok" and len(rows) == len(lines) and "text" in rows["chat"]
    good = good and all(rows[f"q{i}"]["tokens"] <= 8 for i in range(1, 12))
    print("  a line longer than the context:", str(rows.get("long"))[:160])
    ok &= row(name, "lines", outcome, folder, wall, good=good)
    outcome, folder, wall = await run_job(setup, "serve", jobs)
    states = [
        json.loads(line)["state"] for line in (folder / "answer.txt").read_text().splitlines()
    ]
    good = outcome.reason == "cancelled" and states == ["serving", "stopped"]
    return ok & row(name, "serve", outcome, folder, wall, good=good)


def with_path(folder: Path) -> None:
    """Programs of this folder are found first, by what is started from now on."""
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def drive_real(engine: str, python: Path, model: Path, jobs: Path) -> bool:
    """A real engine out of its own environment."""
    with_path(python.parent)
    setup = Setup(engine=engine, model_path=str(model), context=2048, parallel=2, kv_bytes=1 << 29)
    return asyncio.run(drive(f"{engine} (real, CPU)", setup, jobs))


def drive_llamacpp(gguf: Path, jobs: Path) -> bool:
    """The wheel's llama.cpp, and how long a thousand short lines take it."""
    setup = Setup(engine="llama.cpp", model_path=str(gguf), context=2048, parallel=4, threads=1)
    ok = asyncio.run(drive("llama.cpp (wheel)", replace(setup, parallel=2), jobs))
    lines = [{"line": i, "id": i, "prompt": f"say {i}", "max_tokens": 16} for i in range(1, 1001)]
    outcome, folder, wall = asyncio.run(run_job(setup, "lines", jobs, lines=lines))
    good = outcome.reason == "ok" and (folder / "answer.txt").read_text().count("\n") == 1000
    return ok & row("llama.cpp (wheel)", "1,000", outcome, folder, wall, good=good)


def stand_ins(folder: Path) -> None:
    """Programs under the engines' own names that start our stand-ins."""
    root = Path(__file__).parent.parent.parent
    for name, module in (("ollama", "ollama"), ("text-generation-launcher", "tgi")):
        path = folder / name
        path.write_text(
            f"#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} "
            f'-m tests.engines.stand_in_{module} "$@"\n'
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    with_path(folder)


def drive_stand_ins(clients: Path, gguf: Path, jobs: Path) -> bool:
    """Ollama and TGI as stand-ins, after the real clients have read them."""
    root = Path(__file__).parent.parent.parent
    asked = subprocess.run(
        [str(clients), str(Path(__file__).with_name("read_stand_ins.py")), sys.executable],
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    ok = asked.returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        stand_ins(Path(folder))
        setup = Setup(engine="ollama", model_path=str(gguf), context=2048, parallel=2)
        ok &= asyncio.run(drive("ollama (STAND-IN)", setup, jobs))
        ok &= asyncio.run(drive("tgi (STAND-IN)", replace(setup, engine="tgi"), jobs))
    return ok
