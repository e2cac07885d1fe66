"""One row for each thing that costs: short enough to keep a million of them.

Every author's word has rows of its own; whose counts is decided when a bill is made.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

# Pauses kept of one run: a job that gives way to a person does so some times a day.
MAX_MARKS: Final = 256
Mark = tuple[int, bool]  # when; whether it paused then, or went on


@final
class RunRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """An attempt on a device, as the device's owner says. ms UTC, 0 = not yet."""

    started_ms: int = 0
    ended_ms: int = 0
    duration_ms: int = 0  # as measured, pauses in it
    energy_mj: int = 0  # measured; 0 = unknown
    prompt_tokens: int = 0
    generated_tokens: int = 0
    prefill_mtps: int = 0
    throughput_mtps: int = 0
    marks: list[Mark] = []  # noqa: RUF012  a struct copies it
    told_ms: int = 0


@final
class JobRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """A job, as whoever submitted it says."""

    user: str = ""  # key of the peer that submitted it
    model: str = ""
    label: str = ""
    key: str = ""  # the key of that peer's in whose budgets it counts


@final
class SentRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """An attempt as it was sent: by which engine, to which devices beside the first."""

    engine: str = ""
    members: tuple[str, ...] = ()


@final
class PaidRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a device's registration says of its cost, from then on."""

    price_nusd: int = 0  # 0 = not stated
    resale_nusd: int = 0
    lifetime_months: int = 0
    tariff_nusd_per_kwh: int = 0
    watts: int = 0  # of all its accelerators
    hourly_nusd: int = 0  # above 0 it is rented
    gone: bool = False


@final
class UsedRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """What a key asked of one job in a quarter-hour."""

    cost_nusd: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    requests: int = 0

    def plus(self, one: UsedRow) -> UsedRow:
        """Both together."""
        return UsedRow(
            self.cost_nusd + one.cost_nusd,
            self.prompt_tokens + one.prompt_tokens,
            self.cached_tokens + one.cached_tokens,
            self.generated_tokens + one.generated_tokens,
            self.requests + one.requests,
        )


@final
class RunKey(msgspec.Struct, frozen=True, array_like=True):
    """Which attempt on which device, as who says."""

    device: str
    author: str
    job: str
    attempt: int
