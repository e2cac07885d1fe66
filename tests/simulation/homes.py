"""What a peer keeps beside its key and its database, backups of all that, and what it was told."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mesh.edge.identity import Fleet
from mesh.sync.manifest import Tip
from tests.simulation.disk import Disk


@dataclass(frozen=True)
class Backup:
    """A copy of a home at one moment."""

    image: bytes
    files: tuple[tuple[str, bytes], ...]
    fleet: Fleet | None
    anchors: frozenset[str]


@dataclass
class Home:
    """Files: who may link is kept in `anchors`, what the peer belongs to in `fleet`."""

    folder: Path
    fleet: Fleet | None = None
    anchors: frozenset[str] = frozenset()

    def back_up(self, disk: Disk) -> Backup:
        """Copy all of it as it is on disk."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        kept = tuple((path.name, path.read_bytes()) for path in files)
        return Backup(disk.durable, kept, self.fleet, self.anchors)

    def restore(self, backup: Backup, disk: Disk, *, whole: bool) -> None:
        """Put an old database back, or all of it."""
        disk.durable = disk.previous = backup.image
        if whole:
            self.fleet, self.anchors = backup.fleet, backup.anchors
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            for name, data in backup.files:
                (self.folder / name).write_bytes(data)


@dataclass
class Told:
    """What this peer's person was told is safe, and what its neighbours told it."""

    acked: dict[str, int] = field(default_factory=dict)  # events, and their numbers
    spared: dict[str, set[int]] = field(default_factory=dict)  # who else had what a lost disk held
    arrived: set[Tip] = field(default_factory=set)  # own tips in honest hellos, this life
    heard: dict[Tip, float] = field(default_factory=dict)  # of those that the program took, when
