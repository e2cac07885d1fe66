"""What must hold of the bill of any history, in whatever zone it is read."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

from mesh.state.bills import calendar
from mesh.state.bills.bill import Bill, bill
from mesh.state.bills.books import AsKnown
from mesh.state.bills.given import Given
from mesh.state.bills.inputs import BASES, Charge, Rate, Rental
from mesh.state.bills.lines import Line, Sum, sums, total
from mesh.state.bills.tokens import split, whose
from tests.simulation.bills.exact import LIFE_MONTH, USD, Exact, H, must
from tests.simulation.bills.history import ME, ZONES, History, event

OWNED = ("wear", "power", "outside")


def check(dice: Random) -> int:
    """Everything, for one history; how many lines its bill has."""
    history = History(dice)
    given = history.given()
    whole = history.bill()
    order_changes_nothing(history, whole)
    sane(whole.lines)
    for zone in dice.sample(ZONES, 2):
        adds_up(whole.lines, zone)
        compare(whole.lines, Exact(given, history.runs(), history.now, zone), zone)
    wear_is_whole(given, whole.lines, history.now)
    rentals_are_whole(given, whole, history.now)
    tokens_add_up(given, whole.lines)
    windows_change_nothing(history, given, whole)
    stays_as_known(history, whole)
    return len(whole.lines)


def order_changes_nothing(history: History, whole: Bill) -> None:
    """Nor does what comes twice."""
    dice, events = history.dice, list(history.events)
    mixed = events + dice.sample(events, len(events) // 2)
    dice.shuffle(mixed)
    again = History.given(history, mixed)
    must(bill(again, history.now) == whole, "the bill depends on order or copies")


def sane(lines: Sequence[Line]) -> None:
    for one in lines:
        must(one.nusd is None or type(one.nusd) is int, f"no whole number: {one}")
        must((one.nusd or 0) >= 0 and one.unit_ms >= 0, f"below zero: {one}")
        must(one.unknown_ms >= 0 and one.basis in BASES, f"below zero: {one}")
        must(one.nusd is None or one.unknown_ms == 0, f"known and unknown: {one}")
        must((one.nusd is None) == (one.basis == "unknown"), f"a basis of nothing: {one}")


def adds_up(lines: Sequence[Line], zone: str) -> None:
    """Jobs, idle and unknown are the device, devices are the fleet, days are months, to the last
    nano-dollar."""
    where = ZoneInfo(zone)

    def day(one: Line) -> str:
        return calendar.day_of(one.at_ms, where)

    whole = total(lines)
    parts = sums(lines, lambda one: (day(one), one.device, one.part))
    devices = sums(lines, lambda one: (day(one), one.device))
    months = sums(lines, lambda one: day(one)[:7])
    levels = (parts, devices, months, sums(lines, day), sums(lines, lambda one: one.owner))
    found = {sum(one.nusd for one in level.values()) for level in levels}
    must(found == {whole}, f"{zone}: days, months, devices and owners differ: {found}, {whole}")
    by_device: Counter[tuple[str, str]] = Counter()
    for key, one in parts.items():
        by_device[key[:2]] += one.nusd
    must(by_device == Counter({key: one.nusd for key, one in devices.items()}), "a device's day")
    alone = sums(lines, lambda one: one.part)
    by_job: Counter[str] = Counter()
    for (_, _, part), one in parts.items():
        by_job[part] += one.nusd
    must(
        all(by_job[part] == one.nusd for part, one in alone.items()),
        f"{zone}: a job costs another sum than elsewhere",
    )


def compare(lines: Sequence[Line], exact: Exact, zone: str) -> None:
    """With the exact account: each line may be off by what rounding makes of it, below 2."""
    where = ZoneInfo(zone)

    def place(one: Line) -> tuple[str, str, str, str]:
        return calendar.day_of(one.at_ms, where), one.device, one.part, one.component

    owned = [one for one in lines if one.component in OWNED and one.device.startswith("d")]
    mine = sums(owned, place)
    many = Counter(place(one) for one in owned)
    metered = {key[:2]: one.nusd for key, one in exact.found.items() if key[3] == "metered"}
    ms: dict[tuple[str, str], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    power: Counter[tuple[str, str]] = Counter()
    rest: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    for key in sorted({*mine, *exact.found}):
        got, want, slack = mine.get(key, Sum()), exact.found[key], 2 * many[key] + 2
        ms[key[:2]][0] += got.unit_ms
        ms[key[:2]][1] += want.ms
        if key[3] == "power":
            power[key[:2]] += got.nusd
            rest[key[:2]] += want.nusd
        if key[3] == "metered":
            continue
        text = f"{zone} {key}"
        off = abs(got.unknown_ms - want.unknown)
        must(off <= slack, f"{text}: unknown for {got.unknown_ms} ms, not {float(want.unknown)}")
        must(abs(got.unit_ms - want.ms) <= slack, f"{text}: {got.unit_ms} ms, not {want.ms}")
        if key[3] == "wear" or key[:2] not in metered:
            off = abs(got.nusd - want.nusd)
            must(off <= slack, f"{text}: {got.nusd}, not {float(want.nusd)}")
    for day, (got_ms, want_ms) in ms.items():
        must(got_ms == want_ms, f"{zone} {day}: its parts last {got_ms} ms, not {want_ms}")
    for day, nusd in metered.items():
        slack = 2 * sum(n for key, n in many.items() if key[:2] == day) + 2
        off = abs(power[day] - rest[day] - nusd)
        must(off <= slack, f"{zone} {day}: the meter says {float(nusd)}, the lines {power[day]}")


def wear_is_whole(given: Given, lines: Sequence[Line], now: int) -> None:
    """To the nano-dollar: at the end of every cell wear is the whole of what the rule says."""
    for device, rates in given.rates.items():
        for rate, after in zip(rates, [*rates[1:], None], strict=True):
            end = min(now, after.from_ms if after else now)
            if rate.price is None or not rate.life_months:
                continue
            life = int(rate.life_months * LIFE_MONTH)
            lost = max(0, rate.price - rate.resale) * rate.count

            def upto(at: int, *, life: int = life, lost: int = lost, rate: Rate = rate) -> int:
                return lost * min(max(at - rate.bought_ms, 0), life) // life

            mine = [
                one for one in lines
                if (one.device, one.component) == (device, "wear")
                and rate.from_ms <= one.at_ms < end
            ]  # fmt: skip
            must(bool(mine) == (rate.count > 0 and rate.from_ms < end), "a rate without wear")
            got = 0
            for one, at in zip(mine, [*(after.at_ms for after in mine[1:]), end], strict=False):
                got += one.nusd or 0
                want = upto(at) - upto(rate.from_ms)
                must(at == one.at_ms or got == want, f"{device}: wear {got} up to {at}, not {want}")


def rentals_are_whole(given: Given, whole: Bill, now: int) -> None:
    """What rentals cost before meters and invoices, in fractions; and that invoices are met."""
    for device, rentals in given.rentals.items():
        mine = [one for one in whole.lines if one.device == device]
        charges = [one for one in given.charges.get(device, ()) if one.from_ms < now]
        met = [one for one in charges if one.basis == "invoiced"]
        for charge in met:
            got = total(one for one in mine if charge.from_ms <= one.at_ms < charge.to_ms)
            must(got == charge.nusd, f"the invoice says {charge.nusd}, the lines {got}")
        unknown_stays(mine, charges)
        held = sum(max(0, min(one.to_ms or now, now) - one.from_ms) * one.count for one in rentals)
        must(sum(one.unit_ms for one in mine) == held, f"{device}: its parts don't last {held} ms")
        if all(one.for_job for one in rentals):
            must(all(one.part != "idle" for one in mine), f"{device}: boot and tail are nobody's")
        exact = sum((rental_cost(one, now) for one in rentals), Fraction(0))
        theirs = [n for charge, n in whole.differences if charge.device == device]
        before = total(mine) - sum(theirs)
        must(abs(before - exact) <= 6 * len(rentals), f"{device}: {before}, not {float(exact)}")


def unknown_stays(lines: Sequence[Line], charges: Sequence[Charge]) -> None:
    """An invoice gives no price to a time of which it says nothing. Where it speaks of nothing
    else, a dollar over three days is some nano-dollars a millisecond, never 0."""
    if all(one.nusd > USD for one in charges):
        for one in lines:
            must(one.component != "outside" or one.nusd != 0, f"unknown became 0: {one}")


def rental_cost(one: Rental, now: int) -> Fraction:
    """Rent by each price, the least time, and disk."""
    if one.from_ms >= now:
        return Fraction(0)
    units, end = one.count if one.per_unit else 1, min(one.to_ms or now, now)
    ends = [*(price.from_ms for price in one.prices[1:]), end]
    exact = sum(
        (
            Fraction((price.hourly_nusd or 0) * units, H) * max(0, min(b, end) - price.from_ms)
            for price, b in zip(one.prices, ends, strict=True)
        ),
        Fraction(0),
    )
    if one.to_ms and one.to_ms <= now:
        used = end - one.from_ms
        billed = max(-(-used // one.step_ms) * one.step_ms, one.minimum_ms)
        last = [price for price in one.prices if price.from_ms <= end][-1]
        exact += Fraction((last.hourly_nusd or 0) * units, H) * (billed - used)
    gone = max(min(one.gone_ms or end, now), end)
    disk = Fraction(one.disk_gb * one.disk_month_nusd, one.month_hours * H)
    return exact + disk * (gone - one.from_ms)


def tokens_add_up(given: Given, lines: Sequence[Line]) -> None:
    jobs = sums(lines, lambda one: one.part)
    for job, who in whose(given).items():
        cost = jobs[job].nusd if job in jobs else 0
        must(sum(split(cost, who).values()) == cost, f"{job}: the parts are not the job")


def windows_change_nothing(history: History, given: Given, whole: Bill) -> None:
    """A bill from some day on has the lines of the whole bill since then."""
    since = history.dice.randrange(history.start, history.now)
    begin = since // 900_000 * 900_000
    want = [one for one in whole.lines if one.at_ms >= begin]
    must(bill(given, history.now, since).lines == want, "a bill since a day has other lines")


def stays_as_known(history: History, whole: Bill) -> None:
    """What is said later changes no bill as known on a date, or at the heads it names."""
    dice, said = history.dice, history.said_ms
    at = dice.choice(history.events)
    by = AsKnown(by_ms=int(at.hlc.partition("-")[0]))
    heads = AsKnown(heads={ME: at.seq})
    before = history.bill(known=by)
    seq, device, fact = history.rates[0]
    history.correct(seq, "device_rate_set", history.rate_fact(
        device, fact.bought_ms, history.start, 3), device)  # fmt: skip
    must(history.bill(known=by) == before, "a correction changed what was known")
    must(history.bill(known=heads) == before, "heads and date differ")
    must(history.bill(known=AsKnown(by_ms=said)) == whole, "today's bill changed before it")
    old = event(10_000, said - 1, "device_rate_set", fact, device, author="bob")
    history.events.append(old)
    must(history.bill(known=heads) == before, "a late arrival changed a bill at its heads")
