"""Deliberately broken copies of what jobs wrote."""

from pathlib import Path
from unittest.mock import patch

from mesh.api.wire.claims import Part
from mesh.edge.dispatch import mirror
from mesh.edge.dispatch.remote import RemoteOwner
from mesh.edge.transport.call import Unanswered
from tests.simulation.dispatch.breaking import Broken, together


def appends_twice_after_a_lost_answer() -> Broken:
    """After an answer that did not come, the last part is asked for and put there once more."""
    last: dict[str, int] = {}  # bytes of the last part of a file, by its job, attempt and name
    lost: set[str] = set()
    output, size_of = RemoteOwner.output, mirror._size

    async def asked(
        self: RemoteOwner, home: str, job_id: str, attempt: int, name: str, at: int, wait_s: float
    ) -> Part:
        key = f"{job_id}/{attempt}/{name}"
        try:
            said = await output(self, home, job_id, attempt, name, at, wait_s)
        except Unanswered as error:
            if error.sent:
                lost.add(key)
            raise
        lost.discard(key)
        last[key] = len(said.data) * 3 // 4
        return said

    def size(path: Path) -> int:
        key = "/".join(path.parts[-3:])
        again = last.get(key, 0) if key in lost else 0
        return max(0, size_of(path) - again)

    return together(patch.object(RemoteOwner, "output", asked), patch.object(mirror, "_size", size))


def begins_anew_after_a_restart() -> Broken:
    """Where a process does not know how far it came, it asks from the first byte on."""
    known: set[tuple[int, Path]] = set()
    bring, size_of, now = mirror.Mirror._bring, mirror._size, [0]

    async def brings(self: mirror.Mirror, job_id: str, one: object) -> bool:
        now[0] = id(self)
        return await bring(self, job_id, one)  # type: ignore[arg-type]

    def size(path: Path) -> int:
        first = (now[0], path) not in known
        known.add((now[0], path))
        return 0 if first else size_of(path)

    return together(
        patch.object(mirror.Mirror, "_bring", brings), patch.object(mirror, "_size", size)
    )


def marks_before_the_disk() -> Broken:
    """All is said to be here while the last of it may still be lost with the power."""
    return patch.object(mirror, "_mark", lambda folder: (folder / mirror.DONE_FILE).touch())


OF_OUTPUTS = (
    appends_twice_after_a_lost_answer,
    begins_anew_after_a_restart,
    marks_before_the_disk,
)
