"""Forgetting a job: what was typed for it and what it wrote is erased; what cannot be, is said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from mesh.api.errors import RequestError
from mesh.api.rows import peer_name
from mesh.edge.jobs.private import REQUEST_FILE, erase, folder_of
from mesh.edge.ssh.forgotten import note_forgotten
from mesh.ledger.event import Event
from mesh.state.facts.fact import decode
from mesh.state.facts.job import JobSubmitted
from mesh.state.jobs import JobView
from mesh.state.state import State

# The first programs' events are the oldest, so those at the start tell; a second of work.
MAX_EVENTS_READ: Final = 20_000


def forget(
    home: Path, author: str, state: State, job_id: str, every_job: Callable[[], State]
) -> dict[str, object]:
    """Erase an ended job of this home; `kept` says what could not be. Twice is once.

    `hosts` are those of SSH where it left anything: it is removed there when they are reached next.
    `every_job` folds the whole ledger: asked only where an old job's event may hold what was typed.
    RequestError for a job that is not known, not this home's, or has not ended.
    """
    if job_id in state.retired and not (folder_of(home, job_id) / REQUEST_FILE).exists():
        state = every_job()
    job = state.jobs.get(job_id)
    if job is not None:
        _may_forget(state, author, job)
    elif job_id not in state.retired:
        raise RequestError("NotFound", f"no job {job_id[:80]!r}", "fleet ps -a lists them", 404)
    hosts = note_forgotten(home, folder_of(home, job_id))
    erased = erase(home, job_id)
    return {
        "job_id": job_id,
        "files": erased.files,
        "bytes": erased.size,
        "erased": list(erased.kinds),
        "hosts": hosts,
        "kept": [*(f"{path} cannot be removed" for path in erased.stuck), *_signed(job)],
    }


def _may_forget(state: State, author: str, job: JobView) -> None:
    if job.home != author:
        peer = peer_name(state, job.home)
        raise RequestError(
            "NotHere",
            f"job {job.job_id} belongs to peer {peer}: what it asked and wrote is there alone",
            f"on {peer}: fleet forget {job.job_id}",
            409,
        )
    if not job.ended:
        raise RequestError(
            "NotEnded",
            f"job {job.job_id} is {job.status}",
            f"fleet cancel {job.job_id}, then forget it",
            409,
        )


def _signed(job: JobView | None) -> list[str]:
    """What the ledger holds of a job that an earlier program signed; nothing can erase it."""
    what = [] if job is None else typed(job.asked)
    if job is not None and not job.asked.body_hash and job.text:
        what.append("last words")
    if not what:
        return []
    return [f"the signed ledger holds its {', '.join(what)} on every peer, and no event is erased"]


def typed(asked: JobSubmitted) -> list[str]:
    """What of a job's event a person typed: nothing in those written since 0.2.0."""
    found = {
        "prompt": asked.prompt,
        "command": asked.command,
        "folder": asked.cwd,
        "model's path": _is_path(asked.model or ""),
    }
    return [name for name, value in found.items() if value]


def _is_path(model: str) -> bool:
    """Whether a reference says where a file is: earlier programs signed whole paths and URLs."""
    return model.startswith("/") or "\\" in model or "://" in model


def typed_in_ledger(events: Iterable[tuple[int, Event]], most: int = MAX_EVENTS_READ) -> int:
    """How many of the first `most` events hold a prompt, a command, a folder or a path.

    `events` as a ledger's reader gives them: `typed_in_ledger(reader.events())`.
    """
    count = 0
    for read, (_, event) in enumerate(events):
        if read == most:
            break
        if event.event_type == "job_submitted":
            count += bool(typed(decode(JobSubmitted, event.payload)))
    return count


def told(found: Mapping[str, object]) -> str:
    """What was erased, in a line for people."""
    kinds = found["erased"]
    assert isinstance(kinds, list)
    if not kinds:
        return f"nothing of {found['job_id']} is left on this machine"
    files = f"{found['files']} file{'' if found['files'] == 1 else 's'}"
    hosts = found.get("hosts")
    names = ", ".join(hosts) if isinstance(hosts, list) else ""
    there = f"; on {names} within a minute of being reached" if names else ""
    return f"forgot {found['job_id']}: {', '.join(kinds)} ({files}){there}"
