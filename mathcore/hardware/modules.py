"""Memory modules as people write them beside a processor: "DDR5-5600 x2", "2x32GB DDR4-3200".

A channel is 64 bits wide, so two of DDR5-5600 bring 89.6 GB/s, whatever processor is behind them.
"""

import re
from dataclasses import dataclass
from typing import final

from mathcore.units import GIB

CHANNEL_BYTES = 8
# What boards have; a number of channels nobody stated is the nearest of these.
CHANNELS: tuple[int, ...] = (1, 2, 4, 6, 8, 12, 16, 24)
MAX_CHANNELS = 24
# Million transfers a second of the slowest DDR and the fastest LPDDR5X: beyond, no such module.
SLOWEST, FASTEST = 200, 12_800
_WORDS: dict[str, int] = {
    "single": 1, "dual": 2, "quad": 4, "hexa": 6, "six": 6, "octa": 8, "eight": 8, "twelve": 12,
}  # fmt: skip

_TYPE = re.compile(r"(?<!\w)(lp)?ddr([1-5])x?(?:[\s-]*(\d{3,5}))?(?:\s*mt/s|\s*mhz)?(?!\w)", re.I)
_SETS = re.compile(r"(?<![\w.])(\d{1,2})\s*[x×]\s*(\d{1,4})\s*(?:gib|gb|g)(?!\w)", re.I | re.A)
_TIMES_BEHIND = re.compile(r"^\s*[x×]\s*(\d{1,2})(?!\w)", re.A)
_TIMES_BEFORE = re.compile(r"(?<![\w.])(\d{1,2})\s*[x×]\s*$", re.A)
_CHANNELS = re.compile(r"(?<!\w)(\d{1,2}|[a-z]+)[\s-]channels?(?!\w)", re.I | re.A)
_BUS = re.compile(r"(?<!\w)(\d{2,4})[\s-]?bit(?!\w)", re.I | re.A)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """What a text says of a host's memory; 0 = not stated."""

    rest: str  # the text without it
    transfers: int  # millions a second
    channels: int
    memory_bytes: int
    low_power: bool  # soldered, and never on a single channel


def read_modules(text: str) -> Modules | None:
    """The modules a text names, or None where it names none."""
    found = _TYPE.search(text)
    if found is None:
        return None
    before, behind = text[: found.start()], text[found.end() :]
    transfers = int(found[3] or 0)
    count, before, behind = _count(before, behind)
    sets = _SETS.search(before) or _SETS.search(behind)
    rest = f"{_SETS.sub(' ', before)} {_SETS.sub(' ', behind)}"
    stated, rest = _stated(rest)
    return Modules(
        rest=" ".join(rest.split()).strip(" ,+@-/"),
        transfers=transfers if SLOWEST <= transfers <= FASTEST else 0,
        channels=stated or count or (int(sets[1]) if sets else 0),
        memory_bytes=int(sets[1]) * int(sets[2]) * GIB if sets else 0,
        low_power=found[1] is not None,
    )


def _count(before: str, behind: str) -> tuple[int, str, str]:
    """(2, …) of "DDR5-5600 x2" and "2x DDR5-5600": modules, one on each channel."""
    after = _TIMES_BEHIND.search(behind)
    if after is not None:
        return int(after[1]), before, behind[after.end() :]
    ahead = _TIMES_BEFORE.search(before)
    if ahead is not None:
        return int(ahead[1]), before[: ahead.start()], behind
    return 0, before, behind


def _stated(text: str) -> tuple[int, str]:
    """(channels, the rest) of "quad channel", "12-channel", "256-bit"."""
    found = _CHANNELS.search(text)
    if found is not None:
        word = found[1].lower()
        count = int(word) if word.isdigit() else _WORDS.get(word, 0)
        return min(count, MAX_CHANNELS), text.replace(found[0], " ", 1)
    bus = _BUS.search(text)
    if bus is not None:
        bits = 8 * CHANNEL_BYTES
        return min(int(bus[1]) // bits, MAX_CHANNELS), text.replace(bus[0], " ", 1)
    return 0, text


def module_bandwidth(modules: Modules, usual_bytes_per_s: int) -> int:
    """Bytes a second of these modules; `usual` is what such a processor's own memory brings, and
    says how many channels it has where nobody did."""
    if modules.transfers == 0:
        return usual_bytes_per_s
    one = modules.transfers * 1_000_000 * CHANNEL_BYTES
    least = 2 if modules.low_power else 1
    return one * (modules.channels or max(least, _nearest(usual_bytes_per_s / one)))


def _nearest(ratio: float) -> int:
    best = CHANNELS[0]
    for count in CHANNELS:
        if max(count / ratio, ratio / count) < max(best / ratio, ratio / best):
            best = count
    return best
