"""One row of a comparison: a device, a kind of machine to rent, or an API; what a day costs there.

What a machine makes a day follows from how long it takes for a batch of answers, prompt and all.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, final

from mathcore.band import Band
from mathcore.market.api_prices import ApiPrice
from mathcore.planner.answer import Placement
from mathcore.planner.loading import transfer_ms
from mathcore.units import DAY_MS, GB, HOUR_MS
from mesh.policy.compare.amounts import MILLION, Amount, Line, Spread, spread, sure
from mesh.policy.compare.owned import Lack, Owned
from mesh.state.market.quotes import Quote

Kind = Literal["owned", "rented", "api", "yardstick"]
# Whether the amount can be made in its hours: nine times in ten, at the median, or not.
Makes = Literal["yes", "likely", "no"]
# From the order of a machine to one that can be logged into, where no rental of this fleet taught
# it: nobody published any, so it is assumed, and may be a third or three times as long.
ASSUMED_BOOT_MS: Final = 180_000
ASSUMED_BOOT_SPREAD: Final = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What an amount of tokens costs in one place. `line` and `kept` are costs of a day.

    `million_ms`: how long a million tokens take, None of an API, whose limits nobody told.
    `kept`: of a machine that is rented the whole hours, whatever it does.
    """

    kind: Kind
    name: str
    row_id: str
    provider: str
    amount: Amount
    line: Line
    million_ms: Spread | None = None
    kept: Line | None = None
    lacks: tuple[Lack, ...] = ()
    owned: Owned | None = None
    placement: Placement | None = None
    quote: Quote | None = None
    start_ms: Spread | None = None  # each day, before a machine can work
    price: ApiPrice | None = None

    @property
    def at_most(self) -> Spread | None:
        """Tokens that it makes a day, in its hours."""
        if self.million_ms is None:
            return None
        return self.million_ms.map(lambda ms: MILLION * self.amount.work_ms / ms)

    @property
    def makes(self) -> Makes | None:
        """Whether it makes the amount in its hours; None of an API."""
        most = self.at_most
        if most is None:
            return None
        asked = self.amount.tokens
        return "yes" if asked <= most.bad else "likely" if asked <= most.mid else "no"

    @property
    def made(self) -> Spread:
        """Tokens that it is priced for: those asked for, or as many as its hours are enough for."""
        most, asked = self.at_most, Fraction(self.amount.tokens)
        return sure(asked) if most is None else most.map(lambda one: min(one, asked))

    @property
    def busy_ms(self) -> Spread | None:
        """How long it works for them."""
        if self.million_ms is None:
            return None
        return self.million_ms.with_(self.made, lambda ms, tokens: ms * tokens / MILLION)

    @property
    def day_nusd(self) -> Spread:
        """What the day costs."""
        return self.line.at(self.made)

    @property
    def million_nusd(self) -> Spread:
        """What a million tokens cost, all in."""
        return self.day_nusd.with_(self.made, lambda cost, tokens: cost * MILLION / tokens)


def million_ms(placement: Placement, amount: Amount) -> Spread:
    """How long a million tokens take, read and written, one batch after another."""
    return spread(placement.answer_ms).map(lambda ms: ms * MILLION / amount.batch_tokens)


def per_million(hourly: Fraction, ms: Spread) -> Spread:
    """What a million tokens add at so much an hour of work."""
    return ms.map(lambda one: one * hourly / HOUR_MS)


def owned_row(placement: Placement, owned: Owned, amount: Amount) -> Row:
    """A device of the fleet: it wears all day, draws its idle power in its hours, and more while it
    works."""
    ms = million_ms(placement, amount)
    idle = owned.power_nusd(owned.idle_mw)
    work = max(Fraction(0), owned.power_nusd(owned.load_mw) - idle)
    fixed = (owned.wear_nusd or Fraction(0)) + idle * amount.work_ms / HOUR_MS
    return Row(
        kind="owned",
        name=placement.name,
        row_id=placement.device_id,
        provider="",
        amount=amount,
        line=Line(fixed=sure(fixed), per_million=per_million(work, ms)),
        million_ms=ms,
        lacks=owned.lacks,
        owned=owned,
        placement=placement,
    )


def held_row(placement: Placement, hourly_nusd: int, amount: Amount) -> Row:
    """A device that is there at a rate: nothing boots, and it need not be kept."""
    ms, hourly = million_ms(placement, amount), Fraction(hourly_nusd)
    return Row(
        kind="rented",
        name=placement.name,
        row_id=placement.device_id,
        provider=placement.provider,
        amount=amount,
        line=Line(fixed=sure(0), per_million=per_million(hourly, ms)),
        kept=_kept(hourly, sure(0), amount),
        million_ms=ms,
        placement=placement,
        start_ms=sure(0),
    )


def rented_row(placement: Placement, quote: Quote, amount: Amount) -> Row:
    """A machine to rent: each day it boots, is brought the model and loads it, at its rent; of the
    boot counts what is billed of it."""
    ms, hourly = million_ms(placement, amount), Fraction(quote.hourly_nusd)
    size = placement.footprint.weights_bytes
    boot = boot_ms(quote)
    billed = boot if quote.billed_boot_ms is None else sure(quote.billed_boot_ms)
    start, paid = (_with_model(one, placement, quote, size) for one in (boot, billed))
    traffic = Fraction(quote.ingress_nusd_per_gb * size, GB)
    return Row(
        kind="rented",
        name=placement.name,
        row_id=placement.device_id,
        provider=quote.provider,
        amount=amount,
        line=Line(
            fixed=paid.map(lambda one: one * hourly / HOUR_MS + traffic),
            per_million=per_million(hourly, ms),
        ),
        kept=_kept(hourly, paid, amount, traffic),
        million_ms=ms,
        placement=placement,
        quote=quote,
        start_ms=start,
    )


def boot_ms(quote: Quote) -> Spread:
    """From the order to an engine that answers."""
    if quote.boot_ms is not None:
        return sure(quote.boot_ms)
    mid = sure(ASSUMED_BOOT_MS)
    return Spread(mid.good / ASSUMED_BOOT_SPREAD, mid.mid, mid.bad * ASSUMED_BOOT_SPREAD)


def _with_model(boot: Spread, placement: Placement, quote: Quote, weights_bytes: int) -> Spread:
    """And until the model is there and loaded."""
    for part in (transfer_ms(weights_bytes, quote.network_bps, 0), placement.load_ms):
        boot = boot.with_(spread(_positive(part)), lambda a, b: a + b)
    return boot


def _positive(band: Band) -> Band:
    return Band(p10=max(0.0, band.p10), p50=max(0.0, band.p50), p90=max(0.0, band.p90))


def _kept(hourly: Fraction, start: Spread, amount: Amount, traffic: Fraction = Fraction(0)) -> Line:
    """Rented for its hours, and for its start before them; a day has no more than a day."""
    paid = start.map(lambda one: min(Fraction(DAY_MS), one + amount.work_ms))
    fixed = paid.map(lambda one: one * hourly / HOUR_MS + traffic)
    return Line(fixed=fixed, per_million=sure(0))


def api_row(price: ApiPrice, amount: Amount) -> Row:
    """A hosted API: nothing but tokens, those read at one price and those written at another."""
    each = amount.blended(price.input_nusd_per_million, price.output_nusd_per_million)
    return Row(
        kind="api" if price.model else "yardstick",
        name=f"{price.provider} {price.name.rpartition('/')[2]}",
        row_id=f"api:{price.provider}:{price.name}",
        provider=price.provider,
        amount=amount,
        line=Line(fixed=sure(0), per_million=sure(each)),
        price=price,
    )
