"""What one process knows of a job on its way beside the ledger, and which offer is best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mesh.api.errors import RequestError
from mesh.api.wire.claims import Offer, Standing
from mesh.edge.dispatch.candidates import Candidate
from mesh.state.facts.job import Expected
from mesh.state.jobs import DISPATCHED, AttemptView, JobView

# Between two tries of one thing: at once a link that blinked, at last one that is down for hours.
FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 15.0
NO_OFFER: Final = "0" * 32  # a claim without one: it stands only where it was taken before
NO_WORD: Final = ("", "")
# Nobody answered: all else is an answer, and who gives it is heard of.
SILENT: Final = frozenset({"Unanswered", "Unreachable"})


@dataclass(slots=True)
class Pursuit:
    """Of one attempt, or (as attempt 0) of the job while it is nowhere."""

    offer_id: str = NO_OFFER
    pause_s: float = FIRST_PAUSE_S
    next_s: float = 0.0  # on the loop's clock
    silent_since_s: float | None = None  # the owner has not answered since
    why: tuple[str, str] = NO_WORD  # code and sentence of the last no

    def later(self, why: tuple[str, str], now_s: float) -> None:
        """Look again after a pause that grows, as the job's place in line does not."""
        self.why = why
        self.next_s = now_s + self.pause_s
        self.pause_s = min(LAST_PAUSE_S, 2 * self.pause_s)

    def silent(self, code: str, now_s: float) -> None:
        """The owner gave no lease: for this reason, or no word at all."""
        if code not in SILENT:
            self.silent_since_s = None
        elif self.silent_since_s is None:
            self.silent_since_s = now_s


def best(found: Sequence[Candidate], offers: dict[str, Offer | RequestError]) -> Candidate | None:
    """The candidate to go to: by the plan's order where money decides, else the soonest done."""
    said = [(one, offer) for one in found if isinstance(offer := offers.get(one.key), Offer)]
    if not said:
        return None
    if said[0][0].cheapest:
        return said[0][0]
    return min(said, key=lambda pair: _done_in(*pair))[0]


def _done_in(one: Candidate, offer: Offer) -> tuple[int, int]:
    """(ms until it should be done, attempts before it, which decide where no time is known)."""
    return (offer.standing.start_p50_ms or 0) + offer.fetch_ms + one.ask.p50_ms, offer.ahead


def expected_of(said: Standing) -> Expected | None:
    """What was predicted, as it is signed; None where nothing was."""
    if said.start_p50_ms is None:
        return None
    return Expected(
        start_p50_ms=said.start_p50_ms,
        start_p90_ms=said.start_p90_ms or said.start_p50_ms,
        end_p50_ms=said.end_p50_ms,
        end_p90_ms=said.end_p90_ms,
        p_ppm=said.p_ppm,
    )


def first_no(
    found: Sequence[Candidate], offers: dict[str, Offer | RequestError]
) -> tuple[str, str]:
    """Why the best of them that said no did."""
    for one in found:
        said = offers.get(one.key)
        if isinstance(said, RequestError):
            return said.code, f"{one.name}: {said.text}"
    return "Unreachable", "no device that could take it is reached"


def attempt_of(job: JobView, number: int) -> AttemptView | None:
    """The attempt of a number; where two homes chose the same, one that is still unknown."""
    found = [one for one in job.attempts if one.number == number]
    return next((one for one in found if one.status == DISPATCHED), found[0] if found else None)
