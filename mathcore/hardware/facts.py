"""Known accelerators and processors: one row of data/*.csv each, in the makers' words.

`data/README.md` says what the columns and the sources are. A fact nobody published is 0.
"""

from dataclasses import dataclass
from typing import Literal, final

from mathcore.data import read_rows
from mathcore.units import GIB

TERA = 1_000_000_000_000
GIGA = 1_000_000_000

Kind = Literal["gpu", "apple", "cpu"]
MemoryKind = Literal["gddr", "hbm", "apple", "unified", "ddr"]

ACCELERATOR_TABLES: tuple[str, ...] = ("nvidia", "amd", "apple", "intel", "accelerators")
PROCESSOR_TABLES: tuple[str, ...] = ("processors",)
# What a row's `source` words mean.
SOURCES: dict[str, str] = {
    "aic": "ai-dynamo/aiconfigurator systems/*.yaml",
    "apron": "totals detected on rented pods, kv-budget-residuals.md",
    "genz": "GenZ-LLM-Analyzer",
    "hf": "huggingface.js tasks/src/hardware.ts",
    "la": "cli99/llm-analysis gpu_configs",
    "llmfit": "AlexsJones/llmfit hardware.rs",
    "lv": "hahnyuan/LLM-Viewer",
    "metal": "recommendedMaxWorkingSetSize as recorded on that machine",
    "spec": "the maker's published specification, entered by hand",
    "wiki": "Wikipedia tables via voidful/gpu-info-api",
}
KINDS: tuple[Kind, ...] = ("gpu", "apple", "cpu")
MEMORY_KINDS: tuple[MemoryKind, ...] = ("gddr", "hbm", "apple", "unified", "ddr")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GpuFacts:
    """One device. Rates are dense, per second; `usable_bytes` is what a driver was seen to report.

    `flops` is fp16 with fp32 accumulation, `shader_flops` fp32 without matrix units.
    """

    name: str
    kind: Kind
    memory_kind: MemoryKind
    arch: str
    memory_bytes: int  # of the largest version sold; 0 for a processor, whose RAM is bought apart
    memory_options: tuple[int, ...]  # GiB
    bandwidth_bytes_per_s: int
    shader_flops: int
    flops: int
    fp8_flops: int
    fp4_flops: int
    int8_ops: int
    watts: int
    link_bytes_per_s: int  # to the next card, one direction; 0 = over PCIe
    usable_bytes: int
    source: str
    note: str


def _rate(text: str, unit: int) -> int:
    return int(float(text) * 1000.0 + 0.5) * (unit // 1000) if text else 0


def _kind(memory_kind: MemoryKind) -> Kind:
    return "apple" if memory_kind == "apple" else "cpu" if memory_kind == "ddr" else "gpu"


def _memory_kind(text: str) -> MemoryKind:
    for kind in MEMORY_KINDS:
        if text == kind:
            return kind
    raise ValueError(f"{text!r} is no kind of memory")


def _fact(row: dict[str, str]) -> GpuFacts:
    memory_kind = _memory_kind(row["memory_kind"])
    sizes = [int(size) for size in row["memory_gib"].split()]
    return GpuFacts(
        name=row["name"],
        kind=_kind(memory_kind),
        memory_kind=memory_kind,
        arch=row["architecture"],
        memory_bytes=sizes[-1] * GIB if sizes else 0,
        memory_options=tuple(sizes),
        bandwidth_bytes_per_s=_rate(row["bandwidth_gb_s"], GIGA),
        shader_flops=_rate(row["shader_tflops"], TERA),
        flops=_rate(row["fp16_tflops"], TERA),
        fp8_flops=_rate(row["fp8_tflops"], TERA),
        fp4_flops=_rate(row["fp4_tflops"], TERA),
        int8_ops=_rate(row["int8_tops"], TERA),
        watts=int(row["watts"] or 0),
        link_bytes_per_s=_rate(row["link_gb_s"], GIGA),
        usable_bytes=int(row["usable_bytes"] or 0),
        source=row["source"],
        note=row["note"],
    )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What a word says of hardware no row describes: the middle of the known rows of its class."""

    word: str
    kind: Kind
    device_class: str  # the speed model's class
    bandwidth_bytes_per_s: int
    flops: int  # dense fp16


def _kind_of(text: str) -> Kind:
    for kind in KINDS:
        if text == kind:
            return kind
    raise ValueError(f"{text!r} is no kind of device")


def _family(row: dict[str, str]) -> Family:
    return Family(
        word=row["word"],
        kind=_kind_of(row["kind"]),
        device_class=row["class"],
        bandwidth_bytes_per_s=_rate(row["bandwidth_gb_s"], GIGA),
        flops=_rate(row["fp16_tflops"], TERA),
    )


_FAMILIES: list[tuple[Family, ...]] = []


def families() -> tuple[Family, ...]:
    """Makers' and families' words, the more telling first; read when first asked for."""
    if not _FAMILIES:
        _FAMILIES.append(tuple([_family(row) for row in read_rows("hardware", "families.csv")]))
    return _FAMILIES[0]


def family_of(text: str) -> Family | None:
    """The family a name's words hint at; None where they hint at nothing."""
    words = text[:200].lower().replace("-", " ").replace("(", " ").replace(")", " ").split()
    for family in families():
        if family.word in words:
            return family
    return None


_READ: dict[tuple[str, ...], tuple[GpuFacts, ...]] = {}


def _facts(tables: tuple[str, ...]) -> tuple[GpuFacts, ...]:
    if tables not in _READ:
        rows = [row for table in tables for row in read_rows("hardware", f"{table}.csv")]
        _READ[tables] = tuple([_fact(row) for row in rows])
    return _READ[tables]


def gpus() -> tuple[GpuFacts, ...]:
    """Every known accelerator, in the order of the tables; read when first asked for."""
    return _facts(ACCELERATOR_TABLES)


def cpus() -> tuple[GpuFacts, ...]:
    """Every known processor; read when first asked for."""
    return _facts(PROCESSOR_TABLES)
