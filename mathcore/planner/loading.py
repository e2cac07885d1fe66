"""How long until an engine can answer: its own start, then the weights out of storage.

Storage rates: what the device's last job took, else what was measured there, else what an NVMe
drive does. A job that found its file in the page cache counts like any other.
"""

from typing import final

from mathcore.band import Band, time_band
from mathcore.device import DeviceSpec
from mathcore.speed.learning import Observation

# Seconds from the command to an engine that could read weights, and after them to one that answers.
START_S: dict[str, float] = {
    "llama.cpp": 0.5,  # process and backend; assumed
    "ollama": 1.0,  # a runner process of llama.cpp, asked every quarter of a second; assumed
    "mlx": 2.0,  # Python with mlx and a tokenizer; assumed
    # 59 s until it answered, 1 s of it weights, with all compiled graphs in its cache: imports,
    # torch.compile's cache, memory profiling, CUDA graphs (vllm-project/vllm#20264, Llama 3.2).
    "vllm": 58.0,
    "sglang": 45.0,  # imports of torch, kernels found in their cache, CUDA graphs; assumed
    "tgi": 25.0,  # launcher, shards importing torch, warm-up with CUDA graphs; assumed
}
USUAL_START_S = 1.0  # of an engine not listed
# Of a large file read once, front to back, where nobody measured: PCIe 3.0 drives state 3.5 GB/s,
# and a mapped file arrives a fault at a time.
NVME_BYTES_PER_S = 2_000_000_000
# How far a load may be off, as a share of it both ways: what else reads, what is cached.
PRIOR_SPREAD, MEASURED_SPREAD, LEARNED_SPREAD = 1.0, 0.5, 0.3
# Of a smaller file the engine's own start decides how long the job took.
LEAST_LEARNED_BYTES = 1_000_000_000
# No storage is faster than memory: such a job was not timed right.
MAX_BYTES_PER_S = 100_000_000_000

# Between two peers: a gigabit line is what homes have; TCP and TLS leave 94 % of it. One receiver
# in Python decrypts and hashes no faster than this (docs/measurements/dispatch-models.md).
USUAL_LINK_BPS = 1_000_000_000
LINK_SHARE = 0.94
TLS_BPS = 4_000_000_000.0
TRANSFER_START_S = 0.1  # asking, the manifest, a handshake
MEASURED_TRANSFER_SPREAD, LINK_SPREAD, UNKNOWN_LINK_SPREAD = 0.2, 0.5, 3.0


@final
class Storage:
    """How fast a device's host reads weights, and how that is known."""

    __slots__ = ("basis", "bytes_per_s", "spread")

    def __init__(self, bytes_per_s: float, basis: str, spread: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.basis = basis
        self.spread = spread


def start_s(engine: str) -> float:
    """Seconds an engine takes beside reading weights."""
    return START_S.get(engine, USUAL_START_S)


def storage_of(device: DeviceSpec, seen: list[Observation]) -> Storage:
    """The storage of a device whose finished jobs, oldest first, are `seen`."""
    for job in reversed(seen):
        rate = _learned(job)
        if rate > 0.0:
            return Storage(rate, "learned from a job on this device", LEARNED_SPREAD)
    if device.disk_read_bytes_per_s > 0:
        return Storage(float(device.disk_read_bytes_per_s), "disk measured", MEASURED_SPREAD)
    return Storage(float(NVME_BYTES_PER_S), "prior: NVMe", PRIOR_SPREAD)


def _learned(job: Observation) -> float:
    """Bytes per second one job read its weights at; 0 where it does not say."""
    if job.load_s <= 0.0 or job.work.total_bytes < LEAST_LEARNED_BYTES:
        return 0.0
    reading = job.load_s - start_s(job.run.engine)
    rate = job.work.total_bytes / reading if reading > 0.0 else 0.0
    return rate if rate <= MAX_BYTES_PER_S else 0.0


def transfer_ms(size_bytes: int, link_bps: int, measured_bps: int) -> Band:
    """How long a model takes from one peer to another, in milliseconds; 0 for a rate nobody knows.

    `measured_bps` is what the last transfer between the two made of their line, in bits a second;
    `link_bps` what the line is said to carry. It is time before the load: add it to the start.
    """
    if size_bytes <= 0:
        return Band(p10=0.0, p50=0.0, p90=0.0)
    if measured_bps > 0:
        rate, spread = float(measured_bps), MEASURED_TRANSFER_SPREAD
    elif link_bps > 0:
        rate, spread = min(LINK_SHARE * link_bps, TLS_BPS), LINK_SPREAD
    else:
        rate, spread = LINK_SHARE * USUAL_LINK_BPS, UNKNOWN_LINK_SPREAD
    return time_band(1000.0 * (TRANSFER_START_S + 8.0 * size_bytes / rate), spread)


def load_band(seconds: float, storage: Storage) -> Band:
    """A load with its error."""
    return time_band(seconds, storage.spread)
