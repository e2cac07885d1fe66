"""Which machines somebody wants to see: a query's texts in, a checked filter out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from mathcore.hardware.described import read_text
from mathcore.hardware.names import name_words
from mathcore.units import parse_bytes, parse_hourly_nusd, parse_memory
from mesh.api.errors import RequestError
from mesh.api.fields import read, refuse, unknown_field
from mesh.state.market.groups import MAX_GPU_COUNT

FIELDS: Final = ("gpu", "count", "spot", "max_price", "provider", "disk", "limit")
# A row is 700 bytes of JSON: so many are more than a person or a pipe wants.
MAX_OFFERS: Final = 10_000
DEFAULT_OFFERS: Final = 200
MAX_TEXT: Final = 120  # characters of a value
# A card of 24 GiB may report 22.5 to a provider, its driver's part and ECC taken off.
REPORTED: Final = 0.92
MIN_DISK_BYTES: Final = 8 << 30  # the least that Vast.ai lets
MAX_DISK_BYTES: Final = 16 << 40
DEFAULT_DISK: Final = "40GiB"  # a model of 30 GB and its engine; prices are asked for with it
_RANGE: Final = re.compile(r"([^.]*(?:\.\d+[^.]*)?)\.\.([^.]*(?:\.\d+[^.]*)?)")
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferFilter:
    """What a machine must be; None and "" do not bind. Memory is of one accelerator, as sold."""

    words: tuple[str, ...] = ()  # of its GPU's name
    least_bytes: int | None = None
    most_bytes: int | None = None
    count: int | None = None
    spot: bool | None = None
    max_nusd: int | None = None  # an hour
    provider: str = ""
    disk_bytes: int | None = None  # room on its disk: what a price is with
    limit: int = DEFAULT_OFFERS

    def takes_gpu(self, gpu: str, count: int, memory_bytes: int) -> bool:
        """Whether such a machine is wanted, whatever its price."""
        if self.count not in (None, count):
            return False
        if self.least_bytes is not None and memory_bytes < REPORTED * self.least_bytes:
            return False
        if self.most_bytes is not None and memory_bytes > self.most_bytes:
            return False
        return not self.words or set(self.words) <= set(name_words(gpu))


def parse_offers(given: Mapping[str, str]) -> OfferFilter:
    """The filter of a query's fields; RequestError names the one that is wrong."""
    for name, value in given.items():
        if name not in FIELDS:
            unknown_field(name, FIELDS, "fleet offers --help")
        if len(value) > MAX_TEXT:
            refuse(f"{name}: {len(value)} characters", f"at most {MAX_TEXT}")
    words, least, most, count = _gpu(given["gpu"]) if "gpu" in given else ((), None, None, None)
    told = _whole("count", given["count"], MAX_GPU_COUNT) if "count" in given else None
    return OfferFilter(
        words=words,
        least_bytes=least,
        most_bytes=most,
        count=told or count,
        spot=_flag("spot", given["spot"]) if "spot" in given else None,
        max_nusd=_price(given["max_price"]) if "max_price" in given else None,
        provider=given.get("provider", "").strip().lower(),
        disk_bytes=_disk(given["disk"]) if "disk" in given else None,
        limit=_whole("limit", given["limit"], MAX_OFFERS) if "limit" in given else DEFAULT_OFFERS,
    )


Gpu = tuple[tuple[str, ...], int | None, int | None, int | None]


def _gpu(text: str) -> Gpu:
    """(words of a name, least memory, most memory, count) of "24GB..", "..48GB", "24GB..48GB",
    "24GB", "RTX 4090", "2x A100 80GB"."""
    found = _RANGE.fullmatch(text.strip())
    if found is not None and (found[1].strip() or found[2].strip()):
        least, most = (_size(one) if one.strip() else None for one in found.groups())
        if least is not None and most is not None and least > most:
            refuse(f"gpu: {text!r} begins above its end", "24GB..48GB")
        return (), least, most, None
    written = read_text(text)
    words, size = tuple(name_words(written.name)), written.memory_bytes or None
    if ".." in text or not (words or size):
        refuse(f"gpu: {text!r} is no size and no name", 'say 24GB.. or "RTX 4090"')
    count = written.count if 1 < written.count <= MAX_GPU_COUNT else None
    return words, size, size, count


def _size(text: str) -> int:
    return read("gpu", parse_memory, text)


def _price(text: str) -> int:
    return read("max_price", parse_hourly_nusd, text)


def _disk(text: str) -> int:
    found = read("disk", parse_bytes, text)
    if not MIN_DISK_BYTES <= found <= MAX_DISK_BYTES:
        refuse(f"disk: {text!r} is not between 8GiB and 16TiB", f"say for example {DEFAULT_DISK}")
    return found


def _whole(name: str, text: str, most: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        refuse(f"{name}: {text!r} is not a whole number from 1 to {most}", f"{name} 1")
    return number


def _flag(name: str, text: str) -> bool:
    if text.lower() not in _WORDS:
        raise RequestError("BadRequest", f"{name}: {text!r} is not true or false", f"{name}=true")
    return _WORDS[text.lower()]
