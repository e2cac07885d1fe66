"""Measures a real NVIDIA GPU and prints it beside what the planner says: one table on stdout.

Needs nvidia-ml-py and torch; says so in one line and exits with 3 where one of them, or the GPU,
is missing. Decode is a plain loop over random bfloat16 weights of a decoder's shapes, replayed as
a CUDA graph: what the memory allows, without an engine's own overhead.
"""

import importlib
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

from mathcore.hardware.facts import GpuFacts
from mathcore.hardware.names import lookup_gpu
from mathcore.speed.chip import Chip, chip_of_facts
from mathcore.speed.constants import Rates, rates_of, step_s
from mathcore.speed.terms import Run, decode_terms
from mathcore.speed.work import Work

NO_GPU = 3
GIB = 2**30
# (layers, hidden, feed-forward, K/V heads of 128) of released decoders.
SHAPES: tuple[tuple[str, int, int, int, int], ...] = (
    ("0.5b", 24, 1024, 4096, 4),
    ("1b", 16, 2048, 8192, 8),
    ("3b", 28, 3072, 8192, 8),
    ("8b", 32, 4096, 14336, 8),
    ("14b", 40, 5120, 17408, 8),
    ("32b", 64, 5120, 25600, 8),
    ("70b", 80, 8192, 28672, 8),
)
DEPTH = 2048  # tokens in the cache
STEPS = 20
REPEATS = 7  # the median of these is reported


def leave(reason: str) -> None:
    print(f"gpu_check: {reason}")
    raise SystemExit(NO_GPU)


def wanted(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        leave(f"no {name} here: pip install {'nvidia-ml-py' if name == 'pynvml' else name}")


def probe() -> tuple[str, dict[str, str], int]:
    """(name, what NVML says, total bytes) of the first GPU."""
    nvml = wanted("pynvml")
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByIndex(0)
    except nvml.NVMLError as error:
        leave(f"no NVIDIA GPU or driver here ({error})")
    name = nvml.nvmlDeviceGetName(handle)
    name = name.decode() if isinstance(name, bytes) else str(name)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    asked: tuple[tuple[str, Callable[[], object]], ...] = (
        ("driver", nvml.nvmlSystemGetDriverVersion),
        ("count", nvml.nvmlDeviceGetCount),
        ("total bytes", lambda: memory.total),
        ("free bytes", lambda: memory.free),
        ("power limit W", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) // 1000),
        ("memory clock MHz", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        ("bus width bits", lambda: nvml.nvmlDeviceGetMemoryBusWidth(handle)),
        ("sm clock MHz", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
    )
    out: dict[str, str] = {"name": name}
    for label, ask in asked:
        try:
            value = ask()
        except nvml.NVMLError as error:
            value = f"not supported ({error})"
        out[label] = value.decode() if isinstance(value, bytes) else str(value)
    return name, out, int(memory.total)


def timed(torch: Any, work: Callable[[], None], rounds: int = STEPS) -> float:
    """Median seconds of one call, by the GPU's own clock."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    took: list[float] = []
    for _ in range(REPEATS):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(rounds):
            work()
        last.record()
        torch.cuda.synchronize()
        took.append(first.elapsed_time(last) / 1000.0 / rounds)
    return sorted(took)[len(took) // 2]


def bandwidth(torch: Any, free: int) -> tuple[float, float]:
    """(read-only, copy) bytes per second over a buffer far larger than any cache."""
    size = min(4 * GIB, free // 4) // 4
    source = torch.ones(size, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    copy = timed(torch, lambda: target.copy_(source), 5)
    read = timed(torch, lambda: source.sum(), 5)
    return size * 4 / read, 2 * size * 4 / copy


def matmuls(torch: Any) -> list[tuple[str, float]]:
    """FLOP/s of square multiplications by type; a type the build lacks is left out."""
    n = 8192
    out: list[tuple[str, float]] = []
    for name in ("float16", "bfloat16", "float32"):
        a = torch.randn(n, n, device="cuda", dtype=getattr(torch, name))
        b = torch.randn(n, n, device="cuda", dtype=getattr(torch, name))
        c = torch.empty_like(a)
        out.append(
            (name, 2.0 * n**3 / timed(torch, lambda a=a, b=b, c=c: torch.mm(a, b, out=c), 5))
        )
    try:
        eight = torch.float8_e4m3fn
        a = torch.randn(n, n, device="cuda").to(eight)
        b = torch.randn(n, n, device="cuda").to(eight).t()
        one = torch.ones((), device="cuda")
        half = torch.bfloat16
        work = lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=half)  # noqa: E731
        out.append(("float8", 2.0 * n**3 / timed(torch, work, 5)))
    except (AttributeError, RuntimeError, TypeError) as error:
        print(f"float8 not measured: {str(error).splitlines()[0]}")
    return out


def work_of_shape(layers: int, hidden: int, feed: int, heads: int) -> Work:
    """The decoder of random weights as the planner would describe it, without a vocabulary."""
    kv = heads * 128
    numbers = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * feed)
    return Work(
        layers=layers,
        hidden=hidden,
        total_bytes=2 * numbers,
        dense_bytes=2 * numbers,
        active=numbers,
        kv_width=2 * layers * kv,
        query_width=2 * layers * hidden,
    )


class Decoder:
    """One layer's tensors per layer; a step multiplies one token through all of them."""

    def __init__(self, torch: Any, layers: int, hidden: int, feed: int, heads: int) -> None:
        made = {"device": "cuda", "dtype": torch.bfloat16}
        kv, self.heads, self.kv_heads = heads * 128, hidden // 128, heads
        self.torch = torch
        self.blocks = [
            (
                torch.randn(hidden + 2 * kv, hidden, **made) * 0.01,
                torch.randn(hidden, hidden, **made) * 0.01,
                torch.randn(2 * feed, hidden, **made) * 0.01,
                torch.randn(hidden, feed, **made) * 0.01,
                torch.randn(1, heads, DEPTH, 128, **made),
                torch.randn(1, heads, DEPTH, 128, **made),
            )
            for _ in range(layers)
        ]
        self.token = torch.randn(1, hidden, **made)

    def step(self) -> None:
        """One token; the cache is read whole, as it would be at this depth."""
        torch, x = self.torch, self.token
        group = self.heads // self.kv_heads
        for joint, out, up, down, keys, values in self.blocks:
            hidden = x.shape[1]
            query = torch.mm(x, joint.t())[:, :hidden].view(1, self.kv_heads, group, 128)
            seen = torch.nn.functional.scaled_dot_product_attention(query, keys, values)
            x = x + torch.mm(seen.reshape(1, hidden), out.t())
            gate, value = torch.mm(x, up.t()).chunk(2, dim=1)
            x = x + torch.mm(torch.nn.functional.silu(gate) * value, down.t())

    def graph(self) -> Callable[[], None]:
        """The step as one CUDA graph, as engines launch it."""
        side = self.torch.cuda.Stream()
        with self.torch.cuda.stream(side):
            for _ in range(3):
                self.step()
        self.torch.cuda.synchronize()
        graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            self.step()
        return graph.replay  # type: ignore[no-any-return]


def decode(torch: Any, chip: Chip, rates: Rates, free: int) -> list[tuple[str, ...]]:
    """A row per size that fits: bytes and milliseconds, measured beside predicted."""
    rows: list[tuple[str, ...]] = []
    for name, layers, hidden, feed, heads in SHAPES:
        work = work_of_shape(layers, hidden, feed, heads)
        need = work.total_bytes + work.cache_bytes(DEPTH)
        if need > 0.9 * free:
            rows.append((name, f"{need / GIB:.2f}", "does not fit", "", "", "", "", ""))
            continue
        before = torch.cuda.memory_allocated()
        model = Decoder(torch, layers, hidden, feed, heads)
        held = torch.cuda.memory_allocated() - before
        eager = timed(torch, model.step, 5)
        took = timed(torch, model.graph())
        said = step_s(decode_terms(chip, Run(engine="vllm", depth=DEPTH), work), rates)
        moved = work.weight_bytes() + work.cache_bytes(DEPTH)
        rows.append(
            (
                name,
                f"{need / GIB:.2f}",
                f"{held / GIB:.2f}",
                f"{eager * 1e3:.3f}",
                f"{took * 1e3:.3f}",
                f"{said * 1e3:.3f}",
                f"{(said / took - 1) * 100:+.0f} %",
                f"{moved / took / chip.bandwidth:.3f}",
            )
        )
        del model
        torch.cuda.empty_cache()
    return rows


def fitted(rows: list[tuple[str, ...]], chip: Chip) -> tuple[float, float]:
    """(eta, tau in s) of the measured graph steps by least squares of relative errors."""
    aa = ab = bb = at = bt = 0.0
    for row in rows:
        if len(row) < 8 or not row[4]:
            continue
        shape = next(one for one in SHAPES if one[0] == row[0])
        work, seconds = work_of_shape(*shape[1:]), float(row[4]) / 1e3
        a = (work.weight_bytes() + work.cache_bytes(DEPTH)) / chip.bandwidth / seconds
        b = work.layers / seconds
        aa, ab, bb, at, bt = aa + a * a, ab + a * b, bb + b * b, at + a, bt + b
    scale = aa * bb - ab * ab
    if scale <= 0.0:
        return 0.0, 0.0
    return scale / (at * bb - bt * ab), (bt * aa - at * ab) / scale


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def chip_named(name: str, total: int, measured: float) -> tuple[Chip, GpuFacts | None]:
    facts = lookup_gpu(name)
    if facts is not None:
        return chip_of_facts(facts), facts
    device_class = "hbm" if measured > 1.85e12 else "gddr"
    return Chip(
        device_class=device_class,
        arch="",
        bandwidth=measured,
        flops=measured * 60,
        memory_bytes=total,
    ), None


def main() -> None:
    """Probe, measure, print."""
    torch = wanted("torch")
    name, said, total = probe()
    if not torch.cuda.is_available():
        leave("torch is here but sees no CUDA device")
    print(f"# {name}\n\n{time.strftime('%Y-%m-%d')}, {platform.system()}")
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {os.cpu_count()} CPU cores\n")
    table(("NVML", ""), list(said.items()))
    free = torch.cuda.mem_get_info()[0]
    read, copied = bandwidth(torch, free)
    chip, facts = chip_named(name, total, copied)
    print("\n## Rates\n")
    rows = [
        (
            "memory read",
            f"{read / 1e9:.0f} GB/s",
            f"{chip.bandwidth / 1e9:.0f} GB/s",
            f"{read / chip.bandwidth:.3f}",
        ),
        (
            "memory copy",
            f"{copied / 1e9:.0f} GB/s",
            f"{chip.bandwidth / 1e9:.0f} GB/s",
            f"{copied / chip.bandwidth:.3f}",
        ),
    ]
    for kind, rate in matmuls(torch):
        nominal = chip.fp8_flops if kind == "float8" else chip.flops
        known = nominal if kind != "float32" else (facts.shader_flops if facts else 0)
        share = f"{rate / known:.3f}" if known else "–"
        rows.append((f"matmul {kind}", f"{rate / 1e12:.1f} TFLOPS", f"{known / 1e12:.1f}", share))
    table(("what", "measured", "catalogue", "share"), rows)
    print(f"\n## Decode of one token at depth {DEPTH}, bfloat16\n")
    if facts is None:
        print("Not in the catalogue: predicted with the prior of its class.\n")
    rates = rates_of(chip, Run(engine="vllm"))
    steps = decode(torch, chip, rates, free)
    heads = ("size", "GiB said", "GiB held", "eager ms", "graph ms", "said ms", "off", "bandwidth")
    table(heads, steps)
    eta, tau = fitted(steps, chip)
    print(
        f"\nfitted to the graph steps: eta {eta:.3f}, tau {tau * 1e6:.1f} us per layer; "
        f"prior: eta {rates.eta:.3f}, tau {rates.tau_s * 1e6:.1f} us"
    )


if __name__ == "__main__":
    sys.exit(main())
