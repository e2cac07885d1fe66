"""What a step spends its time on, in nominal units: seconds at data-sheet rates, and counts.

Nothing here is fitted. `speed` multiplies each term by the reciprocal of a rate actually reached,
or by a time per occurrence, so a step is linear in what the ledger can learn.
"""

from dataclasses import dataclass
from math import log2
from typing import final

from mathcore.speed.chip import RAM_BYTES_PER_S, Chip
from mathcore.speed.kernels import kernels_of
from mathcore.speed.processors import barriers, cores_that_pay
from mathcore.speed.work import Work

MICRO_BATCH = 512  # prompt tokens per pass over the weights (llama.cpp --ubatch-size)
# vLLM's and TensorRT-LLM's budget of tokens per step; MLX reads prompts 2,048 at a time as well.
SERVER_BATCH = 2048
SERVERS: tuple[str, ...] = ("vllm", "sglang", "trtllm", "tgi", "deepspeed", "sambaflow")
# Two all-reduces per layer, 2 bytes a number.
REDUCE_BYTES = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a model is run. `batch` sequences share every step; bits are of the weights."""

    engine: str = "llama.cpp"
    devices: int = 1
    split: str = "layer"  # "layer": one after the other; "tensor": every layer over all
    batch: int = 1
    prompt: int = 0
    generated: int = 0
    depth: float = 0.0  # tokens in the cache half-way through the answer
    bits: float = 16.0
    kv_scale: float = 1.0  # 0.5 = an 8-bit cache
    replicas: int = 1  # copies of attention, each with its share of the batch (data parallel)
    mixed: bool = False  # new prompts arrive between the steps of others
    # Share of the weights in the host's memory; None = whatever does not fit the cards.
    offloaded_share: float | None = None
    ram_bandwidth: float = 0.0  # of the host, measured; 0 = unknown
    flags: tuple[str, ...] = ()  # what else the constants know of: "old", "plain", "vulkan" ...

    @property
    def servers(self) -> bool:
        return self.engine in SERVERS


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Nominal seconds and counts of one decode step, or of one prompt."""

    weights: float = 0.0  # s at nominal bandwidth
    cache: float = 0.0  # s at nominal bandwidth
    compute: float = 0.0  # s at nominal flops
    fill: float = 0.0  # s at nominal flops: a token more through all dense weights of each pass
    scatter: float = 0.0  # the same through every routed expert a pass touches
    attention: float = 0.0  # s at nominal flops
    layers: float = 0.0  # passes x layers
    sparse: float = 0.0  # passes x layers that route
    latent: float = 0.0  # passes x layers of latent attention
    hops: float = 0.0  # passes x layers x devices beyond the first (by powers of two when split)
    link: float = 0.0  # s at the link's nominal rate
    sequences: float = 0.0
    mixed: float = 0.0  # s at nominal flops: prompts read between the steps
    passes: float = 1.0
    host: float = 0.0  # s at the host's RAM bandwidth
    reread: float = 0.0  # s at nominal bandwidth if each query head reads a byte per operation
    vector: float = 0.0  # s at nominal flops: so few columns that they are multiplied as vectors
    unpack: float = 0.0  # s at nominal bandwidth: weights written out before they are multiplied
    gather: float = 0.0  # passes x layers that sort several tokens by their experts


def flops_of(chip: Chip, run: Run) -> float:
    """The dense rate of the type an engine multiplies in."""
    if not run.servers:
        return chip.matmul if chip.matmul > 0.0 else chip.flops
    if "w4a16" in run.flags:
        return chip.flops
    if run.bits < 6.0 and chip.fp4_flops > 0.0:
        return chip.fp4_flops
    if run.bits < 10.0 and chip.fp8_flops > 0.0:
        return chip.fp8_flops
    return chip.flops


def offloaded_share(chip: Chip, run: Run, work: Work) -> float:
    """Share of the weights that does not fit the devices and stays in the host's RAM."""
    if run.offloaded_share is not None:
        return run.offloaded_share
    if (
        chip.memory_bytes <= 0
        or chip.device_class in ("cpu", "apple", "unified", "igpu")
        or run.servers
    ):
        return 0.0
    cache = work.cache_bytes(float(run.prompt + run.generated), run.kv_scale) * run.batch
    room = 0.94 * chip.memory_bytes * run.devices - cache
    if room >= work.total_bytes or work.total_bytes <= 0:
        return 0.0
    return float(min(1.0, 1.0 - room / work.total_bytes))


def _host_share(chip: Chip, run: Run, work: Work, each: float) -> float:
    """Share of what a pass of `each` tokens reads that lies in the host's RAM. A run says that of
    one token; of a mixture the experts go there first, and more tokens touch more of them."""
    share = offloaded_share(chip, run, work)
    chosen = work.expert_bytes * work.touched(1.0)
    if run.offloaded_share is None or chosen <= 0.0 or share <= 0.0:
        return share
    away = share * work.weight_bytes(1.0)
    experts = min(1.0, away / chosen) * work.expert_bytes * work.touched(each)
    return float(min(1.0, (experts + max(0.0, away - chosen)) / work.weight_bytes(each)))


# Servers unfold a prompt's latent attention: heads of 192 + 128 instead of 2 x 512 + 64 numbers.
UNFOLDED = 0.3


def _asked(run: Run, work: Work, depth: float) -> float:
    """Operations one prompt token spends on `depth` earlier ones."""
    unfolded = run.servers and work.latent_layers > 0
    return work.attention_flops(depth) * (UNFOLDED if unfolded else 1.0)


def _split(run: Run) -> tuple[float, float]:
    """(devices that share one layer, hops per layer)."""
    if run.devices <= 1:
        return 1.0, 0.0
    if run.split == "tensor":
        return float(run.devices), log2(float(run.devices))
    return 1.0, float(run.devices - 1)


# llama.cpp hands over 2,048 tokens at a time, in passes of 512 that devices work on at once.
PIPELINE_PASSES = 4.0


def _pipelined(run: Run, passes: float) -> float:
    """Share of the one-device time when passes overlap on devices one after the other."""
    if run.devices <= 1 or run.split == "tensor":
        return 1.0
    lanes = min(passes, PIPELINE_PASSES)
    return (lanes + run.devices - 1.0) / (lanes * run.devices)


def _weights_s(chip: Chip, work: Work, moved: float, rate: float) -> float:
    """Seconds to read `moved` bytes, or for an old processor to unpack what they hold."""
    if chip.unpacked <= 0.0:
        return moved / rate
    return max(moved / rate, work.active / chip.unpacked)


# A token goes to its experts' devices and back, at 8 and 16 bits a number.
EXPERT_BYTES = 3


def _link_bytes(run: Run, work: Work, tokens: float, shared: float) -> float:
    """What devices that share a layer tell each other: sums, or with attention of their own on each
    only the tokens of its routed experts."""
    if run.replicas > 1:
        told = tokens / run.replicas * work.experts_used
        return work.sparse_layers * told * work.hidden * EXPERT_BYTES
    return work.layers * tokens * work.hidden * REDUCE_BYTES * 2.0 * (shared - 1.0) / shared


def decode_terms(chip: Chip, run: Run, work: Work) -> Terms:
    """One step: a token for each of `batch` sequences."""
    shared, hops = _split(run)
    tokens = float(max(1, run.batch))
    flops, rate = flops_of(chip, run) * shared, chip.bandwidth * shared
    offloaded = _host_share(chip, run, work, tokens)
    # Every replica of attention reads its own copy; routed experts are spread over all devices.
    moved = work.weight_bytes(tokens) + work.dense_bytes * (run.replicas - 1.0)
    cpu = chip.device_class == "cpu"
    layers = float(work.layers)
    if cpu:
        cores = chip.cores
        if chip.unpacked <= 0.0:
            cores, rate = cores_that_pay(cores, chip.bandwidth, moved, work.layers)
        layers *= barriers(cores)
    # Cores multiply a first column while memory brings the next weights.
    multiplied = tokens - 1.0 if cpu else tokens
    link, mixed, beside = 0.0, 0.0, 0.0
    if run.mixed and run.generated > 0:
        beside = tokens * run.prompt / run.generated
        mixed = beside * (2.0 * work.active + _asked(run, work, run.prompt / 2.0)) / flops
    if shared > 1.0:
        link = _link_bytes(run, work, tokens + beside, shared) / chip.link
    ram = run.ram_bandwidth or RAM_BYTES_PER_S
    return Terms(
        weights=_weights_s(chip, work, moved * (1.0 - offloaded), rate),
        cache=work.cache_bytes(run.depth, run.kv_scale) * tokens / rate,
        compute=2.0 * work.active * multiplied / flops,
        attention=work.attention_flops(run.depth) * tokens / flops,
        reread=work.attention_flops(run.depth) * tokens / rate,
        layers=layers,
        sparse=float(work.sparse_layers),
        latent=float(work.latent_layers),
        hops=hops * work.layers,
        link=link,
        sequences=tokens,
        mixed=mixed,
        host=moved * offloaded / ram,
    )


def prefill_terms(chip: Chip, run: Run, work: Work) -> Terms:
    """The prompts of all sequences."""
    shared, hops = _split(run)
    tokens = float(max(1, run.prompt) * max(1, run.batch))
    flops, rate = flops_of(chip, run) * shared, chip.bandwidth * shared
    step = SERVER_BATCH if run.servers or run.engine == "mlx" else MICRO_BATCH
    passes = float(max(1, int((tokens + step - 1) // step)))
    offloaded = _host_share(chip, run, work, tokens / passes)
    lane = _pipelined(run, passes)
    moved = work.weight_bytes(tokens / passes) * passes * lane
    each = tokens / passes
    few, dense, routed, unpacked, gathers = kernels_of(work, each, run.bits, run.flags)
    as_vectors = few and not run.servers
    multiplied = 2.0 * work.active * tokens / flops * lane
    # What is in the cache already, and half of the prompt itself.
    before = max(0.0, run.depth - run.prompt - run.generated / 2.0)
    ram = run.ram_bandwidth or RAM_BYTES_PER_S
    return Terms(
        weights=moved * (1.0 - offloaded) / rate,
        cache=work.cache_bytes(before, run.kv_scale) * passes / rate,
        compute=0.0 if as_vectors else multiplied,
        vector=multiplied if as_vectors else 0.0,
        unpack=unpacked * passes * lane / rate,
        gather=gathers * passes,
        fill=2.0 * dense * passes / flops * lane,
        scatter=2.0 * routed * passes / flops * lane,
        attention=_asked(run, work, before + run.prompt / 2.0) * tokens / flops * lane,
        layers=work.layers * passes,
        sparse=work.sparse_layers * passes,
        latent=work.latent_layers * passes,
        hops=hops * work.layers * passes,
        sequences=float(run.batch),
        passes=passes,
        link=(tokens * work.layers * work.hidden * REDUCE_BYTES / chip.link) if shared > 1 else 0.0,
        host=moved * offloaded / ram,
    )
