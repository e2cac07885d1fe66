"""What a device's bill is made from: its rows, what was said of money, its rentals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, final

from mesh.edge.bills.desk import SqlDesk
from mesh.edge.bills.machines import Host, called
from mesh.edge.bills.schema import OPEN
from mesh.state.bills.books import AsKnown
from mesh.state.bills.given import Given, gather
from mesh.state.bills.inputs import NOBODY, Charge, FxRate, Input, Rate, Run, Tariff, Watched, Who
from mesh.state.devices import title
from mesh.state.runs.making import (
    RunKnown,
    gone_spans,
    hardware,
    in_force,
    machine_prefix,
    rented,
    run_of,
    seen,
)
from mesh.state.runs.rows import MachineRow, UsedRow
from mesh.state.state import State


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """This peer's daemon watches its own devices since an instant, which no event says yet."""

    author: str = ""
    from_ms: int = 0


@final
@dataclass(frozen=True, slots=True)
class Billed:
    """A device with a bill: its parts are how its rows name it, its machines rent it."""

    device: str
    owner: str
    parts: tuple[str, ...]
    machines: tuple[MachineRow, ...] = ()


@final
@dataclass(slots=True)
class Found:
    """A device's inputs, whose its jobs were, which of them count, and what keys used."""

    given: Given
    whose: dict[str, Who] = field(default_factory=dict)
    ran: list[Run] = field(default_factory=list)
    used: list[tuple[int, str, str, UsedRow]] = field(default_factory=list)
    serving: frozenset[str] = frozenset()  # jobs that requests asked, whenever they did


@final
class Gatherer:
    """Inputs as of one state, at one moment, of what the desk's rows knew by theirs."""

    def __init__(self, desk: SqlDesk, state: State, now_ms: int, watch: Watch) -> None:
        self._desk: Final = desk
        self._state: Final = state
        self.now_ms: Final = now_ms
        self._watch: Final = watch
        self._machines: Final = desk.machines.known()
        self._owners: Final = {} if desk.by_ms == OPEN else self._claimed()
        self._common, self._by_device = self._said()

    def devices(self) -> list[Billed]:
        """All that has a bill, rented machines as a whole, by name."""
        parts: dict[Host, list[str]] = {}
        prefixes = {machine_prefix(*one): one for one in sorted(self._machines)}
        found = []
        for device, author in self._desk.devices():
            if self._owner(device) != author:
                continue  # somebody else's word on it
            host = _host_of(device, prefixes)
            if host is None:
                found.append(Billed(device, author, (device,)))
            else:
                parts.setdefault(host, []).append(device)
        for key, ones in self._machines.items():
            found.append(Billed(key[1], key[0], tuple(parts.get(key, ())), tuple(ones)))
        others = set(self._by_device) - {one.device for one in found}
        found += [Billed(one, self._owner(one), (one,)) for one in others]
        return _apart(sorted(found, key=lambda one: (one.device, bool(one.machines), one.owner)))

    def inputs(self, one: Billed, since_ms: int) -> Found:
        """All that counts for a device from an instant on."""
        since_ms = self.charged_since(one, since_ms)
        runs = list(self._runs(one, since_ms))
        whose: dict[str, Who] = {}
        for _, run in runs:
            if whose.get(run.job, NOBODY) == NOBODY:
                whose[run.job] = run.who
        return Found(
            gather([*self._of(one, since_ms), *(run for _, run in runs)]),
            whose,
            [run for known, run in runs if known.device not in known.sent.members],
            [row for part in one.parts for row in self._desk.used_of(part, one.owner, since_ms)],
            frozenset(job for part in one.parts for job in self._desk.serving(part, one.owner)),
        )

    def charged_until(self, one: Billed, at_ms: int) -> int:
        """An instant, or the end of the charge that reaches furthest over it."""
        charges = [c for c in self._by_device.get(one.device, ()) if isinstance(c, Charge)]
        over = [charge.to_ms for charge in charges if charge.from_ms < at_ms < charge.to_ms]
        return max([at_ms, *over])

    def charged_since(self, one: Billed, since_ms: int) -> int:
        """An instant, or the begin of a charge that reaches over it: how a charge is spread follows
        from all of its time."""
        charges = [c for c in self._by_device.get(one.device, ()) if isinstance(c, Charge)]
        while over := [c.from_ms for c in charges if c.from_ms < since_ms < c.to_ms]:
            since_ms = min(over)
        return since_ms

    def certain_ms(self, one: Billed) -> int:
        """Up to when no more can be heard of what runs there now: of a job that goes on its owner
        has told so much, and the next event of that peer's tells more."""
        runs = any(self._desk.goes_on(part, one.owner, OPEN - 1) for part in one.parts)
        return self._until_ms(one.owner) if runs else self.now_ms

    def goes_on(self, one: Billed, at_ms: int) -> bool:
        """Whether a machine costs something after an instant, or something runs there."""
        ends = [span[1] for each in one.machines for span in each.spans[-1:]]
        costs = any(each.is_open for each in one.machines)
        costs = costs or any(end is None or end > at_ms for end in ends)
        return costs or any(self._desk.goes_on(part, one.owner, at_ms) for part in one.parts)

    def first_ms(self, one: Billed) -> int:
        """When a device's bill begins; now where nothing ever was."""
        found = self.inputs(one, 0).given
        firsts = [rate.from_ms for rows in found.rates.values() for rate in rows]
        firsts += [run.spans[0][0] for rows in found.runs.values() for run in rows]
        firsts += [rental.from_ms for rows in found.rentals.values() for rental in rows]
        firsts += [charge.from_ms for rows in found.charges.values() for charge in rows]
        return min(firsts, default=self.now_ms)

    def _of(self, one: Billed, since_ms: int) -> Iterator[Input]:
        """Rates, watches and rentals; what a person said goes before what was registered."""
        yield from self._common
        said = self._by_device.get(one.device, [])
        rates = [each for each in said if isinstance(each, Rate)]
        if one.machines:
            yield from rented(one.device, one.machines)
            yield from rates
        else:
            yield from self._owned(one, rates)
            for row in self._desk.seen_of(one.device, one.owner, since_ms):
                yield from seen(one.device, *row)
        others = (each for each in said if not isinstance(each, Rate))
        # A charge that was over by then changes no later line.
        yield from (s for s in others if not isinstance(s, Charge) or s.to_ms > since_ms)
        if self._watch.author == one.owner and self._watch.from_ms and not one.machines:
            begun, now_ms = self._watch.from_ms, self.now_ms
            yield Watched(device=one.device, from_ms=begun, to_ms=now_ms)

    def _owned(self, one: Billed, said: Sequence[Rate]) -> Iterator[Input]:
        """What an owned device costs, by its registrations and by people."""
        paid = self._desk.paid_of(one.device, one.owner)
        registered = list(hardware(paid))
        yield from (each for each in registered if not isinstance(each, Rate))
        rates = [each for each in registered if isinstance(each, Rate)]
        yield from in_force(rates, said, gone_spans(paid))

    def _runs(self, one: Billed, since_ms: int) -> Iterator[tuple[RunKnown, Run]]:
        until_ms = self._until_ms(one.owner)
        for part in one.parts:
            for known in self._desk.runs_of(part, one.owner, since_ms, until_ms):
                run = run_of(known)
                if run is not None:
                    yield known, replace(run, device=one.device, who=_counted(known, run.who))

    def _until_ms(self, owner: str) -> int:
        """How long a peer has been heard of: this one until now."""
        if owner == self._watch.author:
            return self.now_ms
        return min(self.now_ms, self._desk.last_ms(owner))

    def _owner(self, device: str) -> str:
        """Whose device it is, or was as far as was known; "" where nobody registered it."""
        known = self._desk.by_ms != OPEN
        return self._owners.get(device, "") if known else self._state.owner(device)

    def _claimed(self) -> dict[str, str]:
        """Devices and whose they are, of those that had registered them by then."""
        claims: dict[str, list[str]] = {}
        for device, author in self._desk.claims():
            claims.setdefault(device, []).append(author)
        rank = self._state.members.seniority
        return {
            device: min(authors, key=lambda one: (*title(one, device), rank(one), one))
            for device, authors in claims.items()
        }

    def _said(self) -> tuple[list[Input], dict[str, list[Input]]]:
        """What people said of money: of every device, and of each."""
        common: list[Input] = []
        by_device: dict[str, list[Input]] = {}
        known = AsKnown(by_ms=self._desk.by_ms)
        for one in self._state.books.inputs(self._believes, known):
            if isinstance(one, Tariff | FxRate):
                common.append(one)
            else:
                by_device.setdefault(getattr(one, "device", ""), []).append(one)
        return common, by_device

    def _believes(self, author: str, device: str) -> bool:
        """A device's owner says what it costs; of rented machines whoever rents them."""
        if not device:
            return True
        owner = self._owner(device)
        return author == owner if owner else (author, device) in self._machines


def _apart(found: list[Billed]) -> list[Billed]:
    """Each with a name of its own: another member can call a machine as one of ours is called, and
    takes no bill's place by that."""
    seen: set[str] = set()
    for n, one in enumerate(found):
        if one.device in seen:
            found[n] = replace(one, device=called(one.owner, one.device)[-1])
        seen.add(found[n].device)
    return found


def _host_of(device: str, prefixes: Mapping[str, Host]) -> Host | None:
    """The machine that a device is named after."""
    ends = (end for end in range(len(device), 0, -1) if device[end - 1] == "-")
    return next((prefixes[device[:end]] for end in ends if device[:end] in prefixes), None)


def _counted(known: RunKnown, who: Who) -> Who:
    """What several devices made together counts once, on the first."""
    if known.device not in known.sent.members:
        return who
    return replace(who, tokens=(0, 0, 0), phases_ms=None)
