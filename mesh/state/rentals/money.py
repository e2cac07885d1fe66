"""What a rental costs: spans of time, each at one rate; whole numbers throughout.

Between two looks the dearer reading counts. `slack` is by how much the sum may be too high for
that, `possible` by how much it may be too low. Who bills whole minutes bills the one that began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

from mesh.state.rentals.terms import HOUR_MS

# Nobody bills by more than the hour; another member's word for it makes no rental dear.
MAX_STEP_MS: Final = HOUR_MS
# The largest integer of a ledger; sums stop there, so that a snapshot can hold them.
MOST_NUSD: Final = (1 << 53) - 1


def cost_nusd(rate_nusd: int, span_ms: int) -> int:
    """What a rate an hour comes to, rounded up: for bounds and reservations."""
    return min(MOST_NUSD, -(-max(0, rate_nusd) * max(0, span_ms) // HOUR_MS))


@final
@dataclass(slots=True)
class Span:
    """A time at one rate; `to_ms` None = it goes on."""

    from_ms: int
    to_ms: int | None
    rate_nusd: int  # an hour


@final
@dataclass(slots=True)
class Meter:
    """All of one rental's spans, the oldest first. What it ran is billed as a multiple of
    `step_ms`, from the first span with a rate on."""

    spans: list[Span] = field(default_factory=list)
    step_ms: int = 1
    slack_nusd: int = 0
    possible_nusd: int = 0

    @property
    def runs(self) -> bool:
        """Whether the last span goes on."""
        return bool(self.spans) and self.spans[-1].to_ms is None

    def begin(self, at_ms: int, rate_nusd: int) -> None:
        """Count from then on, unless something was counted already."""
        if not self.spans:
            self.spans.append(Span(at_ms, None, rate_nusd))

    def change(self, rate_nusd: int, seen_ms: int, since_ms: int) -> None:
        """Another rate is seen; the old one surely held at `since_ms` alone: the dearer counts."""
        start = since_ms
        if self.runs:
            last = self.spans[-1]
            start = max(last.from_ms, since_ms if rate_nusd > last.rate_nusd else seen_ms)
            unsure = seen_ms - max(last.from_ms, since_ms)
            self.doubt(abs(rate_nusd - last.rate_nusd), unsure)
            last.to_ms = start
        self.spans.append(Span(start, None, rate_nusd))

    def doubt(self, rate_nusd: int, span_ms: int) -> None:
        """The sum may be too high by so much."""
        self.slack_nusd = min(MOST_NUSD, self.slack_nusd + cost_nusd(rate_nusd, span_ms))

    def end(self, end_ms: int) -> None:
        """Nothing counts after that."""
        kept = [one for one in self.spans if one.from_ms < end_ms]
        for one in kept:
            one.to_ms = end_ms if one.to_ms is None else min(one.to_ms, end_ms)
        self.spans = kept

    def go_on(self, at_ms: int, rate_nusd: int) -> None:
        """It did not end after all: from its old end at that rate."""
        if not self.runs:
            last = self.spans[-1].to_ms if self.spans else None
            self.spans.append(Span(at_ms if last is None else last, None, rate_nusd))

    @property
    def paid(self) -> list[Span]:
        """Those from the first one with a rate on."""
        free = next((n for n, one in enumerate(self.spans) if one.rate_nusd > 0), len(self.spans))
        return self.spans[free:]

    def _begun_step(self, now_ms: int, begin_ms: int) -> int:
        """Rate x ms of the step that it ended in, beyond what it ran: counted in its last ms."""
        paid = self.paid
        end_ms = paid[-1].to_ms if paid else None
        if end_ms is None or not begin_ms < end_ms <= now_ms:
            return 0
        return paid[-1].rate_nusd * (-(end_ms - paid[0].from_ms) % self.step_ms)

    def cost(self, now_ms: int, begin_ms: int = 0) -> int:
        """Nano-dollars in [begin, now), rounded down."""
        total = self._begun_step(now_ms, begin_ms)
        for one in self.spans:
            to_ms = now_ms if one.to_ms is None else min(one.to_ms, now_ms)
            total += one.rate_nusd * max(0, to_ms - max(one.from_ms, begin_ms))
        return min(MOST_NUSD, total // HOUR_MS)
