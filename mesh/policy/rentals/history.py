"""What past rentals teach of providers and their machines: how often one comes up, how fast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_low
from typing import Final, final

from mathcore.units import HOUR_MS
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
    that answers, the median; None while none did. `billed_boot_ms`: what of it is paid for, as time
    at the full price: RunPod bills all of a boot, Vast.ai its disk until it is up, Lambda none."""

    tries: int
    came_up: int
    boot_ms: int | None
    billed_boot_ms: int | None = None

    @property
    def success_ppm(self) -> int:
        """How many orders of a million come up, shrunk towards the usual."""
        known = self.came_up * MILLION + PRIOR_TRIES * PRIOR_PPM
        return known // (self.tries + PRIOR_TRIES)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """One machine's, from the order to an engine that answers; `billed_ms` None: its price is not
    known."""

    ms: int
    billed_ms: int | None


def records(rentals: Iterable[Rental]) -> dict[tuple[str, str], Record]:
    """By (provider, physical machine), and by (provider, "") of all its machines."""
    boots: dict[tuple[str, str], list[Boot | None]] = {}
    for one in rentals:
        if not _tells(one):
            continue
        boot = _boot(one)
        for key in {(one.provider, one.host_id), (one.provider, "")}:
            boots.setdefault(key, []).append(boot)
    return {key: _record(those) for key, those in boots.items()}


def _tells(one: Rental) -> bool:
    """Whether it says anything of its machine: one that was placed, and not ended by us alone."""
    if not one.instance_id or one.is_twin or not one.author:
        return False
    return one.step >= ENGINE or (not one.wanted and one.over not in NOT_ITS_FAULT)


def _boot(one: Rental) -> Boot | None:
    if one.step < ENGINE or len(one.booted_ms) < ENGINE or not one.called_ms:
        return None
    up_ms = one.booted_ms[ENGINE - 1]
    full_nusd = max((span.rate_nusd for span in one.meter.spans), default=0)
    billed = one.meter.cost(up_ms) * HOUR_MS // full_nusd if full_nusd else None
    return Boot(ms=max(0, up_ms - one.called_ms), billed_ms=billed)


def _record(boots: list[Boot | None]) -> Record:
    known = [one for one in boots if one is not None]
    billed = [one.billed_ms for one in known if one.billed_ms is not None]
    return Record(
        tries=len(boots),
        came_up=len(known),
        boot_ms=median_low([one.ms for one in known]) if known else None,
        billed_boot_ms=median_low(billed) if billed else None,
    )
