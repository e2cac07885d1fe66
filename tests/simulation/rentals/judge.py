"""What must hold of rentals, seen from the provider's side: its machines and its meter."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from mesh.ledger.event import Event
from mesh.policy.rentals.caps import held_nusd
from mesh.state.checkpoint import pack, unpack
from mesh.state.fold import apply
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import ABSENT, GUARD_MS
from mesh.state.state import State
from providers.rental.labels import read_label
from tests.emulators.base import Asked
from tests.emulators.machines import HOUR, MIN, Machine, S
from tests.simulation.rentals.clouds import instance_id
from tests.simulation.rentals.money import check_caps, check_closed, check_open
from tests.simulation.rentals.wire import LABEL

if TYPE_CHECKING:
    from tests.simulation.rentals.daemon import Daemon
    from tests.simulation.rentals.world import World

MESH = "m1"
BLIND_MS = 2 * MIN  # a call may hang for half a minute, and the next is as long after it
ASLEEP_MS = MIN  # a machine that slept asks for an end and a listing as it wakes
DEAD_MAN_MS = 45 * MIN  # its lease, and time for its calls to fail


class Judge:
    """Counts what arrived, and looks at each event when it is written."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.known: set[str] = set()  # rentals that are durable on some disk
        self.closed: set[str] = set()
        self.creates: Counter[str] = Counter()  # by rental, as the server counts
        self.machines: defaultdict[str, list[Machine]] = defaultdict(list)
        self.blocked: dict[tuple[str, str], int] = {}
        self.unlooked: dict[str, int] = {}  # since when a process asks for ends and no listing
        self.asked: dict[str, int] = {}  # when a process asked for anything
        self.twins: dict[str, int] = {}
        self.returned: dict[str, int] = {}
        self.noted: defaultdict[str, list[int]] = defaultdict(list)
        world.emulator.machines.on_created = self._created
        world.emulator.machines.on_ended = self._ended

    # Calls

    def sent(self, process: str, op: str) -> None:
        """A call leaves a process: none may while a 429 holds it back."""
        scope = "" if self.world.emulator.profile.account_wide else op
        now = self.world.now()
        if now + 2 * S < self.blocked.get((process, scope), 0):
            self.world.fail(f"{op} was sent while a 429 held it back")
        slept = now - self.asked.get(process, now) > ASLEEP_MS
        self.asked[process] = now
        if op == "list" or slept:
            self.unlooked.pop(process, None)
        if op == "terminate":
            held = self.blocked.get((process, "list" if scope else ""), 0)
            since = max(held, self.unlooked.setdefault(process, now))
            if now - since > BLIND_MS:
                self.world.fail(f"for {(now - since) // S} s ends were asked for, and no listing")

    def held(self, process: str, op: str, until_ms: int) -> None:
        """A 429 told a process to wait."""
        scope = "" if self.world.emulator.profile.account_wide else op
        self.blocked[process, scope] = until_ms
        self.world.quiet_from = max(self.world.quiet_from, until_ms)

    def arrived(self, asked: Asked, op: str, by: str) -> None:
        """A create reached the server."""
        label = LABEL.search(str(asked.body))
        known = read_label(MESH, label[0]) if label else None
        if op == "create" and known is not None:
            self.creates[known[0]] += 1
            if self.creates[known[0]] > 1:
                self.world.fail(f"the server received two creates for {known[0]}")

    # Machines

    def label_of(self, one: Machine) -> tuple[str, int]:
        """(rental, expiry) of one of ours."""
        known = read_label(MESH, one.label)
        assert known is not None, one.label
        return known

    def rental_of(self, one: Machine) -> str:
        """Which rental some disk has for a machine."""
        rental = self.label_of(one)[0]
        twin = f"{rental}.{instance_id(one, self.world.side.name)}"
        held = any(twin in each.rentals() for each in self.world.daemons.values())
        return twin if held else rental

    def _created(self, one: Machine, now: int) -> None:
        if one.by == "person":
            return
        rental = self.label_of(one)[0]
        if rental not in self.known:
            self.world.fail(f"{one.id} was made before its intent was durable")
        others = [each for each in self.machines[rental] if each.ended is None]
        self.machines[rental].append(one)
        if others:
            if "doubled" not in self.world.faults.rates and self.world.clone is None:
                self.world.fail(f"two machines for {rental}")
            self.twins[rental] = now
        if rental in self.closed and self.world.clone is None:
            self.world.fail(f"{rental} was called absent, then {one.id} appeared")

    def _ended(self, one: Machine, now: int) -> None:
        if one.by == "person":
            self.world.fail(f"{one.id} is a person's, and was ended")
            return
        rental, expires = self.label_of(one)
        alive = sum(each.ended is None for each in self.machines[rental])
        if rental in self.twins and alive <= 1:
            self.noted["second machines gone after"].append(now - self.twins.pop(rental))
        if now > expires:
            self.noted["ran beyond its label"].append(now - expires)
        up = one.line[-2][1] == "up" if len(one.line) > 1 else False
        last = max(one.touched, one.boots.get("container", now))
        if self.world.emulator.profile.has_dead_man and up and now - last > DEAD_MAN_MS:
            self.world.fail(f"{one.id} ran {(now - one.touched) // MIN} min without contact")

    def parts(self, daemon: "Daemon", rental_id: str) -> list[Machine]:
        """The machines that a rental of a disk stands for."""
        base, _, twin = rental_id.partition(".")
        provider, known = self.world.side.name, daemon.rentals()
        every = self.machines.get(base, [])
        if twin:
            return [one for one in every if instance_id(one, provider) == twin]
        return [one for one in every if f"{base}.{instance_id(one, provider)}" not in known]

    # Events

    def appended(self, daemon: "Daemon", event: Event) -> None:
        """An event is durable on a disk."""
        rental_id = str(event.payload.get("rental_id", ""))
        match event.event_type:
            case "rental_intended":
                self.known.add(rental_id)
                check_caps(self, daemon, daemon.rentals()[rental_id])
            case "absence_confirmed":
                self._absent(daemon, rental_id)
            case "instance_reappeared":
                self.noted["reappeared"].append(1)
                if self.world.clone is None:
                    self.world.fail(f"{rental_id} was absent and is back")
            case "instance_changed" | "step_reached":
                check_open(self, daemon, rental_id)
            case "return_decided" | "create_refused" | "duplicate_found":
                if daemon is not self.world.clone:
                    self.returned.setdefault(rental_id, self.world.now())
                self._too_early(daemon, rental_id)

    def _absent(self, daemon: "Daemon", rental_id: str) -> None:
        world, now = self.world, self.world.now()
        world.emulator.machines.advance(now)
        clone = world.clone
        live = [
            one
            for one in self.parts(daemon, rental_id)
            if one.ended is None and not (clone and one.by != daemon.name)
        ]
        if live:
            status = live[0].status(now)
            world.fail(f"{rental_id} is called absent while {live[0].id} is {status}")
        if daemon is not clone:
            self.closed.add(rental_id)
        if not world.faults.on and rental_id in self.returned:
            since = max(world.quiet_from, self.returned[rental_id])
            self.noted["unwanted until absent"].append(now - since)
        if clone is None:
            check_closed(self, daemon, daemon.rentals()[rental_id])

    def _too_early(self, daemon: "Daemon", rental_id: str) -> None:
        """Nobody's but the owner's verdict before the end of its life."""
        mine = daemon.rentals().get(rental_id)
        early = mine is not None and mine.over in ("expired", "life_over")
        for other in self.world.daemons.values() if early else ():
            one = other.rentals().get(rental_id)
            if one is None or not one.wanted or not other.alive or not one.author:
                continue
            if self.world.now() + 10 * S < one.expires_ms - GUARD_MS:
                self.world.fail(f"{rental_id} is returned as over while it is wanted")

    # The end

    def check_end(self) -> None:
        """Nothing of ours is left; the caps held; the fold depends on no order."""
        world = self.world
        for one in world.emulator.machines.all.values():
            if one.by != "person" and one.ended is None:
                world.fail(f"{one.id} still runs")
        owner = world.owner()
        self._check_jobs(owner)
        self._check_fold(owner)

    def _check_jobs(self, owner: "Daemon") -> None:
        now, rentals = self.world.now(), owner.rentals()
        for request in owner.state.rentals.requests.views.values():
            meter = excess = 0
            for rental_id, those in self.machines.items():
                if rental_id.split("x")[0] != request.request_id:
                    continue
                one = rentals.get(rental_id)
                for n, machine in enumerate(those):
                    cost = machine.meter(now) // HOUR
                    meter += cost
                    excess += max(0, cost - (held_nusd(one) if one and not n else 0))
            error = request.max_hourly_nusd * 4 * S // HOUR
            calm = self.world.clone is None and owner.owner[0] == 1
            if calm and meter > request.cap_nusd + excess + error:
                self.world.fail(f"{request.request_id} cost {meter / request.cap_nusd:.2f} caps")
            if meter > request.cap_nusd:
                self.noted["above a request's cap, per mille"].append(
                    1000 * meter // request.cap_nusd
                )

    def _check_fold(self, owner: "Daemon") -> None:
        """Any order that keeps each author's gives the same state, also over a snapshot."""
        by_author: dict[str, list[Event]] = {}
        for event in owner.disk:
            by_author.setdefault(event.author, []).append(event)
        state, left = State(), {key: list(those) for key, those in by_author.items()}
        while left:
            author = self.world.dice.choice(sorted(left))
            apply(state, left[author].pop(0))
            state.cursor += 1
            if not left[author]:
                del left[author]
        again = unpack(pack(state))
        assert again is not None, "a snapshot that can't be read"
        if state.rentals.believed() != owner.state.rentals.believed():
            self.world.fail("the fold depends on the order of arrival")
        if again.rentals != state.rentals:
            self.world.fail("a snapshot is another state")

    def check_invoices(self) -> None:
        """What was invoiced is the meter, within the provider's rounding."""
        now = self.world.now()
        for one in self.world.owner().rentals().values():
            if not one.instance_id or one.state != ABSENT:
                continue
            machine = self.machine(one)
            exact = machine.meter(now) // HOUR
            if one.invoiced_nusd is None:
                self.world.fail(f"{one.rental_id} has no invoice")
            elif abs(one.invoiced_nusd - exact) > one.invoice_step_nusd:
                self.world.fail(f"{one.rental_id}: {one.invoiced_nusd} invoiced, meter {exact}")
            else:
                self.noted["invoiced"].append(1)

    def machine(self, one: Rental) -> Machine:
        """The machine of a rental, by the provider's id."""
        every = self.world.emulator.machines.all.values()
        return next(m for m in every if instance_id(m, self.world.side.name) == one.instance_id)
