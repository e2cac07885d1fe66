"""State = all events folded: a function of the set of events, not of how they arrived.

What an author said counts by the verdicts on its membership; where those change for
events that came already, that author's events are folded again (`changed`, `fold_author`).
"""

from bisect import insort
from collections.abc import Callable, Iterable

from mathcore.units import DAY_MS
from mesh.ledger.event import SCHEMA_VERSION, Event, order_key
from mesh.state import jobs
from mesh.state.billing import Totals, job_bills
from mesh.state.bills import books
from mesh.state.devices import title
from mesh.state.facts.fact import decode
from mesh.state.facts.job import JobFact
from mesh.state.jobs import ENDS, Key, step_of
from mesh.state.members import TYPES as MEMBERSHIP
from mesh.state.members import Find, Members, holds_nothing
from mesh.state.state import KEEP_ENDED, Counts, State
from mesh.state.timeline import Timeline
from mesh.state.trust.roles import ADMIN

# Retired jobs that went on, as their homes said later: each has everything folded anew. A home has
# a few; one that brings thousands of its old jobs back may be told of wrongly.
MAX_LATE = 4096


def fold(events: Iterable[Event], keep_ended: int = KEEP_ENDED) -> State:
    """The state after these events, of a peer that is alone."""
    return fold_all(list(events), Members(), keep_ended)


def fold_all(events: list[Event], members: Members, keep_ended: int = KEEP_ENDED) -> State:
    """The state after these events, in whatever order that keeps each author's."""
    held = {(one.author, one.seq, one.hash) for one in events}
    state = State(keep_ended=keep_ended, members=members)
    for event in events:
        apply(state, event, lambda *claim: claim in held)
    late = -1
    while state.changed or (state.stale and late < len(state.late)):
        late, state = len(state.late), again(state)
        if not state.event_count:
            for event in events:
                apply(state, event, lambda *claim: claim in held)
            state = again(state)
        for event in sorted(events, key=order_key):
            apply_fact(state, event)
        finish(state)
    return state


def again(state: State) -> State:
    """A state with the same verdicts and nothing else, to fold every event's facts into, ordered,
    and then to `finish`.

    Where statements were lost it has no events yet: all must be applied, and it begun once more.
    """
    known, kept = state.members, dict(state.contested)
    if known.lost:
        heard = Members(known.root, known.founding, known.recovery, heard=set(known.heard))
        return State(
            members=heard, keep_ended=state.keep_ended, contested=kept, late=set(state.late)
        )
    return State(
        members=known.copy(),
        keep_ended=state.keep_ended,
        contested=kept,
        late=set(state.late),
        holding=bool(state.late),
        event_count=state.event_count,
        cursor=state.cursor,
        last_ms=state.last_ms,
    )


def finish(state: State) -> None:
    """All is folded anew: what was not to retire before its last event may do so now."""
    held, state.holding = state.holding, False
    for job_id in sorted(state.late) if held else ():
        end = _end(state.timelines[job_id]) if job_id in state.timelines else None
        if end is not None:
            insort(state.ended.setdefault(end[0], []), (end[1], job_id))
    _retire_rest(state)


def apply(state: State, event: Event, find: Find = holds_nothing) -> None:
    """Fold one event in, after its author's earlier ones. Total: an unknown type is skipped.

    `find` says whether the ledger holds an event that a statement names.
    """
    state.event_count += 1
    state.last_ms = max(state.last_ms, order_key(event)[0])
    state.members.see(event)
    if event.event_type in MEMBERSHIP and event.v == SCHEMA_VERSION:
        state.members.take(event, find)
        _reclaim(state)
    else:
        apply_fact(state, event)


def apply_fact(state: State, event: Event) -> None:
    """Fold in what an event says of devices, jobs and the rest, as far as its author may say it."""
    if event.event_type in MEMBERSHIP and event.v == SCHEMA_VERSION:
        return
    counts = state.counts.setdefault(event.author, Counts())
    if not state.members.counts(event):
        counts.untrusted += 1
        return
    if event.v != SCHEMA_VERSION:
        counts.skipped += 1
        return
    match event.event_type:
        case "device_registered":
            state.claims.register(event)
            _show(state, event.device_id)
        case "device_removed":
            admin = state.members.role_of(event) == ADMIN
            counts.untrusted += not state.claims.remove(event, admin=admin)
            _show(state, event.device_id)
        case "note_added":
            counts.notes += 1
        case "offers_refreshed":
            state.market.take(event)
        case "telemetry_summarised":
            return  # history: who asks for it reads the ledger
        case kind if kind in jobs.TYPES:
            _job(state, event)
        case kind if kind in books.TYPES:
            # Whose device it is says what it costs; what a currency is worth an admin says.
            if event.event_type != "fx_rate_set" or state.members.role_of(event) == ADMIN:
                state.books.add(event)
            else:
                counts.untrusted += 1
        case _:
            admin = state.members.role_of(event) == ADMIN
            known = (
                state.upkeep.take(event)
                or state.serving.take(event, admin=admin)
                or state.rentals.take(event)
                or state.budgets.take(event, admin=admin)
            )
            counts.skipped += not known


def fold_author(state: State, author: str, events: Iterable[Event]) -> None:
    """Fold all events of one author again, whose verdicts changed; in the order of its chain."""
    before = _jobs_ended(state, author)
    state.members.changed.discard(author)
    _forget(state, author)
    for event in events:
        apply_fact(state, event)
    _reclaim(state)
    # More or fewer ended jobs of one home leave less or more room for those of the others.
    moved = before != _jobs_ended(state, author)
    state.stale = state.stale or (moved and bool(state.retired))


def _forget(state: State, author: str) -> None:
    """Take out what an author said."""
    state.counts.pop(author, None)
    for device_id in state.claims.drop(author):
        _show(state, device_id)
    state.upkeep.drop(author)
    state.market.drop(author)
    state.serving.drop(author)
    state.rentals.drop(author)
    state.books.drop(author)
    state.budgets.drop(author)
    # Of a retired job nothing is left that others' words could be folded into again.
    state.stale = state.stale or state.retired.named_by(author)
    state.retired.homes.pop(author, None)
    for group in [one for one in state.totals if one[3] == author]:
        del state.totals[group]
    for job_id, timeline in list(state.timelines.items()):
        end = _end(timeline)
        if timeline.drop(author):
            if end is not None:
                state.ended[end[0]].remove((end[1], job_id))
            timeline.replay(_title(state, job_id))
            _settle(state, job_id, timeline, None)


def _jobs_ended(state: State, home: str) -> int:
    return state.retired.count(home) + len(state.ended.get(home, ()))


def _show(state: State, device_id: str) -> None:
    """Let `devices` say of a device what its owner says."""
    view = state.claims.view(device_id, state.owner(device_id))
    if view is None:
        state.devices.pop(device_id, None)
    else:
        state.devices[device_id] = view


def _reclaim(state: State) -> None:
    """Who is senior may have changed: look again at whatever more than one author claims."""
    for device_id in state.claims.shared:
        _show(state, device_id)
    for job_id, timeline in state.timelines.items():
        if timeline.view is not None and len(timeline.claimants()) > 1:
            _replay(state, job_id, timeline)


def _title(state: State, job_id: str) -> Callable[[str], tuple[object, ...]]:
    """Orders those who submitted a job of one id: the smallest is its home."""
    return lambda author: (*title(author, job_id), state.members.seniority(author), author)


def _job(state: State, event: Event) -> None:
    job_id = decode(JobFact, event.payload).job_id
    old = state.retired.home(job_id) if job_id not in state.timelines else None
    if old is not None:
        _echo(state, event, job_id, old)
        return
    home = state.contested.get(job_id)
    if event.event_type == "job_submitted" and home is not None:
        rank = _title(state, job_id)
        if rank(event.author) > rank(home):
            return
    timeline = state.timelines.setdefault(job_id, Timeline())
    before = _end(timeline)
    admin = event.event_type == "job_adopted" and state.members.role_of(event) == ADMIN
    timeline.take(step_of(event, admin=admin), _title(state, job_id))
    _settle(state, job_id, timeline, before)


def _echo(state: State, event: Event, job_id: str, home: str) -> None:
    """An event about a job of which only the bill is left: its home's may still change it.

    So may what its owner said before, and whoever may send it somewhere once more.
    """
    ms, counter, _, seq, _ = order_key(event)
    kept, rank = state.retired.homes[home], _title(state, job_id)
    if event.event_type == "job_submitted" and rank(event.author) < rank(home):
        state.contested[job_id] = event.author
        state.stale = True
    elif event.author == home or event.author in kept.others:
        sends = event.author == home and event.event_type == "job_dispatched"
        ends = event.author != home and event.event_type in ENDS and job_id not in state.late
        _goes_on(state, job_id, sends or ends or (ms, counter, seq) < kept.until)
    elif event.event_type in ("job_dispatched", "job_adopted"):
        _goes_on(state, job_id, state.members.role_of(event) == ADMIN)


def _goes_on(state: State, job_id: str, it_does: bool) -> None:  # noqa: FBT001
    """What seemed a job's end was none, and others retired by it, or it did: fold all anew, and let
    it retire at the end. By clocks alone it would end in the middle again, time after time."""
    if it_does:
        state.stale = True
        if len(state.late) < MAX_LATE:
            state.late.add(job_id)


def _replay(state: State, job_id: str, timeline: Timeline) -> None:
    before = _end(timeline)
    timeline.replay(_title(state, job_id))
    _settle(state, job_id, timeline, before)


def _end(timeline: Timeline) -> tuple[str, Key] | None:
    """(home, end) of a job that has ended."""
    if timeline.view is None or timeline.ended is None:
        return None
    return timeline.view.origin, timeline.ended


def _settle(state: State, job_id: str, timeline: Timeline, before: tuple[str, Key] | None) -> None:
    """Bring the job's view, and its place among the ended ones, up to its timeline."""
    if timeline.view is not None:
        state.jobs[job_id] = timeline.view
    else:
        state.jobs.pop(job_id, None)
        if not timeline.steps:
            del state.timelines[job_id]
    after = _end(timeline)
    if after == before or (state.holding and job_id in state.late):
        return
    if before is not None:
        state.ended[before[0]].remove((before[1], job_id))
        # A job that ended earlier than it seemed may have pushed out one that should have stayed.
        _goes_on(state, job_id, bool(state.retired))
    if after is not None:
        insort(state.ended.setdefault(after[0], []), (after[1], job_id))
    _retire_rest(state)


def _retire_rest(state: State) -> None:
    while sum(map(len, state.ended.values())) > state.keep_ended:
        _retire_one(state)


def _retire_one(state: State) -> None:
    """Let the oldest job go of the home that has most: one with a wrong clock displaces its own."""
    home = max(state.ended, key=lambda one: (len(state.ended[one]), one))
    key, job_id = state.ended[home].pop(0)
    job = state.jobs.pop(job_id)
    speakers = {step.author for step in state.timelines.pop(job_id).steps.values()}
    speakers |= {one.owner for one in job.attempts}  # who may have said something earlier
    at = (key[0], key[1], key[3])
    state.retired.add(job_id, job.status, home, at, speakers - {home})
    for one in job_bills(job):
        group = (one.ended_ms // DAY_MS, one.device_id, one.model, one.ended_by)
        state.totals[group] = state.totals.get(group, Totals()) + one
