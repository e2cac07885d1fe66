"""Time per token: bytes read over effective bandwidth, plus a fixed cost per layer.

t = bytes / (eta * bandwidth) + layers * tau + arithmetic; (eta, tau) are priors of a class of
devices until the ledger has measured this one. Decode spreads of GPUs and Apple are the 90th
percentile of |error| on devices the fit had not met; those of CPUs and of prefill,
and every mfu, are judged from published ranges and not calibrated.
"""

from dataclasses import dataclass
from typing import final

from mathcore.device import DeviceSpec
from mathcore.hardware import lookup_gpu


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A number we do not know exactly: one in ten below p10, one in ten above p90."""

    p10: float
    p50: float
    p90: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What a class of devices does on average."""

    name: str
    eta: float  # share of nominal bandwidth reached
    tau_s: float  # per layer and token: launches and synchronisation
    mfu: float  # share of nominal flops reached in prefill
    spread: float  # relative error of decode time
    prefill_spread: float


# llama.cpp single-stream fits, leave-one-device-out (XiongjieDai benchmarks, 189 points).
GDDR = Prior(name="gddr gpu", eta=0.89, tau_s=92e-6, mfu=0.6, spread=0.11, prefill_spread=0.5)
HBM = Prior(name="hbm gpu", eta=0.58, tau_s=106e-6, mfu=0.28, spread=0.17, prefill_spread=0.6)
APPLE = Prior(name="apple", eta=0.81, tau_s=241e-6, mfu=0.7, spread=0.40, prefill_spread=0.5)
# A judgement, not a fit: two runs on two x86 cores (copy 26 GB/s, random F16 weights):
# 0.28 ms a token at 0.85 M parameters and 4 layers, 1.36 ms at 24 M and 8. The second came
# out about three times faster than this prior says (perhaps cached): hence a band of factor three.
CPU = Prior(name="cpu", eta=0.60, tau_s=50e-6, mfu=0.35, spread=2.0, prefill_spread=2.0)

# HBM begins where no GDDR card reaches; the fastest GDDR7 card has 1,792 GB/s.
HBM_BYTES_PER_S = 1_850_000_000_000
# An accelerator of unknown flops: dense fp16 over bandwidth is 40..160 for the cards listed.
GPU_FLOPS_PER_BYTE = 40
# A CPU of unknown flops: AVX2 cores do about 8 fp32 operations per byte they can load.
CPU_FLOPS_PER_BYTE = 8


def prior_of(device: DeviceSpec) -> Prior:
    """The class a device belongs to, by kind and memory."""
    if device.kind == "cpu":
        return CPU
    if device.kind == "apple":
        return APPLE
    fact = lookup_gpu(device.model)
    if fact is not None:
        return HBM if fact.memory_kind == "hbm" else GDDR
    return HBM if device.bandwidth_bytes_per_s >= HBM_BYTES_PER_S else GDDR


def _flops(device: DeviceSpec) -> float:
    if device.flops > 0:
        return float(device.flops)
    ratio = CPU_FLOPS_PER_BYTE if device.kind == "cpu" else GPU_FLOPS_PER_BYTE
    return float(device.bandwidth_bytes_per_s * ratio)


def decode_step_s(
    device: DeviceSpec,
    prior: Prior,
    weights_read: int,
    cache_read: int,
    layers: int,
    active: int,
    batch: int,
) -> float:
    """Seconds to produce one token for each of `batch` sequences."""
    moved = (weights_read + cache_read) / (prior.eta * device.bandwidth_bytes_per_s)
    arithmetic = 2.0 * active * batch / (prior.mfu * _flops(device))
    if device.kind == "cpu":
        # The same cores load and multiply, so the two do not hide each other.
        return moved + arithmetic + layers * prior.tau_s
    return max(moved, arithmetic) + layers * prior.tau_s


def prefill_s(device: DeviceSpec, prior: Prior, active: int, tokens: int, layers: int) -> float:
    """Seconds to read `tokens` prompt tokens, 512 at a time."""
    batches = (tokens + 511) // 512
    return 2.0 * active * tokens / (prior.mfu * _flops(device)) + batches * layers * prior.tau_s


def time_band(seconds: float, spread: float) -> Band:
    """A duration with its relative error, multiplicative both ways."""
    return Band(p10=seconds / (1.0 + spread), p50=seconds, p90=seconds * (1.0 + spread))


def rate_band(amount: float, time: Band) -> Band:
    """amount per second; the slow time is the low rate."""
    if time.p10 <= 0.0:
        return Band(p10=0.0, p50=0.0, p90=0.0)
    return Band(p10=amount / time.p90, p50=amount / time.p50, p90=amount / time.p10)
