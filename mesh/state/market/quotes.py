"""One price of one machine to rent, wherever it was heard: by this peer, the ledger, a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, final

from mathcore.market.typical import Typical
from mathcore.units import GB
from mesh.state.market.groups import Kind, kind_of
from mesh.state.market.market import Market

# "offer": it can be taken by its id, at this peer; "ledger": what another account saw, as a kind;
# "typical": the table this program came with.
Source = Literal["offer", "ledger", "typical"]
OFFER: Final = "offer"
LEDGER: Final = "ledger"
TYPICAL: Final = "typical"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A machine and its price; 0, "" and None: not told.

    Of a kind of machines `hourly_nusd` is the cheapest's and `n` counts them. `boot_ms` is the
    median from the order to an engine that answers, `success_ppm` how many orders of a million got
    that far; both are learned from rentals at that host, else at that provider. `billed_boot_ms` is
    what of a boot is paid for, as time at `hourly_nusd`; where that is not known, all of it.
    """

    source: Source
    provider: str
    gpu: str  # as the provider calls it
    gpu_count: int
    memory_bytes: int  # of one
    hourly_nusd: int  # the whole machine, all in
    at_ms: int  # when it was so
    account: str = ""
    offer_id: str = ""
    spot: bool = False
    region: str = ""
    n: int = 1
    median_nusd: int = 0  # of the kind, where it is one
    stopped_hourly_nusd: int = 0
    ingress_nusd_per_gb: int = 0
    egress_nusd_per_gb: int = 0
    disk_bytes: int = 0
    disk_hourly_nusd_per_gb: int | None = None  # None: it comes with the disk that it has
    ram_bytes: int = 0
    vcpus: int = 0
    network_bps: int = 0
    host_id: str = ""
    reliability_ppm: int | None = None
    boot_ms: int | None = None
    billed_boot_ms: int | None = None
    success_ppm: int | None = None

    @property
    def kind(self) -> Kind:
        """What it is compared with."""
        return kind_of(self.gpu, self.gpu_count, self.memory_bytes, spot=self.spot)


def with_disk(one: Quote, disk_bytes: int) -> Quote | None:
    """The machine with another disk, for what it costs then: in whole GB, as it is billed. None
    where it has less, and takes no other."""
    each = one.disk_hourly_nusd_per_gb
    if each is None or not one.disk_bytes:
        return None if 0 < one.disk_bytes < disk_bytes else one
    more = each * (-(-disk_bytes // GB) - -(-one.disk_bytes // GB))
    stopped = one.stopped_hourly_nusd
    return replace(
        one,
        hourly_nusd=max(0, one.hourly_nusd + more),
        stopped_hourly_nusd=max(0, stopped + more) if stopped else 0,
        disk_bytes=disk_bytes,
    )


def quotes_of(market: Market) -> tuple[Quote, ...]:
    """What the ledger says of each account, a quote a kind and region."""
    return tuple(
        Quote(
            source=LEDGER,
            provider=latest.provider,
            account=latest.account,
            gpu=row.gpu,
            gpu_count=row.gpu_count,
            memory_bytes=row.memory_bytes,
            hourly_nusd=row.min_nusd,
            median_nusd=row.median_nusd,
            at_ms=latest.seen_ms,
            spot=row.spot,
            region=row.region,
            n=row.n,
        )
        for latest in market.latest().values()
        for row in latest.rows
    )


def typical_quotes(rows: Iterable[Typical]) -> tuple[Quote, ...]:
    """The table's rows."""
    return tuple(
        Quote(
            source=TYPICAL,
            provider=row.provider,
            gpu=row.gpu,
            gpu_count=row.gpu_count,
            memory_bytes=row.memory_bytes,
            hourly_nusd=row.hourly_nusd,
            median_nusd=row.hourly_nusd,
            at_ms=row.at_ms,
            spot=row.spot,
        )
        for row in rows
    )


def best_known(*sources: Iterable[Quote]) -> tuple[Quote, ...]:
    """Of each provider what the first of the sources knows that knows anything of it."""
    found: list[Quote] = []
    for source in sources:
        known = {one.provider for one in found}
        found += [one for one in source if one.provider not in known]
    return tuple(found)
