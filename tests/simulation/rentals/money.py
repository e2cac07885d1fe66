"""The ledger's money against the provider's meter."""

from typing import TYPE_CHECKING

from mesh.policy.rentals.caps import held_nusd, month_begin
from mesh.policy.rentals.timers import POLL_MS
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import ABSENT, LAG_MS
from tests.emulators.machines import HOUR, Machine, S
from tests.simulation.rentals.clouds import instance_id
from tests.simulation.rentals.faults import DAY

if TYPE_CHECKING:
    from tests.simulation.rentals.daemon import Daemon
    from tests.simulation.rentals.judge import Judge

ERROR_MS = 4 * S  # of the time learned from replies, and of one call


def check_closed(judge: "Judge", daemon: "Daemon", one: Rental) -> None:
    """When a rental is closed: one poll interval, or what the gaps between listings explain."""
    if one.steps[0].kind == "orphan_found" or (not one.author and not one.is_twin):
        return  # counted from when it was found; its intent is on a disk that is away
    now, parts = judge.world.now(), judge.parts(daemon, one.rental_id)
    meter = sum(each.meter(now) for each in parts) // HOUR
    price = max((each.price_at(now) for each in parts), default=0)
    under = meter - one.cost_nusd(now)
    unseen = _unseen(judge, one, parts, now)
    if under > (price * POLL_MS + unseen) // HOUR + one.meter.possible_nusd + 1:
        seconds = under * HOUR // max(1, price) // S
        judge.world.fail(f"{one.rental_id}: the meter is {seconds} s of its rate above the ledger")
    if -under > one.meter.slack_nusd + one.quote_nusd * ERROR_MS * 2 // HOUR:
        seconds = -under * HOUR // max(1, price) // S
        judge.world.fail(f"{one.rental_id}: the ledger is {seconds} s above the meter, unexplained")
    if unseen:
        judge.noted["never listed, ms of the rate"].append(unseen // max(1, price))
    if price:
        judge.noted["ledger above meter, ms of the rate"].append(-under * HOUR // price)


def _unseen(judge: "Judge", one: Rental, parts: list[Machine], now: int) -> int:
    """What nobody could see: a second machine that no listing showed, a late rise."""
    unseen = 0
    for n, machine in enumerate(parts):
        another = instance_id(machine, judge.world.side.name) != one.instance_id
        if another and (one.instance_id or n):
            unseen += machine.meter(now)
            continue
        ends = [*[at for at, _ in machine.contract[1:]], machine.ended or now]
        for (at, price), to in zip(machine.contract, ends, strict=True):
            unseen += max(0, price - one.price_nusd) * (to - at)
    return unseen


def check_open(judge: "Judge", daemon: "Daemon", rental_id: str) -> None:
    """After a whole listing an open rental may lag by its age."""
    one = daemon.rentals().get(rental_id)
    if judge.world.clone is not None or one is None or not one.author or not one.instance_id:
        return
    now = judge.world.now()
    judge.world.emulator.machines.advance(now)
    machine = judge.machine(one)
    under = machine.meter(now) // HOUR - one.cost_nusd(now)
    price = max(machine.price_at(now), machine.price)
    recent = daemon.actor.seen.observed.get(rental_id)
    if recent is None:
        return
    age = now - recent + LAG_MS + POLL_MS + ERROR_MS
    if under > price * age // HOUR + one.meter.slack_nusd:
        seconds = under * HOUR // price // S
        judge.world.fail(f"{rental_id}: {seconds} s of the rate are not in the ledger")


def check_caps(judge: "Judge", daemon: "Daemon", new: Rental) -> None:
    """Before spending: closed rentals by their meter, open ones by the larger of reservation and
    meter."""
    world, now = judge.world, judge.world.now()
    if world.clone is not None:
        return
    request = daemon.state.rentals.requests.views[new.request_id]
    caps: list[tuple[str, int | None, int]] = [
        ("request", request.cap_nusd, 0),
        ("day", world.shares.day_nusd, now - now % DAY),
        ("month", world.shares.month_nusd, month_begin(now)),
    ]
    for name, cap, begin in caps:
        mine = [one for one in daemon.rentals().values() if one.author and not one.is_twin]
        if name == "request":
            mine = [one for one in mine if one.request_id == new.request_id]
        else:
            mine = [one for one in mine if one.author == daemon.name]
        spent = sum(_taken(judge, daemon, one, now, begin) for one in mine)
        if cap is not None and spent > cap + request.max_hourly_nusd * POLL_MS // HOUR:
            world.fail(f"{new.rental_id}: {spent / cap:.2f} of the {name}'s cap is taken")


def _taken(judge: "Judge", daemon: "Daemon", one: Rental, now: int, begin: int) -> int:
    parts = judge.parts(daemon, one.rental_id)
    meter = sum(each.meter(now, begin) for each in parts) // HOUR
    ledger = one.cost_nusd(now, begin) + one.meter.possible_nusd + one.quote_nusd * POLL_MS // HOUR
    kept = 0 if one.state == ABSENT else max(0, held_nusd(one) - one.cost_nusd(now))
    return min(meter, ledger) + kept
