"""How much of a memory shared with a processor its GPU may use, where no device has said.

Metal's working set, the pools of AMD's and Intel's drivers, what the boards of NVIDIA's leave:
data/reach.csv has a range by maker and size of RAM, each end as somebody measured it. Settings a
person states narrow it: the macOS, a raised limit, a carve-out.
"""

import re
from dataclasses import dataclass
from typing import final

from mathcore.data import read_rows
from mathcore.hardware.facts import GpuFacts, Kind
from mathcore.units import GIB, MIB

# The share macOS gives the GPU grew with this one.
LARGER_SINCE_MACOS = 26
MACOS_NAMES: dict[str, int] = {"ventura": 13, "sonoma": 14, "sequoia": 15, "tahoe": 26}
PAGE_BYTES = 4096  # what ttm.pages_limit counts
# Shares are read to six digits, so that 66.6667 % of 16 GiB is two thirds to the MiB.
_PARTS = 1_000_000
_SHARES: tuple[str, str] = ("low_percent", "high_percent")

_MACOS = re.compile(r"\bmac\s?os\s*(\d{2}(?:\.\d+)*|[a-z]+)\b", re.I | re.A)
_LIMIT = re.compile(
    r"\b(?:(iogpu\.)?wired_limit_mb|(ttm\.)?pages_limit|(amdgpu\.)?gttsize)\s*=\s*(\d{1,12})\b",
    re.I | re.A,
)
# Part of an A100 or newer, "3g.40gb": seventh parts of its compute, and its memory.
_MIG = re.compile(r"\b(?:mig[ -]*)?([1-7])g\.(\d{1,3})gb(?:\+me\S*)?(?:\s+mig)?\b", re.I | re.A)
# A card's share by NVIDIA's name of it, "A100-10C", "GRID T4-16Q": its GiB, and its licence.
_VGPU = re.compile(r"(?<=[0-9A-Z])-(\d{1,3})[ABCQ]\b", re.A)
_ECC = re.compile(r"\b(?:with\s+|(no|without)\s+)?ecc\b(?:\s+(on|off)\b)?", re.I | re.A)
_SYSTEM = re.compile(r"\b(?:on\s+|under\s+)?(wsl ?2?|windows(?:\s+1[01])?)\b", re.I | re.A)
_POOL = re.compile(
    r"\(?\b(\d{1,4}(?:\.\d+)?)\s*(?:gib|gb|g)\s*(gtt|carve[- ]?out|uma|vgm)\b\)?", re.I | re.A
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a description says of the system; 0 = nothing."""

    macos: int = 0  # its major version
    granted_bytes: int = 0  # a limit somebody set: the GPU has this, neither more nor less
    carved_bytes: int = 0  # RAM set aside for the GPU at boot; of the rest it may have half
    slice_sevenths: int = 0  # of the compute: a MIG instance
    slice_bytes: int = 0  # of the memory: a MIG instance, or a vGPU
    ecc: bool | None = None
    system: str = ""  # "windows", "wsl"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a GPU may use: `high_bytes` at best, `low_bytes` whatever the settings are."""

    low_bytes: int
    high_bytes: int


NO_SETTINGS = Settings()
_READ: dict[str, dict[str, list[tuple[int, int, int]]]] = {}


def _table() -> dict[str, list[tuple[int, int, int]]]:
    """(from bytes, low, high in millionths) by name or architecture, smallest memory first."""
    if "all" not in _READ:
        found: dict[str, list[tuple[int, int, int]]] = {}
        for row in read_rows("hardware", "reach.csv"):
            shares = [round(float(row[key]) * _PARTS / 100) for key in _SHARES]
            found.setdefault(row["match"], []).append(
                (int(row["ram_gib"]) * GIB, shares[0], shares[1])
            )
        _READ["all"] = found
    return _READ["all"]


def read_settings(text: str) -> tuple[str, Settings]:
    """The text without what it says of the system, and that."""
    text, macos = _macos(text)
    text, granted = _limit(text)
    carved = 0
    found = _POOL.search(text)
    if found is not None:
        size = int(float(found[1]) * GIB)
        granted, carved = (size, 0) if found[2].lower() == "gtt" else (granted, size)
        text = _without(text, found[0])
    text, sevenths, part = _slice(text)
    text, ecc = _ecc(text)
    found = _SYSTEM.search(text)
    system = "" if found is None else ("wsl" if found[1].lower()[0:3] == "wsl" else "windows")
    return text if found is None else _without(text, found[0]), Settings(
        macos=macos,
        granted_bytes=granted,
        carved_bytes=carved,
        slice_sevenths=sevenths,
        slice_bytes=part,
        ecc=ecc,
        system=system,
    )


def _without(text: str, part: str) -> str:
    return text.replace(part, " ", 1)


def _macos(text: str) -> tuple[str, int]:
    """Its major version, by number or name; 0 where neither stands there."""
    found = _MACOS.search(text)
    if found is None:
        return text, 0
    word = found[1].lower()
    macos = int(word.split(".")[0]) if word[0].isdigit() else MACOS_NAMES.get(word, 0)
    return (_without(text, found[0]) if macos else text), macos


def _limit(text: str) -> tuple[str, int]:
    """A kernel's limit as it is set, in bytes."""
    found = _LIMIT.search(text)
    if found is None:
        return text, 0
    unit = PAGE_BYTES if "pages" in found[0].lower() else MIB
    return _without(text, found[0]), int(found[4]) * unit


def _slice(text: str) -> tuple[str, int, int]:
    """(sevenths of the compute, bytes of the memory) of a part of a card."""
    found = _MIG.search(text)
    if found is not None:
        return _without(text, found[0]), int(found[1]), int(found[2]) * GIB
    found = _VGPU.search(text)
    if found is not None:
        return _without(text, found[0]), 0, int(found[1]) * GIB
    return text, 0, 0


def _ecc(text: str) -> tuple[str, bool | None]:
    found = _ECC.search(text)
    if found is None:
        return text, None
    off = bool(found[1]) or (found[2] or "").lower() == "off"
    return _without(text, found[0]), not off


def reach_of(
    memory_bytes: int, known: GpuFacts | None, kind: Kind, settings: Settings = NO_SETTINGS
) -> Reach | None:
    """What a GPU may use of this much RAM; None for one with memory of its own."""
    apple = kind == "apple" or (known is not None and known.kind == "apple")
    if not apple and (known is None or known.memory_kind != "unified"):
        return None
    if settings.granted_bytes > 0:
        granted = min(settings.granted_bytes, memory_bytes)
        return Reach(low_bytes=granted, high_bytes=granted)
    if settings.carved_bytes > 0 and not apple:
        carved = min(settings.carved_bytes, memory_bytes)
        return Reach(low_bytes=carved, high_bytes=carved + (memory_bytes - carved) // 2)
    low, high = _shares(memory_bytes, "apple" if apple or known is None else known.name, known)
    if settings.macos:
        low = high = high if settings.macos >= LARGER_SINCE_MACOS else low
    return Reach(low_bytes=memory_bytes * low // _PARTS, high_bytes=memory_bytes * high // _PARTS)


def _shares(memory_bytes: int, name: str, known: GpuFacts | None) -> tuple[int, int]:
    """Both ends in millionths, by name, else by architecture; all of it where no row says."""
    rows = _table().get(name)
    if rows is None and known is not None:
        rows = _table().get(known.arch)
    if rows is None:
        return _PARTS, _PARTS
    low, high = rows[0][1], rows[0][2]
    for least, row_low, row_high in rows:
        if least <= memory_bytes:
            low, high = row_low, row_high
    return low, high
