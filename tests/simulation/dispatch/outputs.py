"""What jobs wrote, as their homes have it: real files of each machine, in a folder of the schedule.

A daemon that dies while it appends leaves some of the part; a power cut takes what was written
since the last flush, and no mark that was made. Whatever is there must be a prefix of what the
program wrote; once the job has ended and nothing is in the way any more, all of it.
"""

import base64
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mesh.api.wire.claims import Part
from mesh.edge.dispatch import mirror
from mesh.edge.jobs.private import folder_of
from mesh.state.jobs import JobView
from tests.simulation.dispatch.machine import Machine, Program, written_by

if TYPE_CHECKING:
    from tests.simulation.dispatch.daemon import Daemon
    from tests.simulation.dispatch.world import World


class Outputs:
    """The homes' copies."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng = world, world.rng
        self.folder = Path()
        self.flushed: dict[Path, int] = {}  # bytes of a file that a power cut does not take
        self.copies: set[Path] = set()

    def home(self, machine: Machine) -> Path:
        """Where a machine's daemon keeps its files."""
        return self.folder / str(machine.number)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def patches(self) -> list[tuple[Any, str, Any]]:
        """What the mirror does to a disk, with the faults of these disks."""
        self.folder = Path(tempfile.mkdtemp(prefix="outputs-"))
        append, flush, mark = mirror._append, mirror._flush, mirror._mark

        def appended(path: Path, size: int, said: Part) -> bool:
            daemon = self._begin(path, "append output")
            self.copies.add(path)
            boots = daemon.machine.boots
            try:
                daemon.step("append output")
            except BaseException:
                if boots == daemon.machine.boots:  # else the power went before any of it
                    append(path, size, self._some_of(said))
                raise
            return append(path, size, said)

        def flushed(path: Path) -> None:
            flush(path)
            if path.exists():
                self.flushed[path] = path.stat().st_size

        def marked(folder: Path) -> None:
            self._begin(folder / "", "mark output").step("mark output")
            mark(folder)

        return [
            (mirror, "_append", appended),
            (mirror, "_flush", flushed),
            (mirror, "_mark", marked),
        ]

    def _begin(self, path: Path, what: str) -> "Daemon":
        """Whose disk it is; StoreError where it is full."""
        from tests.simulation.dispatch.daemon import Dead

        number = int(path.relative_to(self.folder).parts[0])
        self.world.machines[number - 1].write(what)
        daemon = self.world.daemons.get(number)
        if daemon is None:
            raise Dead
        return daemon

    def _some_of(self, said: Part) -> Part:
        data = base64.b64decode(said.data)
        some = data[: self.rng.randrange(len(data) + 1)]
        return msgspec.structs.replace(said, data=base64.b64encode(some).decode())

    def lose(self, machine: Machine) -> None:
        """The power goes: of what was not flushed some is lost."""
        for path in sorted(self.copies):
            if self.home(machine) in path.parents and path.exists():
                size, kept = path.stat().st_size, self.flushed.get(path, 0)
                left = self.rng.randint(kept, size) if kept < size else size
                with path.open("rb+") as file:
                    file.truncate(left)

    # Judged

    def look(self) -> None:
        """Every copy is a prefix of what its program wrote."""
        for path in sorted(self.copies):
            programs, now = self._programs(path), self.world.loop.time()
            if not programs or not path.exists():
                continue
            data = path.read_bytes()
            if not any(written_by(one, path.name, now).startswith(data) for one in programs):
                self.world.fail(f"{path.relative_to(self.folder)} is not what the program wrote")

    def _programs(self, path: Path) -> list[Program]:
        """Those of an attempt: of several owners, where its home did not count for a while."""
        key = path.parent.parent.name, int(path.parent.name)
        return [one for one in self.world.judge.runs[key[0]] if one.key == key]

    def missing(self) -> list[str]:
        """Copies that are not whole, of the attempts that count; of retired jobs nobody asks."""
        return [
            f"{job.job_id}.{job.attempt} {name} is not all at {machine.number}"
            for machine in self.world.machines
            if (daemon := self.world.daemons.get(machine.number)) is not None
            for job in daemon.state.jobs.values()
            if job.home == machine.author and job.owner not in ("", machine.author)
            for name in mirror.FILES
            if not self._is_whole(machine, job, name)
        ]

    def _is_whole(self, machine: Machine, job: JobView, name: str) -> bool:
        path = folder_of(self.home(machine), job.job_id) / str(job.attempt) / name
        machines = self.world.machines
        found = [
            one for one in self._programs(path) if machines[one.number - 1].author == job.owner
        ]
        program = next(iter(found), None)
        if program is None or not job.started_ms:
            return True
        size = path.stat().st_size if path.exists() else 0
        return size == len(written_by(program, name, self.world.loop.time()))
