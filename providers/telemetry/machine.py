"""All devices of this machine at once, each source behind a guard: one that hangs delays none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol, final

import msgspec

from providers.probe.nvidia import NvidiaCards
from providers.telemetry.amd import AmdCards
from providers.telemetry.apple import AppleGpu
from providers.telemetry.attempts import Attempt, Owners
from providers.telemetry.guard import HUNG_S, PATIENCE_S, Guard, Hung, Slow
from providers.telemetry.health import LOST, UNRESPONSIVE, Course, Health, judged
from providers.telemetry.host import HostCpu
from providers.telemetry.sample import AMD, APPLE, CPU, NVIDIA, Fault, Look, Reading

# In this order, so that cards are numbered as `probe_machine` numbers them.
GPU_SOURCES: Final = (NVIDIA, AMD, APPLE)


class Source(Protocol):
    """What is asked for readings of one maker's devices."""

    def look(self) -> Look:
        """Blocking; may hang."""


@final
class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device and how it is. `reading` is the last there was, taken at `at_ms`; None: never one.

    `index` counts this machine's cards; None: the processor.
    """

    index: int | None
    key: str
    reading: Reading | None
    at_ms: int
    health: Health


@final
class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Every device of this machine at an instant of the steady clock.

    `faults`: of whole sources, whose cards may not even be known yet. `waits`: some source has not
    answered for the first time. `slow`: one has not answered this time.
    """

    at_ms: int
    devices: tuple[Device, ...] = ()
    faults: tuple[Fault, ...] = ()
    waits: bool = False
    slow: bool = False


@final
class Sampler:
    """Takes samples and remembers every card it saw: its number never changes while this lives."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        owners: Owners,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._clock = clock
        self._owners = owners
        self._patience_s = patience_s
        self._guards = {name: Guard(one.look, name, clock) for name, one in sources.items()}
        self._looks: dict[str, Look] = {}
        self._courses: dict[str, dict[str, Course]] = {name: {} for name in sources}
        self._last: dict[str, tuple[int, Reading]] = {}
        self._order: list[str] = []  # keys of cards, by their number

    def sample(self, running: Iterable[Attempt] = ()) -> Sample:
        """A sample now; blocking for milliseconds, and at most half a second a source that hangs.

        `running`: attempts on this machine, whose processes are ours. One caller at a time.
        """
        self._owners.watch(running)
        faults, slow = [], False
        for name, guard in self._guards.items():
            look = self._ask(name, guard)
            if look is None:
                slow = True
                continue
            if look.fault is not None:
                faults.append(look.fault)
            self._take(name, look)
        self._number()
        devices = [self._device(CPU, None)] if CPU in self._guards else []
        devices += [self._device(key, index) for index, key in enumerate(self._order)]
        waits = len(self._looks) < len(self._guards)
        return Sample(
            at_ms=self._now_ms(),
            devices=tuple(devices),
            faults=tuple(faults),
            waits=waits,
            slow=slow,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _ask(self, name: str, guard: Guard[Look]) -> Look | None:
        """What a source says; None while it takes its time."""
        try:
            return guard.ask(self._patience_s)
        except Hung:
            text = f"its driver has not answered for {HUNG_S:.0f} s and is not asked again"
            return Look(source=name, fault=Fault(kind=UNRESPONSIVE, text=text))
        except Slow:
            return None
        except Exception as error:  # a source that breaks is no reason to lose the others
            text = f"it could not be read: {type(error).__name__}: {error}"
            return Look(source=name, fault=Fault(kind=LOST, text=text[:200]))

    def _take(self, name: str, look: Look) -> None:
        now_ms = self._now_ms()
        self._looks[name] = look
        self._courses[name] = judged(self._courses[name], look, now_ms)
        for reading in look.found:
            self._last[reading.key] = (now_ms, reading)

    def _number(self) -> None:
        """Give new cards their numbers, once every source has said what there is."""
        if not all(name in self._looks for name in self._guards):
            return
        for name in GPU_SOURCES:
            for key in self._courses.get(name, ()):
                if key not in self._order:
                    self._order.append(key)

    def _device(self, key: str, index: int | None) -> Device:
        source = key.partition(":")[0]
        at_ms, reading = self._last.get(key, (0, None))
        course = self._courses[source].get(key)
        health = Health() if course is None else course.health
        return Device(index=index, key=key, reading=reading, at_ms=at_ms, health=health)


def this_machine(jobs_dir: Path) -> Sampler:
    """The sampler of the machine we are on; our jobs are those under `jobs_dir`."""
    owners = Owners(jobs_dir)
    sources: dict[str, Source] = {
        CPU: HostCpu(owners),
        NVIDIA: NvidiaCards(owners.who),
        AMD: AmdCards(owners.who),
        APPLE: AppleGpu(),
    }
    return Sampler(sources, owners)
