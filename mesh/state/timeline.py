"""What was said about one job, so that an event that arrives late still takes its place.

Of one kind, author and attempt the first counts (of pauses the last): however much somebody says
about a job, the job keeps a handful of events.
"""

from dataclasses import dataclass, field

from mesh.state.attempts import Rank, view_of
from mesh.state.jobs import MAX_ATTEMPTS, REPEATED, JobView, Key, Step


@dataclass(slots=True)
class Timeline:
    """A job after all its steps; `view` is None while its submission has not arrived."""

    steps: dict[str, Step] = field(default_factory=dict)  # by kind, author and attempt
    view: JobView | None = None
    ended: Key | None = None  # of the last end, once nothing more can come

    def take(self, step: Step, rank: Rank) -> None:
        """Put one event in its place."""
        if not 0 <= step.number <= MAX_ATTEMPTS:
            return
        slot = f"{step.event_type} {step.author} {step.number}"
        known = self.steps.get(slot)
        later = step.event_type in REPEATED
        if known is not None and (known > step if later else known < step):
            return
        self.steps[slot] = step
        self.replay(rank)

    def replay(self, rank: Rank) -> None:
        """The job anew from all its steps."""
        self.view, self.ended = view_of(self.steps.values(), rank)

    def claimants(self) -> list[str]:
        """Everybody who submitted a job of this id."""
        return [s.author for s in self.steps.values() if s.event_type == "job_submitted"]

    def drop(self, author: str) -> bool:
        """Forget what an author said; True where it had said something."""
        mine = [slot for slot, step in self.steps.items() if step.author == author]
        for slot in mine:
            del self.steps[slot]
        return bool(mine)
