"""What a bill is made from. Amounts are whole numbers, times milliseconds UTC; None is unknown.

`from_ms` is the first instant a statement is true, `to_ms` the first it is not. `told_ms` is when
somebody said it: a bill shows how old its figures are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, final

Basis = Literal["unknown", "estimated", "measured", "invoiced"]
BASES: Final[tuple[Basis, ...]] = ("unknown", "estimated", "measured", "invoiced")  # weakest first
Span = tuple[int, int]  # from, to
DOLLAR: Final = "USD"
YEAR_HOURS: Final = 8760
MONTH_HOURS: Final = YEAR_HOURS // 12  # 730: a month's price over it is an hour's
# Units of a job that has its device whole, however many accelerators that is: no device has more.
WHOLE: Final = 1 << 16


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one unit of an owned device costs from `from_ms` on, who owns it, and how many units
    there are. A new rate takes the place of the whole of the last one.

    `worn` of a unit's price was worn off by `worn_ms`: the rest is lost in what is left of its
    life. None: nothing was, by the day it was bought.
    """

    device: str
    from_ms: int
    owner: str = ""
    count: int = 1
    price: int | None = None  # of one unit, in nano-units of `currency`, paid on `bought_ms`
    resale: int = 0  # what one brings at the end of its life, in the same
    bought_ms: int = 0
    life_months: int | None = None
    worn: int = 0  # nano-dollars
    worn_ms: int | None = None
    currency: str = DOLLAR
    tdp_mw: int | None = None  # one unit under load
    idle_mw: int | None = None  # one unit that nobody uses
    idle_basis: Basis = "estimated"
    tariff: str = ""  # name of the tariff its power is bought by
    told_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whose some work was and what it made; it changes no amount."""

    user: str = ""
    key: str = ""  # the key its job was submitted for
    model: str = ""
    engine: str = ""
    # Prompt not cached, prompt cached, generated: tokens, and the measured ms of each.
    tokens: tuple[int, int, int] = (0, 0, 0)
    phases_ms: tuple[int, int, int] | None = None


NOBODY: Final = Who()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A job on a device. Pauses are between the `spans`, which don't overlap."""

    job: str
    device: str
    spans: tuple[Span, ...]
    units: int = 1
    reserved_bytes: int | None = None  # memory that its lease keeps from others
    energy_mj: int | None = None  # measured for this job alone
    who: Who = NOBODY
    told_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The owner's daemon saw the device all the while: without a job it was idle, not unknown."""

    device: str
    from_ms: int
    to_ms: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What the whole device drew between two readings of its counter."""

    device: str
    from_ms: int
    to_ms: int
    energy_mj: int
    told_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A price of some minutes of some weekdays, by the wall clock of the tariff's zone.

    `weekdays`: digits, Monday is 0. Minutes from midnight are multiples of 15, 1440 is its end.
    """

    weekdays: str
    from_min: int
    to_min: int
    price: int  # of a kWh, nano-units of the tariff's currency


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """What power costs; the first band that holds counts. None holds: the price is unknown."""

    name: str
    from_ms: int
    zone: str  # IANA's name
    bands: tuple[Band, ...]
    currency: str = DOLLAR
    told_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FxRate:
    """What one unit of a currency is worth."""

    currency: str
    from_ms: int
    nusd: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a machine, or a unit of it, costs an hour from an instant on; None: nobody said."""

    from_ms: int
    hourly_nusd: int | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """A rented machine at its quote, the first of `prices`, and at every price read again later.

    It is paid to `to_ms`, its disk to `gone_ms`; None: it runs still. The price is of the machine,
    or of each of its `count` units where `per_unit`.
    """

    device: str
    from_ms: int
    prices: tuple[Price, ...]
    to_ms: int | None = None
    gone_ms: int | None = None
    count: int = 1
    per_unit: bool = False
    step_ms: int = 1000  # what is billed is a multiple of this
    minimum_ms: int = 0
    disk_gb: int = 0  # as the provider counts
    disk_month_nusd: int = 0  # of one of them
    month_hours: int = MONTH_HOURS  # of the disk's price: 720 or 730, as the provider says
    for_job: str = ""  # boot, tail, minimum and disk are this job's
    owner: str = ""
    provider: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a meter or an invoice says that a device cost; it takes the place of what was known.

    `component` "" is all that is paid to others: everything but wear.
    """

    device: str
    from_ms: int
    to_ms: int
    nusd: int
    basis: Basis = "invoiced"
    component: str = ""
    owner: str = ""
    told_ms: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something bought in a call: `quantity` of it, at `nusd` for each `per`."""

    component: str
    quantity: int
    nusd: int
    per: int = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to an API, or bytes that were moved."""

    job: str
    device: str
    at_ms: int
    items: tuple[Item, ...]
    basis: Basis = "measured"
    owner: str = ""
    provider: str = ""
    who: Who = NOBODY
    told_ms: int | None = None


Input = Rate | Run | Watched | Metered | Tariff | FxRate | Rental | Charge | Call
