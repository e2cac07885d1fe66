"""Jobs on several devices of one owner at once: how they come up, and variants that break them.

A plan chooses the devices of a model's job; only commands are simulated, so here the id of a job
says that it is a gang, and its home asks for two or three devices of one machine.
"""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any
from unittest.mock import patch

from msgspec import structs

from mesh.api.wire.claims import Offer, Share
from mesh.edge.dispatch.candidates import Candidate, Nowhere
from mesh.edge.dispatch.holds import Holds
from mesh.edge.dispatch.home import Home
from mesh.edge.dispatch.line import Line
from mesh.policy.queue.values import Part, Running
from mesh.state.jobs import AttemptView, JobView
from mesh.state.state import State
from tests.simulation.dispatch.breaking import Broken

PART = 0.3  # of all jobs, where some machine has devices enough
Candidates = Callable[[JobView], Awaitable[Sequence[Candidate]]]


def size_of(job_id: str) -> int:
    """How many devices a job wants at once."""
    mark = job_id.rsplit("-", 1)[-1][:1]
    return {"g": 2, "h": 3}.get(mark, 1)


def named(job_id: str, size: int) -> str:
    """The same id as of a job that wants so many."""
    home, _, number = job_id.rpartition("-")
    return f"{home}-{'gh'[size - 2]}{number}"


def largest(state: State) -> int:
    """The most devices that one owner has, as far as gangs go here."""
    owned = Counter(one.owner for one in state.devices.values())
    return min(3, max(owned.values(), default=0))


def choosing(real: Candidates) -> Candidates:
    """A home's choice, with so many devices of one owner together as a job wants."""

    async def candidates(job: JobView) -> Sequence[Candidate]:
        found, size = await real(job), size_of(job.job_id)
        if size == 1:
            return found
        together = [
            _one_of(each)
            for each in combinations(sorted(found, key=lambda one: one.device_id), size)
            if len({one.owner for one in each}) == 1
        ]
        if not together:
            raise Nowhere("no_resource", "nobody has so many devices", for_good=False)
        return together

    return candidates


def _one_of(each: Sequence[Candidate]) -> Candidate:
    first, *more = each
    members = tuple(Share(device_id=one.device_id) for one in more)
    return replace(first, ask=structs.replace(first.ask, members=members))


# Broken variants.


def gang_leak() -> Broken:
    """A gang ended, and its owner has only the first of its devices back."""
    real = Line._held

    def held(self: Line, begun: Any) -> tuple[list[Any], list[Running]]:
        waiting, running = real(self, begun)
        seen = self.__dict__.setdefault("gangs", {})
        seen.update({one.key: one for one in running if one.others})
        alive = {one.key for one in running}
        leaked = [_without_its_first(one) for key, one in seen.items() if key not in alive]
        return waiting, [*running, *leaked]

    return patch.object(Line, "_held", held)


def _without_its_first(one: Running) -> Running:
    first, *more = one.others
    return replace(one, device_id=first.device_id, need=first.need, others=tuple(more))


def counts_a_gang_on_its_first_device() -> Broken:
    """What a gang holds beside its first device nobody's queue knows."""
    real = Line._parts

    def parts(self: Line, job: JobView, one: AttemptView) -> tuple[Part, ...]:
        return real(self, job, one)[:1]

    return patch.object(Line, "_parts", parts)


def sends_a_gang_to_its_first_device() -> Broken:
    """A home takes a place on one device, as a program before gangs offers it, for one on all."""
    real = Home._dispatch

    async def dispatch(self: Home, job: JobView, chosen: Candidate, offer: Offer) -> None:
        alone = structs.replace(chosen.ask, members=())
        await real(self, job, replace(chosen, ask=alone), offer)

    def holds(self: Holds, home: str, job_id: str, attempt: int, devices: Any, *more: Any) -> bool:
        return any(
            one.home == home and (one.ask.job_id, one.ask.attempt) == (job_id, attempt)
            for one in self._held.values()
        )

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Home, "_dispatch", dispatch))
    stack.enter_context(patch.object(Holds, "holds", holds))
    return stack


MUTANTS: dict[str, Callable[[], Broken]] = {
    one.__name__: one
    for one in (gang_leak, counts_a_gang_on_its_first_device, sends_a_gang_to_its_first_device)
}
