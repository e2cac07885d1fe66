"""A command's folder: packed at its home by hash, laid out for each attempt, read afterwards.

HOME/jobs/JOB/files/HASH holds each content once; HOME/jobs/JOB/ATTEMPT/work is where the command
runs, and what it leaves there is what it gives back.
"""

import base64
import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.api.wire.workfiles import (
    HASH_BYTES,
    MAX_FILES,
    MAX_FILES_BYTES,
    PART_BYTES,
    FilePart,
    WorkFile,
    check_files,
    safe_path,
)
from mesh.edge.disk import explained
from mesh.edge.jobs.private import FILES, Gone, folder_of
from providers.attempts import WORK, Given

GIT_S: Final = 300.0  # a clone of the newest state alone; what takes longer is no job's folder
CHUNK: Final = 1 << 20
MAX_DIGESTS: Final = 256  # files whose parts are asked for at once, by all who ask
FRESH_NS: Final = 2_000_000_000  # a disk's times are as coarse as 2 s
_digests: Final[dict[tuple[int, int, int, int], str]] = {}
# A repository's own settings may name programs: none of ours runs them.
GIT: Final = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def pack(home: Path, job_id: str, source: str) -> tuple[WorkFile, ...]:
    """Keep the files of a folder, or of a repository's newest state, beside the job."""
    store = folder_of(home, job_id) / FILES
    with explained("cannot keep the job's files"), _folder(source) as root:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _pack(root, store)


def _pack(root: Path, store: Path) -> tuple[WorkFile, ...]:
    found, total = list[WorkFile](), 0
    for path in listed(root):
        size = (root / path).stat().st_size
        total += size
        if len(found) == MAX_FILES or total > MAX_FILES_BYTES:
            what = f"more than {MAX_FILES} files or {MAX_FILES_BYTES >> 20} MiB"
            raise RequestError("TooMany", f"{root} holds {what}", "name a smaller folder")
        found.append(_kept(root, path, store))
    return tuple(found)


def _kept(root: Path, path: str, store: Path) -> WorkFile:
    """Copied under its hash: what changes while it is read is what was read."""
    made, size = hashlib.blake2b(digest_size=HASH_BYTES), 0
    with (
        (root / path).open("rb") as file,
        tempfile.NamedTemporaryFile(dir=store, delete=False) as out,
    ):
        while chunk := file.read(CHUNK):
            made.update(chunk)
            out.write(chunk)
            size += len(chunk)
        executable = bool(os.fstat(file.fileno()).st_mode & 0o100)
    Path(out.name).replace(store / made.hexdigest())
    return WorkFile(path=path, hash=made.hexdigest(), size=size, executable=executable)


def listed(root: Path) -> list[str]:
    """Paths of the files below a folder, sorted: those git would track, where it is a repository.

    A link to a file inside counts as that file; one that leaves the folder is refused by name.
    """
    inside = root.resolve()
    found = []
    for path in _tracked(root) or _walked(root):
        full = root / path
        if full.is_symlink() and not full.resolve().is_relative_to(inside):
            raise RequestError("BadPath", f"{path[:80]} is a link that leaves {root}", "remove it")
        if full.is_file():
            found.append(path)
    return sorted(found)


def _tracked(root: Path) -> list[str]:
    """What git lists, ignored files left out; [] where the folder is in no repository."""
    words = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        done = subprocess.run(
            [*GIT, "-C", str(root), *words], capture_output=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode:
        return []
    return [os.fsdecode(one) for one in done.stdout.split(b"\0") if one]


def _walked(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if name != ".git"]
        yield from (str((Path(folder) / name).relative_to(root)) for name in files)


@contextmanager
def _folder(source: str) -> Iterator[Path]:
    """The folder itself, or a clone that is gone afterwards."""
    if not is_git(source):
        if not Path(source).is_dir():
            raise RequestError("BadPath", f"no folder {source}", "check --workdir")
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as made:
        words = ["clone", "--quiet", "--depth", "1", "--", source, f"{made}/clone"]
        env = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(
                [*GIT, *words], capture_output=True, timeout=GIT_S, env=env, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RequestError("BadPath", f"git can't clone {source}: {error}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise RequestError("BadPath", f"git can't clone {source}: {said[-1] if said else ''}")
        yield Path(made) / "clone"


def is_git(source: str) -> bool:
    """Whether it names a repository elsewhere, and no folder here."""
    return "://" in source or (source.endswith(".git") and not Path(source).is_dir())


def missing(home: Path, job_id: str, body: Body) -> list[WorkFile]:
    """The files whose content is not here."""
    check_files(body.files)
    store = folder_of(home, job_id) / FILES
    return [one for one in body.files if not (store / one.hash).exists()]


def work_of(home: Path, job_id: str, attempt: int) -> Path:
    """Where an attempt's files lie."""
    return folder_of(home, job_id) / str(attempt) / WORK


def given(home: Path, job_id: str, body: Body) -> list[Given]:
    """The job's files as whoever runs it lays them out; Gone where one is not here."""
    if missing(home, job_id, body):
        raise Gone(job_id, "holds files that are not on this machine")
    store = folder_of(home, job_id) / FILES
    return [
        Given(
            path=safe_path(one.path),
            source=store / one.hash,
            hash=one.hash,
            size=one.size,
            executable=one.executable,
        )
        for one in body.files
    ]


def blob_part(home: Path, job_id: str, digest: str, offset: int) -> FilePart:
    """Some of a file that was packed."""
    if len(digest) != 2 * HASH_BYTES or set(digest) - set("0123456789abcdef"):
        raise RequestError("NotFound", "no such file", "", 404)
    return _part(folder_of(home, job_id) / FILES / digest, offset, digest)


def left_part(home: Path, job_id: str, attempt: int, path: str, offset: int) -> FilePart:
    """Some of a file that an attempt left; a link that leaves its folder names none."""
    work = work_of(home, job_id, attempt)
    full = (work / safe_path(path)).resolve()
    if not full.is_relative_to(work.resolve()):
        raise RequestError("NotFound", f"{path[:80]} is not in the job's folder", "", 404)
    return _part(full, offset)


def _part(path: Path, offset: int, known: str = "") -> FilePart:
    try:
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            whole = known or _digest(file)
            file.seek(min(offset, size))
            data = file.read(PART_BYTES)
    except OSError as error:
        text = f"no file {path.name[:80]} in the job's folder"
        raise RequestError("NotFound", text, "", 404) from error
    return FilePart(data=base64.b64encode(data).decode(), size=size, hash=whole)


def _digest(file: BufferedReader) -> str:
    """The whole file's, read once for all of its parts. One that was written a moment ago is read
    again: what it is written next may bear the same time."""
    about = os.fstat(file.fileno())
    name = about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns
    found = _digests.get(name)
    if found is None:
        found = hashlib.file_digest(file, _blake).hexdigest()
        if abs(time.time_ns() - about.st_mtime_ns) > FRESH_NS:
            _digests[name] = found
        if len(_digests) > MAX_DIGESTS:
            _digests.pop(next(iter(_digests)), None)
    return found


def _blake() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=HASH_BYTES)
