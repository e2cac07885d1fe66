"""Which budget, and which of its periods a moment is in."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, final
from zoneinfo import ZoneInfo

from mathcore.units import DAY_MS
from mesh.state.facts.budget import FLEET, PERIODS, SCOPES, BudgetNamed
from mesh.state.facts.serving import DAY, MONTH, TOTAL

EPOCH: Final = date(1970, 1, 1)
MAX_NAME: Final = 200  # characters of a user, key, provider, job or peer
MAX_ZONE: Final = 64  # the longest IANA name has 32
# Days until the year 2232, months until 9970, the last that a calendar here has.
MAX_PERIOD: Final = 96_000
# A year and a bit of days, 33 years of months: a gift must end, so that a budget whose owner is
# lost ends too. A cap need not: what the owner gave to nobody is spent by nobody else.
MAX_SPAN: Final = 400
# A local day ends at most 14 hours from UTC's.
ZONE_MS: Final = DAY_MS


@final
class Budget(NamedTuple):
    """A budget by all that names it; `of` is "" for the fleet, `zone` "" for UTC."""

    owner: str
    scope: str
    of: str
    per: str
    zone: str


def budget_of(fact: BudgetNamed) -> Budget:
    """The budget a fact names, sane or not."""
    return Budget(fact.owner, fact.scope, fact.of, fact.per, fact.zone)


def named(budget: Budget) -> BudgetNamed:
    """How an event names a budget."""
    return BudgetNamed(
        owner=budget.owner, scope=budget.scope, of=budget.of, per=budget.per, zone=budget.zone
    )


def is_sane(budget: Budget) -> bool:
    """Whether there can be such a budget. A zone that this machine does not know is no reason
    against it: all peers must think the same."""
    return (
        0 < len(budget.owner) <= MAX_NAME
        and budget.scope in SCOPES
        and (budget.scope == FLEET) == (not budget.of)
        and len(budget.of) <= MAX_NAME
        and budget.of.isprintable()
        and budget.per in PERIODS
        and len(budget.zone) <= MAX_ZONE
        and budget.zone.isprintable()
    )


def is_range(budget: Budget, first: int, last: int) -> bool:
    """Whether first..last are periods of a budget. A cap for ever is one until MAX_PERIOD."""
    if budget.per == TOTAL:
        return first == last == 0
    return 0 <= first <= last <= MAX_PERIOD


def period_at(budget: Budget, at_ms: int) -> int:
    """The period a moment is in. ValueError for a zone that this machine does not know, or a time
    no calendar has."""
    if budget.per not in (DAY, MONTH):
        return 0
    local = (datetime(1970, 1, 1, tzinfo=UTC) + _ms(at_ms)).astimezone(_zone(budget.zone)).date()
    if budget.per == DAY:
        return (local - EPOCH).days
    return 12 * (local.year - 1970) + local.month - 1


def bounds_ms(budget: Budget, period: int) -> tuple[int, int] | None:
    """[begin, end) of a period, ms UTC; None for "total". ValueError as `period_at`."""
    if budget.per not in (DAY, MONTH):
        return None
    zone = _zone(budget.zone)
    return _midnight_ms(_first_day(budget, period), zone), _midnight_ms(
        _first_day(budget, period + 1), zone
    )


def surely_over_ms(budget: Budget, period: int) -> int | None:
    """When a period is over in every zone, ms UTC; None for "total". It asks no table of zones, so
    all peers agree."""
    if budget.per == TOTAL:
        return None
    return (_first_day(budget, period + 1) - EPOCH).days * DAY_MS + ZONE_MS


def show_period(budget: Budget, period: int) -> str:
    """ "2026-11-30", "2026-11", "in total"."""
    if budget.per not in (DAY, MONTH):
        return "in total"
    text = _first_day(budget, period).isoformat()
    return text if budget.per == DAY else text[:7]


def show_budget(budget: Budget) -> str:
    """ "fleet per month", "user ann per day (Europe/Berlin)", "job j1 in total"."""
    name = f"{budget.scope} {budget.of}".strip()
    per = f"per {budget.per}" if budget.per in (DAY, MONTH) else "in total"
    return f"{name} {per}" + (f" ({budget.zone})" if budget.zone else "")


def _first_day(budget: Budget, period: int) -> date:
    if budget.per == DAY:
        return EPOCH + timedelta(days=period)
    return date(1970 + period // 12, period % 12 + 1, 1)


def _midnight_ms(day: date, zone: tzinfo) -> int:
    """The first instant of a local day; of a midnight that there is twice the first one."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (local - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _zone(name: str) -> tzinfo:
    if not name or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"this machine knows no time zone {name!r}") from error


def _ms(at_ms: int) -> timedelta:
    try:
        return timedelta(milliseconds=at_ms)
    except OverflowError as error:
        raise ValueError("no calendar has that time") from error
