"""What rentals and jobs ask of this peer's purse before they begin.

A rented machine is paid for by its rental: a job there holds money only in budgets in which the
rental holds none, and only where those count owned devices too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final, final

from mathcore.price import cost_nusd
from mathcore.units import DAY_MS
from mesh.api.errors import RequestError
from mesh.api.rentals.rows import host_name
from mesh.edge.budgets.purse import Purse
from mesh.edge.disk import StoreError
from mesh.edge.dispatch.candidates import Candidate, is_rented
from mesh.policy.budgets.outcomes import machines_of, of_attempt, of_rental, outcome
from mesh.policy.budgets.values import About, Group, Refusal
from mesh.state.bills.in_force import InForce
from mesh.state.budgets.budget import Budget
from mesh.state.facts.fact import decode
from mesh.state.facts.plan import PlanFact
from mesh.state.fleet import DeviceView
from mesh.state.jobs import JobView
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import MIN_MS
from mesh.state.state import State

# From a hold until what it is for is in the ledger: a write, or some seconds of a provider's
# patience. One that did not begin by then is let go, and its thing is held for anew.
BEGIN_MS: Final = 10 * MIN_MS
# Nobody knows how long a command or a server runs. A day of its devices is held; what it costs
# beyond that counts when it ends.
UNKNOWN_MS: Final = DAY_MS

Named = Callable[[Refusal], Refusal]


@final
class RentalBudgets:
    """Money for machines, before they are intended."""

    def __init__(self, purse: Purse, named: Named) -> None:
        self._purse: Final = purse
        self._named: Final = named
        self._held: dict[str, str] = {}  # by rental, what is held and not begun

    async def hold(self, request: Request, rental_id: str, most_nusd: int) -> str:
        """Why no money is had for a machine, "" where it is held, or nothing counts it."""
        about = _rented_for(request.author, request.provider, request.job_id)
        held = await self._purse.hold(
            of_rental(rental_id),
            lambda: self._purse.groups(about),
            most_nusd,
            for_ms=BEGIN_MS,
        )
        if isinstance(held, Refusal):
            return self._named(held).text
        if held is not None:
            self._held[rental_id] = held
        return ""

    async def let_go(self, rental_id: str) -> None:
        """It is not intended after all. What can't be written now is let go when its time to begin
        is over."""
        held = self._held.pop(rental_id, None)
        if held is not None:
            with contextlib.suppress(StoreError, RequestError):
                await self._purse.release(held, "not_intended")

    def begin(self, rental_id: str) -> bool:
        """Whether the provider may be asked for it: its money is still held, or none had to be."""
        held = self._held.pop(rental_id, None)
        return held is None or self._purse.begin(held)

    async def demand(self, author: str, provider: str, job_id: str, most_nusd: int) -> None:
        """RequestError where nobody could rent that with the money of this moment."""
        about = _rented_for(author, provider, job_id)
        no = await self._purse.refuses(lambda: self._purse.groups(about), most_nusd)
        if no is not None:
            said = self._named(no)
            raise RequestError(said.code, said.text, said.hint, 409)


def _rented_for(author: str, provider: str, job_id: str) -> About:
    return About(user=author, provider=provider, job=job_id)


@final
class JobBudgets:
    """Money for attempts of jobs, before they are dispatched."""

    def __init__(self, purse: Purse, state: Callable[[], State], named: Named) -> None:
        self._purse: Final = purse
        self._state: Final = state
        self._named: Final = named

    async def hold(self, job: JobView, chosen: Candidate) -> tuple[str, str]:
        """(code, sentence) why an attempt has no money; two empty texts where it has, or where no
        budget counts it. Then it may be dispatched and claimed."""
        await self._let_go(job.job_id, chosen.ask.attempt)
        views = [self._state().devices.get(one) for one in chosen.ask.devices]
        devices = [one for one in views if one is not None]
        paid = _paid_by(self._state(), devices)
        rented = any(map(is_rented, devices))
        about = About(
            user=job.origin or job.home,
            key=job.asked.key_id,
            provider=_provider(devices) if rented else "",
            job=job.job_id,
        )
        held = await self._purse.hold(
            of_attempt(job.job_id, chosen.ask.attempt),
            lambda: self._unpaid(self._purse.groups(about), paid),
            self._most_nusd(chosen, devices, job.kind),
            for_ms=BEGIN_MS,
            owned=not rented or bool(paid),
        )
        if isinstance(held, Refusal):
            said = self._named(held)
            return said.code, said.text
        if held is not None and not self._purse.begin(held):
            return "StaleView", "its money is held no more; it is asked for again"
        return "", ""

    async def _let_go(self, job_id: str, attempt: int) -> None:
        """Of an attempt that was to be dispatched before, and never was, nothing stays held: one
        attempt is not paid for twice."""
        what, me = of_attempt(job_id, attempt), self._purse.me
        word = self._purse.book.word(me)
        before = [one for one in sorted(word.open_ids) if word.holds[one].about == what]
        if before and outcome(self._state(), {}, me, what).how == "never":
            for hold_id in before:
                await self._purse.release(hold_id, "not_dispatched")

    def _unpaid(self, groups: Iterable[Group], paid: frozenset[Budget]) -> list[Group]:
        return [one for one in groups if paid.isdisjoint(one)]

    def _most_nusd(self, chosen: Candidate, devices: list[DeviceView], kind: str) -> int:
        """What an attempt costs at most, nine times in ten; a command or a server a day."""
        if chosen.plan is None or kind == "server":
            now = InForce(self._state(), self._purse.now_ms())
            return sum(cost_nusd(now.price(one), UNKNOWN_MS) for one in devices)
        plan: Any = chosen.plan
        return decode(PlanFact, plan).cost_nusd.p90


def _provider(devices: list[DeviceView]) -> str:
    return next((one.facts.provider for one in devices if one.facts.provider), "")


def _paid_by(state: State, devices: list[DeviceView]) -> frozenset[Budget]:
    """The budgets in which the rentals of these machines hold their own money."""
    found: set[Budget] = set()
    for rental in _rentals(state, devices):
        word, what = state.budgets.word(rental.author), of_rental(rental.rental_id)
        holds = [word.holds[one] for one in word.open_ids]
        found.update(part for one in holds if one.about == what for part, _ in one.parts)
    return frozenset(found)


def _rentals(state: State, devices: list[DeviceView]) -> list[Rental]:
    """The open rentals that these devices are of."""
    hosts = {(one.owner, one.facts.host) for one in devices if is_rented(one)}
    those = [one for many in machines_of(state).values() for one in many] if hosts else []
    return [one for one in those if one.is_open and (one.author, host_name(one)) in hosts]
