"""One job's events in total order, so that an event that arrives late still takes its place.

Of one kind by one author the first counts: however much somebody says about a job, the job keeps a
handful of events.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mesh.state import jobs
from mesh.state.jobs import JobView, Key, Step

# Orders those who claim one job id: its home is the smallest.
Rank = Callable[[str], tuple[object, ...]]


@dataclass(slots=True)
class Timeline:
    """A job after all its steps; `view` is None while its submission has not arrived."""

    steps: dict[str, Step] = field(default_factory=dict)  # by kind and author
    view: JobView | None = None
    ended: Key | None = None  # of the step that ended it
    last: Key | None = None  # of the latest step

    def take(self, step: Step, rank: Rank) -> None:
        """Put one event in its place; only a late one, or another claim, costs a replay."""
        slot = f"{step.event_type} {step.author}"
        known = self.steps.get(slot)
        if known is not None and known < step:
            return
        self.steps[slot] = step
        late = known is not None or (self.last is not None and step.key < self.last)
        if late or step.event_type == "job_submitted":
            self.replay(rank)
        else:
            self._advance(step)

    def replay(self, rank: Rank) -> None:
        """All steps again, from the submission by whoever the job belongs to."""
        self.view, self.ended, self.last = None, None, None
        home = min(self.claimants(), key=rank, default=None)
        for step in sorted(self.steps.values()):
            if step.event_type != "job_submitted" or step.author == home:
                self._advance(step)

    def claimants(self) -> list[str]:
        """Everybody who submitted a job of this id."""
        return [s.author for s in self.steps.values() if s.event_type == "job_submitted"]

    def drop(self, author: str) -> bool:
        """Forget what an author said; True where it had said something."""
        mine = [slot for slot, step in self.steps.items() if step.author == author]
        for slot in mine:
            del self.steps[slot]
        return bool(mine)

    def _advance(self, step: Step) -> None:
        at_ms = step.key[0]
        self.last = max(step.key, self.last or step.key)
        if step.event_type == "job_submitted":
            self.view = self.view or jobs.submitted(step.payload, step.author, at_ms)
        elif self.view is not None and jobs.may_move(self.view, step.event_type, step.author):
            self.view = jobs.moved(self.view, step, at_ms)
            if self.ended is None and self.view.ended:
                self.ended = step.key
