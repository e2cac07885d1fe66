"""One row for each thing that costs: short enough to keep a million of them.

Every author's word has rows of its own; whose counts is decided when a bill is made.
"""

from __future__ import annotations

from typing import Final, final

import msgspec

# Pauses kept of one run: a job that gives way to a person does so some times a day.
MAX_MARKS: Final = 256
Mark = tuple[int, bool]  # when; whether it paused then, or went on
RentSpan = tuple[int, int | None, int]  # from, to (None: it goes on), nano-dollars an hour


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
class MachineRow(msgspec.Struct, array_like=True, omit_defaults=True):
    """A rented machine: who rents it, its time at each rate, and what its provider charged."""

    author: str
    provider: str
    job: str = ""  # the one it was rented for
    count: int = 1
    step_ms: int = 1
    spans: list[RentSpan] = []  # noqa: RUF012  a struct copies it
    invoiced_nusd: int | None = None
    since_ms: int = 0
    is_open: bool = False


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


@final
class SeenKey(msgspec.Struct, frozen=True, array_like=True):
    """Which watch of which device, as who said when; of two that begin at once the last counts."""

    device: str
    author: str
    from_ms: int
    told_ms: int


@final
class UsedKey(msgspec.Struct, frozen=True, array_like=True):
    """Whose requests to which job in which quarter-hour, as who said in which."""

    device: str
    author: str
    at_ms: int
    job: str
    key: str
    model: str
    told_ms: int
