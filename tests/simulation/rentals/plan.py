"""What happens to peers and machines by itself, until the quiet."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mesh.edge.disk import StoreError
from tests.emulators.machines import HOUR, MIN, S
from tests.simulation.rentals.daemon import Daemon
from tests.simulation.rentals.faults import DAY

if TYPE_CHECKING:
    from tests.simulation.rentals.world import World


async def asked(work: Awaitable[object]) -> None:
    """What a person asks for may fail, and is then told to that person."""
    with contextlib.suppress(StoreError):
        await work


class Plan:
    """Of one schedule: cuts, crashes, a day away, hand-overs, a copied disk."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.begun_ms = world.now()

    def begin(self) -> None:
        """What happens by itself, until the quiet."""
        dice = self.world.dice
        for _ in range(dice.choice((0, 0, 1, 2))):
            self.world.at(self.some_time(), self.cut)
        for _ in range(dice.choice((0, 1, 2))):
            self.world.at(self.some_time(), self.crash_someone)
        if dice.random() < 0.08:
            self.world.at(self.some_time(), lambda: self.when(self.lose_for_a_day))
        if "B" in self.world.daemons:
            for _ in range(dice.choice((0, 0, 1, 2))):
                willing = dice.random() < 0.5
                self.world.at(
                    self.some_time(), lambda w=willing: self.when(lambda: self.hand_over(willing=w))
                )
            if dice.random() < 0.3:
                self.world.at(self.some_time(), self.unlink)
        if dice.random() < 0.1:
            self.world.at(self.some_time(), lambda: self.when(self.copy_disk))
        self.world.at(MIN, self.own)

    def some_time(self) -> int:
        return self.world.dice.randint(1, (self.world.quiet_ms - self.begun_ms) // S) * S

    def when(self, do: Callable[[], object]) -> None:
        """In a state that is rarely met otherwise, if it comes within ten minutes."""
        wanted = self.world.dice.choice(("", "", "intended", "creating", "ready", "interrupted"))
        self.wait_for(wanted, 600, do)

    def wait_for(self, state: str, tries: int, do: Callable[[], object]) -> None:
        if not self.world.faults.on:
            return
        if state and tries and state not in self.world.daemons["A"].states():
            self.world.at(S, lambda: self.wait_for(state, tries - 1, do))
        else:
            do()

    def own(self) -> None:
        if self.world.faults.on:
            if not self.world.lost:
                self.world.faults.of_machines()
            self.world.at(40 * S, self.own)

    def someone(self) -> Daemon:
        return self.world.dice.choice([one for _, one in sorted(self.world.daemons.items())])

    def cut(self) -> None:
        """One peer does not reach the provider."""
        if self.world.faults.on:
            one = self.someone()
            one.cut = True
            self.world.at(
                self.world.dice.choice((1, 5, 20)) * MIN, lambda: setattr(one, "cut", False)
            )

    def crash_someone(self) -> None:
        if self.world.faults.on:
            self.world.down(self.someone(), self.world.dice.choice((2, 60, 300)))

    def lose_for_a_day(self) -> None:
        """Every peer is gone for a day, or the renting one alone for longer than any life."""
        everybody = self.world.dice.random() < 0.6
        rest = DAY if everybody else 4 * HOUR
        for one in list(self.world.daemons.values()) if everybody else [self.world.daemons["A"]]:
            self.world.hit("lost for a day" if everybody else "lost for 4 h", one.states())
            one.crash()
            one.gone_until_ms = self.world.now() + rest
            self.world.at(rest, lambda each=one: self.world.up(each))
        self.world.quiet_ms += rest
        self.world.faults.crash_rate, self.world.lost = 0, True
        self.world.at(rest, lambda: setattr(self.world, "lost", False))

    def hand_over_once(self, willing: object) -> None:
        self.when(lambda: self.hand_over(willing=bool(willing)))

    def hand_over(self, *, willing: bool) -> None:
        """The owner gives the account away, or a person takes it for the other peer."""
        one, other = self.world.dice.sample([self.world.daemons["A"], self.world.daemons["B"]], 2)
        giver = other if willing else one
        if not giver.alive or one.owns:
            return
        if willing and other.owns:
            self.world.hit("hand-over", giver.states())
            giver.spawn(asked(giver.actor.give(one.name)))
        elif not willing:
            self.world.hit("take-over", giver.states() + other.states())
            giver.spawn(asked(giver.actor.take()))

    def unlink(self) -> None:
        """Peers do not hear of each other."""
        if self.world.faults.on:
            self.world.linked = False
            self.world.at(self.world.dice.choice((1, 5, 15)) * MIN, self.link)

    def link(self) -> None:
        self.world.linked = True
        self.world.exchange()

    def copy_disk(self) -> None:
        """The renting machine's disk is copied, and both copies run with the same key."""
        a = self.world.daemons["A"]
        if self.world.clone is not None or not a.boot:
            return
        self.world.hit("copied disk", a.states())
        self.world.clone = Daemon(self.world, "A", self.world.faults.skew_ms(), copied=True)
        for event in a.disk:
            self.world.clone.take(event)
        self.world.clone.boot = 1000
        self.world.clone.start()
        self.world.at(self.world.dice.randint(2, 10) * MIN, self.world.freeze)
