"""One job's events in total order, so that an event that arrives late still takes its place."""

from bisect import insort
from dataclasses import dataclass, field

from mesh.ledger.event import Event, order_key
from mesh.state import jobs
from mesh.state.facts.fact import Payload
from mesh.state.jobs import JobView

Key = tuple[int, int, str, int, str]  # what order_key gives; no two events share one


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event as a job sees it; steps sort by their key alone, for no two keys are equal."""

    key: Key
    event_type: str = field(compare=False)
    author: str = field(compare=False)
    device_id: str = field(compare=False)
    payload: Payload = field(compare=False)


def step_of(event: Event) -> Step:
    """The event without what only the ledger needs."""
    return Step(order_key(event), event.event_type, event.author, event.device_id, event.payload)


@dataclass(slots=True)
class Timeline:
    """`view` is the job after all `steps`; None while its submission has not arrived."""

    steps: list[Step] = field(default_factory=list)
    view: JobView | None = None
    ended: Key | None = None  # of the step that ended it

    def take(self, step: Step) -> None:
        """Put one event in its place; only a late one costs a replay."""
        late = bool(self.steps) and step < self.steps[-1]
        insort(self.steps, step)
        if late:
            self.view, self.ended = None, None
            for old in self.steps:
                self._advance(old)
        else:
            self._advance(step)

    def _advance(self, step: Step) -> None:
        at_ms = step.key[0]
        if step.event_type == "job_submitted":
            self.view = self.view or jobs.submitted(step.payload, step.author, at_ms)
        elif self.view is not None and jobs.may_move(self.view, step.event_type, step.author):
            self.view = jobs.moved(self.view, step.event_type, step.device_id, step.payload, at_ms)
            if self.ended is None and self.view.ended:
                self.ended = step.key
