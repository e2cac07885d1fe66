"""Typical prices of machines to rent, as they were on a day: data/prices.csv, shipped with us.

For a machine that was never online, and to tell a wrong price where nobody watched a provider yet.
They grow old: whoever shows one shows its date. `data/README.md` says how they were made.
"""

from dataclasses import dataclass
from typing import final

from mathcore.data import read_rows
from mathcore.market.days import day_ms
from mathcore.units import GIB, parse_nusd

COLUMNS: tuple[str, ...] = (
    "provider", "gpu", "gpu_count", "memory_gib", "hourly_usd", "spot", "date", "source",
)  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """The median price of a machine with `gpu_count` accelerators on a day."""

    provider: str
    gpu: str  # as the tables of hardware call it
    gpu_count: int
    memory_bytes: int  # of one, as sold
    hourly_nusd: int  # of the whole machine
    spot: bool
    at_ms: int  # begin of the day, UTC
    source: str


def _typical(row: dict[str, str]) -> Typical:
    return Typical(
        provider=row["provider"],
        gpu=row["gpu"],
        gpu_count=int(row["gpu_count"]),
        memory_bytes=int(row["memory_gib"]) * GIB,
        hourly_nusd=parse_nusd(row["hourly_usd"]),
        spot=row["spot"] == "yes",
        at_ms=day_ms(row["date"]),
        source=row["source"],
    )


_READ: dict[str, tuple[Typical, ...]] = {}


def typical_prices() -> tuple[Typical, ...]:
    """Every row, read once."""
    if "all" not in _READ:
        _READ["all"] = tuple([_typical(row) for row in read_rows("market", "prices.csv")])
    return _READ["all"]
