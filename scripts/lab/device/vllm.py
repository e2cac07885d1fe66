"""What we say of a vLLM row: blocks and tokens of the cache its own log says was left."""

import re
from pathlib import Path

from mathcore.engines.options import EngineOptions, release
from mathcore.engines.vllm.boot import boot
from mathcore.engines.vllm.cache import (
    Pages,
    VllmShape,
    block_count,
    largest_context,
    pages,
    shown_tokens,
    with_context,
)
from mathcore.engines.vllm.memory import AMPERE, HOPPER
from mathcore.engines.vllm.start import GRAPHS_SINCE, start_of
from mathcore.hardware.described import usable_bytes
from mathcore.hardware.names import lookup_gpu
from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import weigh
from scripts.lab.device.models import spec_of
from scripts.lab.device.rows import UNITS, Answer, Refused, Row

# Batches a sliding layer keeps room for, by release (engines.vllm.cache.VllmShape).
IN_FLIGHT: dict[str, int] = {"": 1, "gemma4-unified image": 2}
DEFAULT_IN_FLIGHT = 2
# Figures of what is served, which the rank with the least cache decides; what a start lacks is
# told of that very rank.
SERVED = ("kv_blocks", "kv_capacity", "max_concurrency")
# How the table writes a checkpoint's type.
QUANTS: dict[str, str] = {"bf16": "HF-BF16", "fp8": "FP8", "awq": "AWQ", "nvfp4": "NVFP4"}


def _shape(row: Row, context: int) -> VllmShape:
    ranks = int(row["parallel"].removeprefix("TP") or row["n_gpu"] or 1)
    kv_type = row["kv_type_k"] or "auto"
    return VllmShape(
        context=context,
        kv_type=kv_type,
        tensor_parallel=ranks,
        in_flight=IN_FLIGHT.get(row["engine_version"], DEFAULT_IN_FLIGHT),
    )


def available(row: Row, rows: list[Row]) -> tuple[float, float]:
    """(least, most) bytes of cache the same boot printed, its rounding taken both ways."""
    found = [
        other
        for other in rows
        if other["component"] == "kv_available"
        and all(other[key] == row[key] for key in ("source", "model", "n_ctx", "note", "device"))
    ]
    if not found:
        raise Refused("the boot's own available cache is not in the table")
    other = found[0]
    unit = UNITS[other["unit"]]
    digits = len(other["value"].partition(".")[2])
    off = 0.5 * 10.0**-digits if unit > 1 else 0.0
    size = float(other["value"])
    return ((size - off) * unit, (size + off) * unit)


def _nearest(low: float, high: float, true: float) -> tuple[float, float]:
    """(what we say, how far rounding reaches): inside the range the truth itself is said."""
    return (true, 0.0) if low <= true <= high else (low if true < low else high, 0.0)


def _said(row: Row, spec: ModelSpec, span: tuple[float, float]) -> tuple[float, float, Pages]:
    """(least, most) of the row's figure over the span of its available cache."""
    context = int(row["n_ctx"] or 0)
    shape = _shape(row, context or 4096)
    cut = pages(spec, shape)
    out: list[float] = []
    for size in span:
        blocks = block_count(cut, int(size))
        if row["component"] == "kv_blocks":
            out.append(blocks)
        elif row["component"] == "max_len_fit":
            out.append(largest_context(spec, shape, int(size)))
        elif row["component"] == "max_concurrency":
            out.append(blocks / cut.blocks_per_request)
        elif not context:  # no length, no sliding layers: blocks are tokens
            out.append(largest_context(spec, with_context(shape, 1), int(size)))
        else:
            out.append(shown_tokens(cut, blocks, context))
    return out[0], out[1], cut


def _options(row: Row) -> EngineOptions:
    """The share and the release a row names."""
    share = re.search(r"gpu_memory_utilization ([\d.]+)", row["note"])
    found = re.match(r"\d+\.\d+(\.\d+)?", row["engine_version"])
    build = found.group() if found else ""
    return EngineOptions(
        memory_permille=round(1000 * float(share.group(1).rstrip("."))) if share else 0, build=build
    )


def before_boot(row: Row, spec: ModelSpec) -> Answer:
    """The cache a boot would have left, from the card, the weights and the share alone."""
    quant, fact = QUANTS.get(row["quant"], ""), lookup_gpu(row["device"])
    if not quant or fact is None:
        raise Refused("the checkpoint's type or the card is not one we know")
    options = _options(row)
    if options.build and release(options.build) < GRAPHS_SINCE:
        raise Refused("a release whose activations were not compiled")
    if not options.memory_permille:
        raise Refused("vLLM takes the share it is given; the row does not say which")
    if fact.memory_kind == "unified":
        raise Refused("what the system holds of unified memory is not in the row")
    total = usable_bytes(fact.memory_bytes, fact)
    kind = HOPPER if fact.arch in ("hopper", "blackwell") else AMPERE
    ranks = int(row["parallel"].removeprefix("TP") or row["n_gpu"] or 1)
    start = start_of(options, total, fact.name, ranks)
    context, cache = int(row["n_ctx"] or 4096), row["kv_type_k"] or "auto"
    found = boot(spec, weigh(spec, quant), start, options, context, cache, kind, total)
    return Answer("vLLM available, before the boot", found.cache_bytes)


def log_row(row: Row, configs: Path | None, rows: list[Row]) -> Answer:
    """A figure a vLLM boot prints of its cache."""
    spec, component = spec_of(row["model"], configs), row["component"]
    if component == "kv_available" and spec is not None:
        return before_boot(row, spec)
    if component not in (
        "kv_blocks",
        "kv_capacity",
        "max_len_fit",
        "max_concurrency",
        "kv_needed",
        "kv_bytes_per_max_len_sequence",
    ):
        raise Refused(f"{component}: what a card is found to have, or a boot measures")
    if spec is None:
        raise Refused("a model we do not know")
    if component in ("kv_needed", "kv_bytes_per_max_len_sequence"):
        cut = pages(spec, _shape(row, int(row["n_ctx"])))
        return Answer(f"vLLM {component}", cut.request_bytes)
    if row["engine"] == "SGLang":
        raise Refused("SGLang's pool, not vLLM's")
    if component in SERVED and _shape(row, 1).tensor_parallel > 1:
        raise Refused("of several ranks a log names one's cache and serves the least one's")
    low, high, cut = _said(row, spec, available(row, rows))
    true = float(row["value"])
    said, _ = _nearest(low, high, true)
    block = {"kv_blocks": 1.0, "max_concurrency": 0.01}.get(component, float(cut.attention_block))
    return Answer(f"vLLM {component}", said, block)
