"""What is to be removed on hosts, since a person forgot the job: kept until each host was reached.

A file each in HOME/ssh.forgotten, so that `fleet forget` may add while the daemon removes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from mesh.edge.disk import explained
from providers.durable import read_json, write_json

FOLDER: Final = "ssh.forgotten"
NOTE: Final = "host.json"  # in an attempt's folder here: on which host it was begun


@final
@dataclass(frozen=True, slots=True)
class Forgotten:
    """One attempt's folder on a host, and the file that says it is to go."""

    file: Path
    host: str
    job_id: str
    attempt: int


def note_forgotten(home: Path, job_folder: Path) -> list[str]:
    """Have removed what a job left on hosts, by the notes in its folder here; the hosts' names."""
    found = set[str]()
    for note in sorted(job_folder.glob(f"*/{NOTE}")):
        host, number = (read_json(note) or {}).get("host"), note.parent.name
        if not (isinstance(host, str) and host and number.isdecimal()):
            continue
        row: dict[str, object] = {"host": host, "job_id": job_folder.name, "attempt": int(number)}
        name = hashlib.blake2b(repr(row).encode(), digest_size=16).hexdigest()
        with explained("cannot note what is to be removed on hosts"):
            (home / FOLDER).mkdir(mode=0o700, exist_ok=True)
            write_json(home / FOLDER / f"{name}.json", row)
        found.add(host)
    return sorted(found)


def forgotten_on(home: Path, host: str) -> list[Forgotten]:
    """What is still to be removed on a host."""
    found = list[Forgotten]()
    for file in sorted((home / FOLDER).glob("*.json")):
        row = read_json(file) or {}
        job_id, attempt = row.get("job_id"), row.get("attempt")
        if row.get("host") == host and isinstance(job_id, str) and isinstance(attempt, int):
            found.append(Forgotten(file, host, job_id, attempt))
    return found
