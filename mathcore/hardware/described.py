"""Hardware as a person writes it, "2x A100 40GB", "M3 Max 36GB", "EPYC 9654 768GB": what it is.

The row of the tables that has this name and this size; a size stated always counts. Without a row
the words tell the class ("EPYC" is a processor), and the rates are that class's: basis "prior".
"""

import re
from dataclasses import dataclass, replace
from typing import Literal, final

from mathcore.hardware.facts import GpuFacts, Kind, family_of, gpus
from mathcore.hardware.modules import Modules, module_bandwidth, read_modules
from mathcore.hardware.names import lookup_cpu, lookup_gpu, name_words
from mathcore.hardware.reach import NO_SETTINGS, Reach, Settings, reach_of, read_settings
from mathcore.units import GIB, TIB, show_bytes

# 24 GiB cards were seen to report 0.48 GiB less than their name says, 48 GiB ones 0.60.
DRIVER_RESERVE_BYTES = 512 * 1024 * 1024
# Server cards with GDDR are delivered with ECC on, which takes a sixteenth of their memory: an
# A10G reports 23,028 MiB of 24,576, an L40S 46,068 of 49,152. HBM and GDDR7 have room of their own.
ECC_SHARE = 16
ECC_ON: tuple[str, ...] = (
    "Tesla P4", "Tesla P40", "T4", "A2", "A10", "A10G", "A16", "A40", "L4", "L40", "L40S",
)  # fmt: skip
# What Windows and its programs were seen to hold of a card that has a screen: 0.8 to 1.2 GiB.
DESKTOP_BYTES = 1200 * 1024 * 1024
# What a system keeps of RAM before a model comes: a server without a screen, a desktop with one.
SERVER_KEEPS = 1024 * 1024 * 1024
DESKTOP_KEEPS = 4 * SERVER_KEEPS
# A MIG instance has eighths of the memory, less what each keeps: 4,864 MiB of a 1g.5gb.
MIG_SHARE_PERCENT = 95
# WSL gives Linux half of the RAM unless .wslconfig says otherwise.
WSL_RAM_SHARE = 2
# A card nobody catalogued: the median of the desktop cards that are. Its basis says "prior".
PRIOR_BANDWIDTH = 500_000_000_000
# Programs reach 40 of the 51.2 GB/s of dual-channel DDR4-3200.
RAM_REACH_PERCENT = 78
# A size in a name this much above the one on sale is the maker's rounding: "B200 192GB" has 180.
ROUNDING = 1.08

# "2 x RTX 5090", "2x3090"; not "7900 XTX".
_COUNT_BEFORE = re.compile(r"(\d{1,4})\s*[x×*]\s+(.+)|(\d{1,2})[x×*](\S.*)", re.I | re.A)
_COUNT_BEHIND = re.compile(r"(.+?)(?:\s+|(?<=\d)|(?<=\)))[x×*]\s*(\d{1,4})", re.I | re.A)
# "Ryzen 5 5600G" and "i7-12700T" have no size; "1024G" is one.
_SIZE = re.compile(
    r"(?<![\w.])(?!(?!1024|1536|2048|3072|4096)\d{4,}[gt](?!\w))(\d{1,6}(?:\.\d{1,3})?)(?:\s*(gib|gb|tib|tb)|(g|t))(?![\w])(\s+(?:of\s+)?ram\b)?",
    re.I | re.A,
)
_BARE_SIZE = re.compile(r"(.+\D)\s(\d{1,4})", re.A)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A text taken apart: how many, of what, with how much memory each; 0 = not stated."""

    count: int
    name: str
    memory_bytes: int
    ram_bytes: int  # the host's, where the text tells it apart
    settings: Settings = NO_SETTINGS  # what it says of the system


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a description means. Bytes and rates are of one accelerator."""

    name: str  # the row's, else as written without count and size
    kind: Kind
    facts: GpuFacts | None  # None: no row has this name
    count: int
    memory_bytes: int  # as sold or as stated; of a processor its RAM; 0 = unknown
    free_bytes: int  # what a driver or the system leaves of it, at best
    free_low_bytes: int  # and what it leaves whatever its settings; 0 = no range
    bandwidth_bytes_per_s: int
    bandwidth_basis: Literal["catalogue", "prior"]
    flops: int  # dense 16-bit; 0 = unknown
    ram_bytes: int  # the host's, beside the accelerator's memory; 0 = not told
    notes: tuple[str, ...]  # what a person should know of this reading, a sentence each

    @property
    def shares_ram(self) -> bool:
        """Whether its memory is the host's RAM: processors, Macs, and chips with both."""
        return self.kind != "gpu" or (
            self.facts is not None and self.facts.memory_kind == "unified"
        )


def _counted(text: str) -> tuple[int, str]:
    """(2, "RTX 3090") of "2x RTX 3090", "RTX 3090 x2" or "dual RTX 3090"."""
    if text[:5].lower() == "dual ":
        return 2, text[5:]
    found = _COUNT_BEFORE.fullmatch(text)
    if found is not None:
        return int(found[1] or found[3]), found[2] or found[4]
    found = _COUNT_BEHIND.fullmatch(text)
    return (1, text) if found is None else (int(found[2]), found[1])


def read_text(text: str) -> Written:
    """Count, name and sizes of a text; whatever is neither is the name."""
    text, settings = read_settings(text.strip())
    count, name = _counted(text.strip().replace("_", " "))
    memory, ram = 0, 0
    for size in list(_SIZE.finditer(name)):
        unit = (size[2] or size[3]).lower()
        stated = int(float(size[1]) * (TIB if unit.startswith("t") else GIB))
        if size[4] and ram == 0:
            ram = stated
        elif memory == 0:
            memory = stated
        else:
            continue
        name = name.replace(size[0], " ", 1)
    name = " ".join(name.split()).strip(" -,").removesuffix(" with")
    return Written(count=count, name=name, memory_bytes=memory, ram_bytes=ram, settings=settings)


def usable_bytes(memory_bytes: int, known: GpuFacts | None, kind: Kind = "gpu") -> int:
    """What a driver or the system leaves of `memory_bytes` at best, as seen on such hardware."""
    reach = reach_of(memory_bytes, known, kind)
    if reach is not None:
        return reach.high_bytes
    if known is not None and known.usable_bytes and memory_bytes == known.memory_bytes:
        return known.usable_bytes
    ecc = memory_bytes // ECC_SHARE if known is not None and known.name in ECC_ON else 0
    return max(0, memory_bytes - ecc - DRIVER_RESERVE_BYTES)


def shares_memory(model: str) -> bool:
    """Whether a device of this name computes in its host's own RAM."""
    facts = lookup_gpu(model)
    return facts is not None and facts.memory_kind in ("apple", "unified")


def ram_bandwidth(text: str) -> int:
    """Bytes a second programs reach in the RAM of a named processor; 0 = its name says nothing."""
    facts = lookup_cpu(text)
    return 0 if facts is None else facts.bandwidth_bytes_per_s * RAM_REACH_PERCENT // 100


def describe(text: str, memory_bytes: int = 0) -> Described:
    """What a text means; `memory_bytes` is a size stated beside it and goes before one inside.

    `memory_bytes` of the answer is 0 where nobody said and no row does.
    """
    modules = read_modules(text)
    if modules is not None:
        return _with_modules(modules, memory_bytes)
    written = read_text(text)
    name, memory, ram = written.name, memory_bytes or written.memory_bytes, written.ram_bytes
    settings = written.settings
    if settings.system == "wsl":
        ram //= WSL_RAM_SHARE
    if memory == 0:
        name, memory = _bare_size(name)
    facts = _row(name, memory)
    if facts is None:
        return _without_row(name, written.count, memory or settings.slice_bytes, ram, settings)
    if facts.kind == "cpu":
        return _known(facts, written.count, memory or ram, 0, NO_SETTINGS)
    if facts.name == "GH200" and memory == 480 * GIB:  # drivers name it by its processor's RAM
        memory, ram = 0, memory
    return _known(facts, written.count, _as_sold(facts, memory), ram, settings)


def _with_modules(modules: Modules, memory_bytes: int) -> Described:
    """A host whose memory is told: a processor, unless a card stands beside it."""
    found = describe(modules.rest, memory_bytes or modules.memory_bytes)
    if found.kind == "gpu" and found.facts is None:
        found = describe(f"CPU {modules.rest}", memory_bytes or modules.memory_bytes)
    if found.kind != "cpu":
        return found
    usual = found.bandwidth_bytes_per_s
    return replace(
        found,
        bandwidth_bytes_per_s=module_bandwidth(modules, usual),
        bandwidth_basis="catalogue" if modules.transfers else found.bandwidth_basis,
    )


def _bare_size(name: str) -> tuple[str, int]:
    """ "M2 Ultra 192": a number that is a size the chip is sold with."""
    found = _BARE_SIZE.fullmatch(name)
    facts = lookup_gpu(found[1]) if found is not None else None
    if found is None or facts is None or facts.memory_kind not in ("apple", "unified"):
        return name, 0
    size = int(found[2])
    sold = [facts, *_variants(facts)]
    return (
        (found[1], size * GIB) if any([size in one.memory_options for one in sold]) else (name, 0)
    )


def _row(name: str, memory: int) -> GpuFacts | None:
    """The row of this name, of this size where the maker sells several chips under one name."""
    sized = f"{name} {memory // GIB}gb" if memory else name
    facts = lookup_gpu(sized) or lookup_gpu(name) or lookup_cpu(name)
    if facts is None or facts.kind != "apple" or memory == 0 or _sells(facts, memory):
        return facts
    for other in _variants(facts):
        if _sells(other, memory):
            return other
    return facts


def _variants(facts: GpuFacts) -> list[GpuFacts]:
    """Rows of the same name with fewer cores: "Apple M3 Max 30-core" of "Apple M3 Max"."""
    return [row for row in gpus() if row.name.startswith(f"{facts.name} ")]


def _sells(facts: GpuFacts, memory: int) -> bool:
    return any([memory == size * GIB for size in facts.memory_options])


def _as_sold(facts: GpuFacts, memory: int) -> int:
    """The stated size, or the row's where the stated one is its rounding or there is none."""
    if memory == 0:
        return facts.memory_bytes
    if _sells(facts, memory):
        return memory
    for size in reversed(facts.memory_options):
        if size * GIB < memory <= ROUNDING * size * GIB:
            return size * GIB
    return memory


def _size_notes(facts: GpuFacts, size: int) -> tuple[str, ...]:
    near = [abs(size / GIB - sold) <= 0.08 * sold + 0.5 for sold in facts.memory_options]
    if not facts.memory_options or any(near):
        return ()
    sold_with = " or ".join([str(sold) for sold in facts.memory_options])
    return (f"{show_bytes(size)} is not a size the {facts.name} is sold with ({sold_with} GiB)",)


def _left(memory: int, facts: GpuFacts | None, kind: Kind, settings: Settings) -> Reach:
    """What the driver and the system leave of it, at worst and at best."""
    shared = reach_of(memory, facts, kind, settings)
    if shared is not None:
        return shared
    if kind == "cpu":
        worst = max(memory // 2, memory - DESKTOP_KEEPS)
        best = max(memory // 2, memory - SERVER_KEEPS)
        return Reach(low_bytes=worst, high_bytes=best)
    if settings.slice_sevenths:
        left = memory * MIG_SHARE_PERCENT // 100
        return Reach(low_bytes=left, high_bytes=left)
    left = usable_bytes(memory, facts, kind)
    gddr = facts is not None and facts.memory_kind == "gddr"
    if facts is not None and gddr and settings.ecc is not None:
        kept = DRIVER_RESERVE_BYTES + (memory // ECC_SHARE if settings.ecc else 0)
        left = max(0, memory - kept)
    held = DESKTOP_BYTES if settings.system and kind == "gpu" else 0
    return Reach(low_bytes=max(0, left - held), high_bytes=left)


def _reach_notes(name: str, memory: int, reach: Reach, *, apple: bool) -> tuple[str, ...]:
    """How much of a shared memory the GPU may use, and what decides."""
    low, high, whole = (show_bytes(n) for n in (reach.low_bytes, reach.high_bytes, memory))
    if memory == 0 or reach.low_bytes == reach.high_bytes == memory:
        return ()
    between = high if low == high else f"{low} to {high}"
    if apple:
        newer = "" if low == high else ", more since macOS 26"
        return (
            f"macOS lets the GPU use {between} of {whole}{newer}; "
            "sysctl iogpu.wired_limit_mb raises it",
        )
    by = "" if low == high else ", by its carve-out and its driver's limit"
    return (f"the GPU of the {name} may use {between} of {whole}{by}",)


def _known(facts: GpuFacts, count: int, memory: int, ram: int, settings: Settings) -> Described:
    sockets, count = (count, 1) if facts.kind == "cpu" else (1, count)
    notes = () if facts.kind == "cpu" else _size_notes(facts, memory)
    part = settings.slice_bytes if 0 < settings.slice_bytes < memory else memory
    reach = _left(part, facts, facts.kind, settings)
    if facts.kind == "apple" or facts.memory_kind == "unified":
        notes += _reach_notes(facts.name, part, reach, apple=facts.kind == "apple")
    bandwidth, flops = facts.bandwidth_bytes_per_s, facts.flops
    if settings.slice_sevenths and part < memory:
        bandwidth = bandwidth * _eighths(part, memory) // 8
        flops = flops * settings.slice_sevenths // 7
    elif part < memory:
        notes += ("a vGPU shares bandwidth and compute with others: its speed is the whole card's",)
    return Described(
        name=facts.name,
        kind=facts.kind,
        facts=facts,
        count=count,
        memory_bytes=part,
        free_bytes=reach.high_bytes,
        free_low_bytes=reach.low_bytes if reach.low_bytes < reach.high_bytes else 0,
        bandwidth_bytes_per_s=bandwidth,
        bandwidth_basis="catalogue",
        flops=flops,
        ram_bytes=ram,
        notes=notes + _socket_notes(sockets),
    )


def _eighths(part: int, memory: int) -> int:
    """How many of a card's eight memory slices a MIG instance of this size has."""
    return max(1, min(8, round(8 * part / memory)))


def _socket_notes(sockets: int) -> tuple[str, ...]:
    if sockets == 1:
        return ()
    return (f"{sockets} sockets: planned at the memory bandwidth of one",)


def is_stranger(what: Described) -> bool:
    """Whether neither a row nor a word of the name says what it is."""
    if what.facts is not None or what.bandwidth_basis != "prior":
        return False
    return family_of(f"{what.name} {' '.join(name_words(what.name))}") is None


def _without_row(name: str, count: int, memory: int, ram: int, settings: Settings) -> Described:
    """Class and rates from the words alone; a card where they say nothing."""
    family = family_of(f"{name} {' '.join(name_words(name))}")  # "M6 Max" is Apple's
    kind: Kind = "gpu" if family is None else family.kind
    if kind != "gpu":
        memory, ram = memory or ram, 0
    sockets, count = (count, 1) if kind == "cpu" else (1, count)
    reach = _left(memory, None, kind, settings)
    notes = _reach_notes(name, memory, reach, apple=True) if kind == "apple" else ()
    return Described(
        name=name,
        kind=kind,
        facts=None,
        count=count,
        memory_bytes=memory,
        free_bytes=reach.high_bytes,
        free_low_bytes=reach.low_bytes if reach.low_bytes < reach.high_bytes else 0,
        bandwidth_bytes_per_s=(PRIOR_BANDWIDTH if family is None else family.bandwidth_bytes_per_s),
        bandwidth_basis="prior",
        flops=0,
        ram_bytes=ram,
        notes=notes + _socket_notes(sockets),
    )
