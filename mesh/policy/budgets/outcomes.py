"""What the ledger tells of a thing that money is held for: whether it began, and what it cost.

A peer writes down what it is about to ask for before it asks, in the same chain as its hold and
after it. So where its own chain says nothing of the thing, that never began; nothing else proves
so, and no clock does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from mesh.state.budgets.entries import MOST_NUSD
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import ABSENT
from mesh.state.state import State

RENTAL, JOB = "rental", "job"
MEASURED, INVOICED = "measured", "invoiced"
How = Literal["never", "open", "over", "retired"]
# By the id that its hold names: a rental, and second machines of its label.
Machines = Mapping[str, Sequence[Rental]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a thing stands: it never began; it may cost on; it is over, at this cost; or it ended so
    long ago that only the whole ledger knows its cost. `bought` is False where nothing was had."""

    how: How
    cost_nusd: int = 0
    basis: str = MEASURED
    bought: bool = True


NEVER: Final = Outcome(how="never", bought=False)
OPEN: Final = Outcome(how="open")
RETIRED: Final = Outcome(how="retired")


def of_rental(rental_id: str) -> str:
    """What a hold of a rental is about."""
    return f"{RENTAL} {rental_id}"


def of_attempt(job_id: str, attempt: int) -> str:
    """What a hold of one attempt of a job is about."""
    return f"{JOB} {job_id} {attempt}"


def machines_of(state: State) -> dict[str, list[Rental]]:
    """Every rental by the id that its hold names."""
    found: dict[str, list[Rental]] = {}
    for one in state.rentals.every():
        found.setdefault(one.rental_id.partition(".")[0], []).append(one)
    return found


def outcome(state: State, machines: Machines, me: str, about: str) -> Outcome:
    """How stands what a hold of peer `me` is about; what is not understood here may cost on."""
    kind, _, rest = about.partition(" ")
    if kind == RENTAL:
        return _rented(machines.get(rest, ()))
    job_id, _, number = rest.rpartition(" ")
    if kind == JOB and number.isascii() and number.isdigit():
        return _attempted(state, me, job_id, int(number))
    return OPEN


def _rented(those: Sequence[Rental]) -> Outcome:
    """Over once all of them are proved absent; by their invoices where those are known."""
    if not those:
        return NEVER
    if any(one.state != ABSENT for one in those):
        return OPEN
    invoiced = all(one.invoiced_nusd is not None for one in those)
    return Outcome(
        how="over",
        cost_nusd=min(MOST_NUSD, sum(map(_cost_nusd, those))),
        basis=INVOICED if invoiced else MEASURED,
        bought=any(one.instance_id or _cost_nusd(one) for one in those),
    )


def _cost_nusd(one: Rental) -> int:
    """As far as a budget counts: what is beyond would be told again and again, and never be so."""
    if one.invoiced_nusd is not None:
        return min(MOST_NUSD, one.invoiced_nusd)
    # When it was proved absent: its meter had ended by then.
    return min(MOST_NUSD, one.cost_nusd(one.since_ms))


def _attempted(state: State, me: str, job_id: str, number: int) -> Outcome:
    job = state.jobs.get(job_id)
    if job is None:  # it was known when its money was held
        return RETIRED if job_id in state.retired else OPEN
    mine = [one for one in job.attempts if one.number == number and one.by == me]
    if not mine:
        return NEVER
    if any(one.open for one in mine):
        return OPEN
    cost = sum(one.cost_nusd for one in mine)
    return Outcome(how="over", cost_nusd=cost, bought=any(one.ended for one in mine))
