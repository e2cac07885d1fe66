"""Vast.ai's sizes and prices: a disk in GB, whose price is a month's of 720 hours; bids in steps.

That the month has 720 hours is worked out from the API description's own sample: 0.149333 $/GB x
10 GB / 720 is its `diskHour`, 0.0020740.
"""

from __future__ import annotations

from typing import Final

from providers.rental.units import GB, HOURS_IN_MONTH_720, decimal_of, usd_per_gb_month

LEAST_DISK_GB: Final = 8  # it makes none smaller
BID_STEP_NUSD: Final = 100_000  # bids are sent in steps of $0.0001 an hour
LEAST_BID_NUSD: Final = 1_000_000
MOST_BID_NUSD: Final = 128_000_000_000


def disk_gb(disk_bytes: int) -> int:
    """How many GB are asked for so that `disk_bytes` fit: of 10^9 bytes, whatever it takes a GB
    for."""
    return max(LEAST_DISK_GB, -(-disk_bytes // GB))


def storage_nusd(storage_cost: object, gigabytes: object) -> int | None:
    """Nano-dollars an hour of a disk; `storage_cost` is $ a GB and month."""
    size = decimal_of(gigabytes)
    if size is None or size < 0:
        return None
    return usd_per_gb_month(storage_cost, size, HOURS_IN_MONTH_720)


def bid_nusd(hourly_nusd: int) -> int:
    """A bid rounded up to what can be sent exactly: one rounded down may lie below the least."""
    return max(LEAST_BID_NUSD, -(-hourly_nusd // BID_STEP_NUSD) * BID_STEP_NUSD)
