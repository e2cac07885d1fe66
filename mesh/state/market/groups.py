"""Kinds of machines as prices are kept by, and how their names are read."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from mathcore.units import GIB, MAX_HOURLY_NUSD
from mesh.state.facts.offers import OfferRow

# The longest name of a GPU that a provider was seen to have is 42 characters; a row of names this
# long takes some 400 bytes, so MAX_ROWS of them fit into an event's 64 KiB.
MAX_GPU_NAME: Final = 64
MAX_REGION: Final = 16
# Rows that are read of one event. The largest market here had some 70 kinds of GPU and count.
MAX_ROWS: Final = 96
MAX_GPU_COUNT: Final = 64  # more than any host has
MAX_MEMORY_BYTES: Final = 1 << 44  # 16 TiB of one accelerator


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Machines of one kind; see `OfferRow` for the fields."""

    gpu: str
    gpu_count: int
    memory_bytes: int
    spot: bool
    region: str
    n: int
    min_nusd: int
    median_nusd: int

    @property
    def kind(self) -> Kind:
        """What it is grouped by, without its region."""
        return kind_of(self.gpu, self.gpu_count, self.memory_bytes, spot=self.spot)

    @property
    def place(self) -> Place:
        """What it is grouped by."""
        return (*self.kind, self.region)


class Kind(NamedTuple):
    """One kind of machine at a provider, wherever it stands."""

    gpu: str
    gpu_count: int
    memory_gib: int
    spot: bool


Place = tuple[str, int, int, bool, str]  # a kind's fields and a region


def kind_of(gpu: str, gpu_count: int, memory_bytes: int, *, spot: bool) -> Kind:
    """Machines whose memory differs by a driver's share are of one kind."""
    return Kind(gpu, gpu_count, (memory_bytes + GIB // 2) // GIB, spot)


def read_rows(rows: tuple[OfferRow, ...]) -> tuple[Group, ...]:
    """The rows that make sense, each kind and region once: the first one said. Of a kind that is
    gone `n` is 0."""
    found: dict[Place, Group] = {}
    for row in filter(_is_sane, rows[:MAX_ROWS]):
        group = Group(
            row.gpu,
            row.gpu_count,
            row.memory_bytes,
            row.spot,
            row.region,
            row.n,
            row.min_nusd,
            row.median_nusd,
        )
        found.setdefault(group.place, group)
    return tuple(found.values())


def _is_sane(row: OfferRow) -> bool:
    return (
        0 < len(row.gpu) <= MAX_GPU_NAME
        and row.gpu.isprintable()
        and len(row.region) <= MAX_REGION
        and row.region.isprintable()
        and 0 < row.gpu_count <= MAX_GPU_COUNT
        and 0 < row.memory_bytes <= MAX_MEMORY_BYTES
        and (row.n == 0 or 0 < row.min_nusd <= row.median_nusd <= MAX_HOURLY_NUSD)
    )
