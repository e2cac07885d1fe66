"""A row of a table of device memory: its setting, its truth in bytes, the class it counts in."""

import re
from typing import final

from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.device.builds import cell_pad

Row = dict[str, str]

UNITS: dict[str, float] = {
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "GiB (as reported)": 1 << 30,
    "GB(log, =GiB)": 1 << 30,
    "GB": 1e9,
    "bytes": 1,
    "tokens": 1,
    "blocks of 16": 1,
    "x": 1,
}
TRUE = ("1", "True")
LLAMASHARP_BUILD = 4000  # its rows name no build; all its releases of 2024 and 2025 are older ones


@final
class Refused(Exception):
    """Why a row cannot be answered: what it does not say, or what we do not know."""


@final
class Answer:
    """What we say of a row, in the row's own unit, and how far off rounding alone may be."""

    __slots__ = ("kind", "said", "slack")

    def __init__(self, kind: str, said: float, slack: float = 0.0) -> None:
        self.kind = kind  # the class it counts in
        self.said = said
        self.slack = slack


def truth(row: Row) -> float:
    """The measured value in bytes, tokens or blocks."""
    return float(row["value"]) * UNITS[row["unit"]]


def shown(row: Row) -> float:
    """Half a unit of the last digit the log printed, in bytes."""
    digits = len(row["value"].partition(".")[2])
    return 0.5 * 10.0**-digits * UNITS[row["unit"]] if digits else 0.0


def build_of(row: Row) -> int:
    """The build's number, where the version begins with one: "5863 a4575513", "b10102 / …"."""
    found = re.match(r"b?(\d{4,5})\b", row["engine_version"])
    if found is None and "LLamaSharp" in row["engine"]:
        return LLAMASHARP_BUILD
    return int(found.group(1)) if found else 0


def backend_of(row: Row) -> str:
    """The backend of a row's buffer, or of its device; "" where neither says."""
    buffer, device = row["buffer"], row["device"]
    for word, backend in (
        ("CUDA", "cuda"),
        ("Metal", "metal"),
        ("CPU", "cpu"),
        ("Vulkan", "vulkan"),
        ("ROCm", "rocm"),
    ):
        if buffer.startswith(word):
            return backend
    if "Vulkan" in device:
        return "vulkan"
    if "ROCm" in device:
        return "rocm"
    if "Apple" in device or device.startswith(("M1", "M2", "M3", "M4")):
        return "metal"
    return "cuda" if re.search(r"RTX|\b[34]0[6-9]0|A100|H100|L40|A40|A6000|GTX", device) else ""


def shape_of(row: Row, kv_type: str = "") -> ContextShape:
    """The context of a llama.cpp row; its n_ctx is that of all sequences together."""
    if not row["n_ctx"]:
        raise Refused("the row names no context")
    flash = row["flash_attn"] in TRUE
    sequences = int(row["n_seq"] or 1)
    return ContextShape(
        context=int(row["n_ctx"]) // sequences,
        sequences=sequences,
        kv_type=kv_type or row["kv_type_k"] or "f16",
        v_type=row["kv_type_v"] if not kv_type else "",
        micro_batch=int(row["n_ubatch"] or 512),
        flash=flash,
        unified=row["kv_unified"] == "1",
        full_window=row["swa_full"] == "1",
        cell_pad=cell_pad(build_of(row), flash=flash),
        build=build_of(row),
    )


def noted(row: Row, key: str) -> str:
    """The value after "key=" or "key " in a row's note; "" where it has none."""
    found = re.search(rf"\b{key}[= ]([\w.]+)", row["note"])
    return found.group(1) if found else ""
