"""What past rentals teach of providers and their machines: how often one comes up, how fast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import Final, final

from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import STEPS

ENGINE: Final = len(STEPS)
# A host that was tried once is not known by that alone: so many tries of the usual kind are added.
PRIOR_TRIES: Final = 2
PRIOR_PPM: Final = 900_000
MILLION: Final = 1_000_000
# Ends that say nothing of the machine: a person or a cap ended it before it could come up.
NOT_ITS_FAULT: Final = frozenset({"cancelled", "job_done", "idle", "life_over", "returned"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Of one host, or ("provider", "") of a whole provider. `boot_ms`: from the order to an engine
    that answers, the median; None while none did."""

    tries: int
    came_up: int
    boot_ms: int | None

    @property
    def success_ppm(self) -> int:
        """How many orders of a million come up, shrunk towards the usual."""
        known = self.came_up * MILLION + PRIOR_TRIES * PRIOR_PPM
        return known // (self.tries + PRIOR_TRIES)


def records(rentals: Iterable[Rental]) -> dict[tuple[str, str], Record]:
    """By (provider, physical machine), and by (provider, "") of all its machines."""
    boots: dict[tuple[str, str], list[int | None]] = {}
    for one in rentals:
        if not _tells(one):
            continue
        boot = _boot_ms(one)
        for key in {(one.provider, one.host_id), (one.provider, "")}:
            boots.setdefault(key, []).append(boot)
    return {key: _record(those) for key, those in boots.items()}


def _tells(one: Rental) -> bool:
    """Whether it says anything of its machine: one that was placed, and not ended by us alone."""
    if not one.instance_id or one.is_twin or not one.author:
        return False
    return one.step >= ENGINE or (not one.wanted and one.over not in NOT_ITS_FAULT)


def _boot_ms(one: Rental) -> int | None:
    if one.step < ENGINE or len(one.booted_ms) < ENGINE or not one.called_ms:
        return None
    return max(0, one.booted_ms[ENGINE - 1] - one.called_ms)


def _record(boots: list[int | None]) -> Record:
    known = [one for one in boots if one is not None]
    boot_ms = median_low(known) if known else None
    return Record(tries=len(boots), came_up=len(known), boot_ms=boot_ms)
