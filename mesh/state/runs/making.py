"""Rows as a bill's inputs: runs, rates of hardware as registered, rented machines, watches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from mesh.state.bills.calendar import quarter
from mesh.state.bills.given import latest
from mesh.state.bills.inputs import (
    NOBODY,
    WHOLE,
    Band,
    Charge,
    Input,
    Metered,
    Price,
    Rate,
    Rental,
    Run,
    Span,
    Tariff,
    Watched,
    Who,
)
from mesh.state.bills.owned import worn_nusd
from mesh.state.bills.reading import tariff_name
from mesh.state.peer_id import short_id
from mesh.state.rentals.rental import Rental as RentedMachine
from mesh.state.runs.rows import JobRow, MachineRow, PaidRow, RunRow, SentRow

DEFAULT_LIFE_MONTHS: Final = 60  # as the registration of a device has it
ALL_WEEK: Final = "0123456"
DAY_MIN: Final = 1440


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunKnown:
    """An attempt on a device with all that was said of it. `until_ms`: of one that goes on, how
    long its owner has been heard of."""

    job: str
    device: str
    row: RunRow
    asked: JobRow
    sent: SentRow
    until_ms: int


def run_of(known: RunKnown) -> Run | None:
    """The run; None where it never ran."""
    row = known.row
    spans = spans_of(row, known.until_ms)
    if not spans:
        return None
    alone = not known.sent.members  # whose part of the energy of several was whose is not known
    return Run(
        job=known.job,
        device=known.device,
        spans=spans,
        units=WHOLE,
        energy_mj=row.energy_mj if alone and row.energy_mj else None,
        who=who_of(known),
        told_ms=row.told_ms,
    )


def as_known(row: RunRow, by_ms: int) -> RunRow:
    """What was known of a run by an instant: of an end that was said later, nothing."""
    if row.started_ms > by_ms:
        return RunRow()
    if row.told_ms <= by_ms:
        return row
    marks = [mark for mark in row.marks if mark[0] <= by_ms]
    return RunRow(started_ms=row.started_ms, marks=marks, told_ms=row.started_ms)


def spans_of(row: RunRow, until_ms: int) -> tuple[Span, ...]:
    """When it ran: up to its end, by its measured duration where there is one, without pauses."""
    end = row.ended_ms or until_ms
    begin = row.started_ms
    if row.duration_ms:
        measured = end - row.duration_ms
        begin = measured if row.ended_ms else max(begin, measured)
    if not row.started_ms or end <= begin:
        return ()
    spans, since = [], begin
    for at_ms, pauses in sorted(row.marks):
        at = min(max(at_ms, begin), end)
        if pauses and since >= 0:
            spans.append((since, at))
            since = -1
        elif not pauses and since < 0:
            since = at
    if since >= 0:
        spans.append((since, end))
    return tuple(one for one in spans if one[1] > one[0])


def who_of(known: RunKnown) -> Who:
    """Whose it was and what it made."""
    row, asked = known.row, known.asked
    if not (asked.user or asked.model or known.sent.engine):
        return NOBODY
    return Who(
        user=asked.user,
        key=asked.key,
        model=asked.model or asked.label,
        engine=known.sent.engine,
        tokens=(row.prompt_tokens, 0, row.generated_tokens),
        phases_ms=_phases_ms(row),
    )


def _phases_ms(row: RunRow) -> tuple[int, int, int] | None:
    """How long it read and wrote, by its measured speeds; None where one of them is unknown."""
    if not (row.prefill_mtps and row.throughput_mtps):
        return None
    read = row.prompt_tokens * 1_000_000 // row.prefill_mtps
    return read, 0, row.generated_tokens * 1_000_000 // row.throughput_mtps


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PaidKnown:
    """What a device's owner registered of its cost, from an instant on."""

    device: str
    owner: str
    from_ms: int
    row: PaidRow


def hardware(rows: Sequence[PaidKnown]) -> Iterator[Input]:
    """Rates, tariffs and rents of one device, as registered; rows in the order of time.

    A price is of the whole device. Wear counts from the registration that first said one, also
    while the device is gone; another price, life or resale is the price of what it was worth then.
    """
    wears: Rate | None = None  # the last rate with a price
    for n, one in enumerate(rows):
        row, after = one.row, rows[n + 1].from_ms if n + 1 < len(rows) else None
        if row.hourly_nusd > 0:
            yield _by_hand(one, after)
        rate = _worn(_rate(one), wears)
        yield rate
        if rate.count and rate.price is not None:
            wears = rate
        if row.tariff_nusd_per_kwh:
            # A tariff counts from a quarter-hour on: the first from that of the registration.
            yield _flat(one, one.from_ms if n else quarter(one.from_ms))


def _worn(rate: Rate, last: Rate | None) -> Rate:
    """A rate with what was worn off before it, by the last one with a price."""
    if last is None:
        return rate
    worn, worn_ms = last.worn, last.worn_ms
    terms = rate.price, rate.resale, rate.life_months
    if rate.price is not None and terms != (last.price, last.resale, last.life_months):
        worn += worn_nusd(last, max(0, (last.price or 0) - last.resale), rate.from_ms)
        worn_ms = rate.from_ms
    return replace(rate, bought_ms=last.bought_ms, worn=worn, worn_ms=worn_ms)


def _rate(one: PaidKnown) -> Rate:
    row = one.row
    return Rate(
        device=one.device,
        from_ms=one.from_ms,
        owner=one.owner,
        count=0 if row.gone or row.hourly_nusd > 0 else 1,
        price=row.price_nusd or None,
        resale=row.resale_nusd,
        bought_ms=one.from_ms,
        life_months=row.lifetime_months or DEFAULT_LIFE_MONTHS,
        tdp_mw=row.watts * 1000 or None,
        tariff=flat_name(one.owner, one.device) if row.tariff_nusd_per_kwh else "",
        told_ms=one.from_ms,
    )


def in_force(
    registered: Sequence[Rate], said: Sequence[Rate], gone: Sequence[tuple[int, int | None]]
) -> list[Rate]:
    """A device's rates: what people said goes before what was registered, from the first of it on.
    While it was gone (from, to) nobody had it, whatever was said; None: it is gone still."""
    first = min((one.from_ms for one in said), default=None)
    rates = [one for one in registered if first is None or one.from_ms < first]
    rates = sorted([*rates, *said], key=lambda one: one.from_ms)
    for begin, end in gone:
        held = None if end is None else latest(tuple(rates), end)
        last = latest(tuple(rates), begin)
        rates = [one for one in rates if one.from_ms < begin or (end and one.from_ms >= end)]
        if last is not None:
            rates.append(replace(last, from_ms=begin, count=0))
        if held is not None and end is not None and held.from_ms < end:
            rates.append(replace(held, from_ms=end))
        rates.sort(key=lambda one: one.from_ms)
    return rates


def gone_spans(rows: Sequence[PaidKnown]) -> list[tuple[int, int | None]]:
    """From when to when a device was gone, by its rows in the order of time."""
    found: list[tuple[int, int | None]] = []
    for one in rows:
        if found and found[-1][1] is None:
            if not one.row.gone:
                found[-1] = found[-1][0], one.from_ms
        elif one.row.gone:
            found.append((one.from_ms, None))
    return found


def flat_name(owner: str, device: str) -> str:
    """What the price of power is called that a device's registration says."""
    return tariff_name(owner, f"device {device}")


def _flat(one: PaidKnown, from_ms: int) -> Tariff:
    price = one.row.tariff_nusd_per_kwh
    band = Band(weekdays=ALL_WEEK, from_min=0, to_min=DAY_MIN, price=price)
    return Tariff(
        name=flat_name(one.owner, one.device),
        from_ms=from_ms,
        zone="UTC",
        bands=(band,),
        told_ms=one.from_ms,
    )


def _by_hand(one: PaidKnown, until_ms: int | None) -> Rental:
    """A machine that somebody rents by himself, at the price he typed, until that changes."""
    return Rental(
        device=one.device,
        from_ms=one.from_ms,
        prices=(Price(from_ms=one.from_ms, hourly_nusd=one.row.hourly_nusd),),
        to_ms=until_ms,
        step_ms=1,
        owner=one.owner,
    )


def seen(device: str, from_ms: int, to_ms: int, energy_mj: int | None) -> Iterator[Input]:
    """A watch, and what was metered in it."""
    yield Watched(device=device, from_ms=from_ms, to_ms=to_ms)
    if energy_mj is not None:
        told = to_ms
        yield Metered(
            device=device, from_ms=from_ms, to_ms=to_ms, energy_mj=energy_mj, told_ms=told
        )


def machine_row(one: RentedMachine) -> MachineRow | None:
    """A rental as a bill needs it; None where it cost nothing, or nobody knows who rented it."""
    if not (one.state and one.author and one.meter.spans):
        return None
    return MachineRow(
        author=one.author,
        provider=one.provider,
        job=one.job_id,
        count=max(1, one.gpu_count),
        step_ms=one.meter.step_ms,
        spans=[(span.from_ms, span.to_ms, span.rate_nusd) for span in one.meter.paid],
        invoiced_nusd=one.invoiced_nusd,
        since_ms=one.since_ms,
        is_open=one.is_open,
    )


def rented(device: str, machines: Iterable[MachineRow]) -> Iterator[Input]:
    """A device's rentals by their meters, and what their providers charged in the end."""
    for one in machines:
        if not one.spans:
            continue
        begin, end = one.spans[0][0], one.spans[-1][1]
        yield Rental(
            device=device,
            from_ms=begin,
            prices=tuple(Price(from_ms=at, hourly_nusd=rate) for at, _, rate in one.spans),
            to_ms=end,
            step_ms=one.step_ms,
            count=one.count,
            for_job=one.job,
            owner=one.author,
            provider=one.provider,
        )
        if one.invoiced_nusd is not None and end is not None and end > begin:
            yield Charge(
                device=device,
                from_ms=begin,
                to_ms=end,
                nusd=one.invoiced_nusd,
                owner=one.author,
                told_ms=one.since_ms,
            )


def machine_prefix(author: str, host: str) -> str:
    """What the devices of a rented machine are called after, by whoever rented it."""
    return f"dev-{short_id(author)}-{host}-"
