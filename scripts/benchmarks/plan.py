"""The planner's figures, compiled beside pure: medians of repeats, never asserted in a test.

Without an argument it measures both builds in processes of their own and prints one table; with
`--cpu` it is the least processor time instead, which a busy machine disturbs less. `--one` prints
the figures of the build on its own path as JSON.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / "build" / "compiled"
CPU = "--cpu"
Figure = tuple[str, str, float, float]  # (what, unit, median or least, worst)


def measure(what: str, unit: str, run: Callable[[], object], repeats: int, *, warm: bool) -> Figure:
    """Median (of processor time the least) and worst of `repeats` runs; `warm` runs once before."""
    if warm:
        run()
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit]
    clock = time.process_time if CPU in sys.argv else time.perf_counter
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append((clock() - start) * scale)
    return what, unit, min(times) if CPU in sys.argv else statistics.median(times), max(times)


def figures() -> list[Figure]:
    """Everything measured, with the mathcore on the path."""
    return [*_plans(), *_sweeps(), *_footprints(), *_headers()]


def _card(name: str, model: str, dollars: float, count: int = 1, **changes: object) -> object:
    from dataclasses import replace

    from mathcore.price import Rate
    from mesh.edge.planning import what_ifs

    made = what_ifs([f"{model} x{count}"])
    # One engine, as a described device had when the first figures were taken.
    device = replace(next(iter(made.values())), engines=("llama.cpp",))
    rate = Rate(hourly_nusd=int(dollars * 1e9)) if dollars else device.rate
    return replace(device, device_id=name, name=name, rate=rate, **changes)  # type: ignore[arg-type]


CARDS = (
    "RTX 4090",
    "RTX 3090",
    "RTX 5090",
    "A100 80GB",
    "H100",
    "L40S",
    "RTX A6000",
    "A40",
    "RTX 4080",
    "L4",
    "RTX 3060",
    "H200",
)


def _market(owned: int, offers: int) -> list[object]:
    """Owned devices, each with other free memory, and offers of a dozen cards at all prices."""
    mix = random.Random(7)
    gib, out = 1 << 30, []
    for i in range(owned):
        device = _card(f"own{i}", mix.choice(CARDS), 0.0, mix.choice((1, 1, 2, 4)))
        free = device.free_bytes - mix.randrange(4 * gib)  # type: ignore[attr-defined]
        out.append(
            _card(
                f"own{i}",
                device.model,
                0.0,
                device.count,  # type: ignore[attr-defined]
                free_bytes=free,
                ram_free_bytes=mix.randrange(8, 256) * gib,
                ram_bandwidth_bytes_per_s=60 * 10**9,
            )
        )
    kinds = {
        (model, count): _card("x", model, 1.0, count) for model in CARDS for count in (1, 2, 4, 8)
    }
    from dataclasses import replace

    from mathcore.price import Rate

    for i in range(offers):
        kind = kinds[mix.choice(CARDS), mix.choice((1, 1, 1, 2, 4, 8))]
        rate = Rate(hourly_nusd=mix.randrange(10**8, 20 * 10**9))
        out.append(replace(kind, device_id=f"offer{i}", name=f"offer{i}", rate=rate))  # type: ignore[type-var]
    return out


def _plans() -> list[Figure]:
    from dataclasses import replace

    from mathcore.api import Query, find_model, plan

    spec = find_model("llama-3-70b")
    assert spec is not None
    few, many = _market(5, 0), _market(200, 10_000)
    three = [replace(device, engines=("llama.cpp", "ollama", "vllm")) for device in few]  # type: ignore[type-var]
    asked = Query(model=spec, model_ref="m")
    alone = plan(replace(asked, sets=False), few)  # type: ignore[arg-type]
    seen: Any = {placed.device_id: _jobs(placed, 64) for placed in alone.placements}

    def ask(devices: list[object], **changes: object) -> Callable[[], object]:
        query = Query(model=spec, model_ref="m", **changes)  # type: ignore[arg-type]
        return lambda: plan(query, devices)  # type: ignore[arg-type]

    return [
        measure("plan, 5 devices", "ms", ask(few), 15, warm=True),
        measure("plan, 5 devices, no sets", "ms", ask(few, sets=False), 15, warm=True),
        measure("plan, 5 devices, Q4_K_M", "ms", ask(few, quant="Q4_K_M"), 15, warm=True),
        measure("plan, 5 devices, three engines", "ms", ask(three), 15, warm=True),
        measure(
            "plan, 5 devices, 64 jobs each", "ms", lambda: plan(asked, few, seen), 15, warm=True
        ),
        measure("plan, 200 owned + 10,000 offers", "ms", ask(many), 5, warm=True),
    ]


def _jobs(placed: Any, count: int) -> list[object]:
    """Finished jobs of different lengths and batches where a plan put one."""
    from dataclasses import replace

    from mathcore.speed.learning import Observation

    return [
        Observation(
            device=placed.device_id,
            key=f"llama-3-70b {placed.quant}",
            run=replace(
                placed.run,
                prompt=256 + 13 * i,
                depth=300.0 + 17 * i,
                generated=64 + i,
                batch=1 + i % 4,
            ),
            work=placed.work,
            load_s=3.0,
            first_s=0.2 + 0.01 * i,
            step_s=0.02 + 0.0001 * i * i,
        )
        for i in range(count)
    ]


def _sweeps() -> list[Figure]:
    from mathcore.api import Query, find_model
    from mathcore.planner.grids.arrays import Length
    from mathcore.planner.grids.closed import sweep

    out = []
    for name in ("llama-3.1-70b", "gemma3:27b"):
        spec = find_model(name)
        assert spec is not None
        lengths = [
            Length(context=2048 + 8 * i, prompt_tokens=512, tokens=256) for i in range(15_625)
        ]
        base = Query(model=spec, model_ref=name)
        device = _card("d", "RTX 3090", 0.0, 2)

        def run(base: Query = base, device: object = device) -> object:
            return sweep(base, [device], ["Q4_K_M"], list(range(1, 65)), lengths)  # type: ignore[list-item]  # noqa: B023

        out.append(measure(f"sweep, 1,000,000 cells, {name}", "s", run, 3, warm=False))
    return out


def _footprints() -> list[Figure]:
    from mathcore.api import find_model
    from mathcore.engines.footprint import ContextShape
    from mathcore.engines.llamacpp.compute_buffer import buffer_bytes
    from mathcore.engines.llamacpp.memory import SERVER, cache_groups, footprint, micro_batch_of
    from mathcore.quant.weights import weigh

    spec = find_model("llama-3-70b")
    assert spec is not None
    weights, cache = weigh(spec, "Q4_K_M"), cache_groups(spec)
    shape = ContextShape(context=8192, sequences=4)

    def known() -> None:
        for _ in range(100):
            footprint(spec, weights, shape, "gpu")

    def new() -> None:
        buffer_bytes(cache.graph_model, micro_batch_of(cache, shape, SERVER))

    def grouped(run: Callable[[], None], what: str, times: int) -> Figure:
        name, unit, median, worst = measure(what, "us", run, 15, warm=True)
        return name, unit, median / times, worst / times

    return [
        grouped(known, "footprint of 80 layers, compute buffer known", 100),
        grouped(new, "compute buffer of 80 layers, a new shape", 1),
    ]


def _headers() -> list[Figure]:
    from scripts.benchmarks.headers import reader, write_70b, write_hostile

    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        path = Path(folder) / "70b.gguf"
        write_70b(path)
        out = [measure("header of a 70B GGUF", "ms", reader(path), 15, warm=True)]
        hostile = [
            measure(f"hostile header: {path.name}", "ms", reader(path), 5, warm=True)
            for path in write_hostile(Path(folder))
        ]
        worst = max(hostile, key=lambda figure: figure[2])
        return [*out, (f"hostile header, the worst of {len(hostile)}", *worst[1:])]


def _measured(path: Path) -> dict[str, Figure]:
    env = os.environ | {"PYTHONPATH": f"{path}:{ROOT}", "PYTHONSAFEPATH": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), "--one", *sys.argv[1:]]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return {row[0]: tuple(row) for row in json.loads(done.stdout)}


def main() -> None:
    """One table of both builds, in processes of their own, one after the other."""
    pure = _measured(ROOT)
    compiled = _measured(COMPILED) if COMPILED.is_dir() else {}
    head = "planner, least CPU time (worst)" if CPU in sys.argv else "planner, medians (worst)"
    print(f"{head:<44} {'compiled':>18} {'pure':>18}")
    for what, (_, unit, median, worst) in pure.items():
        other = compiled.get(what)
        fast = f"{other[2]:.3g} ({other[3]:.3g}) {unit}" if other else "not built"
        print(f"{what:<44} {fast:>18} {f'{median:.3g} ({worst:.3g}) {unit}':>18}")


if __name__ == "__main__":
    if "--one" in sys.argv:
        sys.path.insert(0, str(Path(__file__).parent))
        print(json.dumps(figures()))
    else:
        main()
