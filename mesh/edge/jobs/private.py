"""What belongs to one job and stays on this machine: what was typed for it, and what it wrote.

HOME/jobs/JOB/request.json holds the body and its salt, failed.txt why it never started, ATTEMPT/
the runner's files and all output. Folders are 0700, files 0600. No event quotes any of it, so
removing the folder removes it for good, as far as the disk lets go of blocks.
"""

import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import msgspec

from mesh.api.bodies import SALT_BYTES, Body, Sealed, seal
from mesh.api.errors import RequestError
from mesh.edge.disk import explained, parse_json, sync_folder, write_private
from mesh.state.jobs import JobView

# Of a file's name, on the file systems there are; ours have 64 at most.
MAX_ID_BYTES: Final = 255
REQUEST_FILE: Final = "request.json"
FAILED_FILE: Final = "failed.txt"
MODEL_FILE: Final = "model.json"
JOBS: Final = "jobs"
FILES: Final = "files"  # what a command was given, by hash
# A failure's words are a sentence or two; engines quote whole files at times.
MAX_WORDS_CHARS: Final = 4000
# What a person knows a file by; any other one is the runner's.
KINDS: Final = {
    REQUEST_FILE: "request",
    MODEL_FILE: "request",
    "launch.json": "request",
    "log.txt": "log",
    "answer.txt": "answer",
}


class Gone(RequestError):
    """What was typed for a job is not on this machine any more, or not as it was signed."""

    def __init__(self, job_id: str, what: str) -> None:
        super().__init__("Gone", f"its request {what}", f"submit it anew; fleet job {job_id}", 410)


@final
class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """request.json: `salt` is hex."""

    body: Body
    salt: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was removed, by kind, and the paths that could not be."""

    files: int = 0
    size: int = 0
    kinds: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()


def folder_of(home: Path, job_id: str) -> Path:
    """The job's folder; RequestError for an id that names none, or one outside: others sign any."""
    size = len(job_id.encode("utf-8", "replace"))
    if job_id in ("", ".", "..") or "/" in job_id or "\0" in job_id or size > MAX_ID_BYTES:
        raise RequestError("NotFound", f"no job {job_id[:80]!r}", "fleet ps -a lists them", 404)
    return home / JOBS / job_id


def keep_request(home: Path, job_id: str, body: Body) -> Sealed:
    """Put the body on disk, durably and for this user alone; what its event will say of it."""
    salt = secrets.token_bytes(SALT_BYTES)
    keep_body(home, job_id, body, salt)
    return seal(body, salt)


def keep_body(home: Path, job_id: str, body: Body, salt: bytes) -> None:
    """As `keep_request`, with the salt it was sealed with: the peer that runs a job has it, too."""
    folder = folder_of(home, job_id)
    with explained("cannot keep what was asked"):
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, exist_ok=True)
            one.chmod(0o700)  # made by an earlier program, it followed the user's umask
            sync_folder(one.parent)
        text = msgspec.json.encode(Kept(body=body, salt=salt.hex())).decode()
        write_private(folder / REQUEST_FILE, text)


def keep_model(home: Path, job_id: str, identity: dict[str, object]) -> None:
    """What the model of another peer's job is found by, beside its body."""
    with explained("cannot keep what was asked"):
        write_private(folder_of(home, job_id) / MODEL_FILE, msgspec.json.encode(identity).decode())


def model_of(home: Path, job_id: str) -> dict[str, object] | None:
    """As it was kept; None for a job whose model is a file of this machine."""
    try:
        found = parse_json((folder_of(home, job_id) / MODEL_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def drop_request(home: Path, job_id: str) -> None:
    """Take back the body of a job that no event names."""
    folder = folder_of(home, job_id)
    with suppress(OSError):
        for path in folder.glob(f"*{REQUEST_FILE}*"):  # with the drafts of a crash
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / FILES, ignore_errors=True)
        folder.rmdir()
        sync_folder(folder.parent)


def kept_request(home: Path, job: JobView) -> tuple[Body, str]:
    """As `request_of`, with the salt it is sealed with, in hex."""
    body = request_of(home, job)
    if not job.asked.body_hash:
        return body, bytes(SALT_BYTES).hex()
    path = folder_of(home, job.job_id) / REQUEST_FILE
    with suppress(OSError, msgspec.MsgspecError):
        return body, msgspec.json.decode(path.read_bytes(), type=Kept).salt
    raise Gone(job.job_id, "is gone from this machine")


def request_of(home: Path, job: JobView) -> Body:
    """What was typed for a job; Gone where it is not here, or not what its event sealed.

    Events of earlier programs hold it themselves.
    """
    asked = job.asked
    if not asked.body_hash:
        return Body(
            prompt=asked.prompt,
            model=asked.model or "",
            command=asked.command or (),
            cwd=asked.cwd or "",
        )
    try:
        kept = msgspec.json.decode(
            (folder_of(home, job.job_id) / REQUEST_FILE).read_bytes(), type=Kept
        )
        salt = bytes.fromhex(kept.salt)
    except OSError as error:
        raise Gone(job.job_id, "is gone from this machine") from error
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise Gone(job.job_id, "is damaged on this machine") from error
    if seal(kept.body, salt) != Sealed(body_hash=asked.body_hash, body_bytes=asked.body_bytes):
        raise Gone(job.job_id, "is not the one that was signed")
    return kept.body


def keep_words(home: Path, job_id: str, words: str) -> None:
    """Why a job failed, in full: its event says only of what kind that was. Best effort."""
    with suppress(OSError):
        folder = folder_of(home, job_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / FAILED_FILE, words[:MAX_WORDS_CHARS])


def words_of(home: Path, job_id: str) -> str:
    """What the job, or who tried to start it, said last; "" where nothing is here."""
    try:
        folder = folder_of(home, job_id)
    except RequestError:
        return ""
    for path in sorted(folder.glob("*/result.json"), reverse=True):
        with suppress(OSError, ValueError):
            said = parse_json(path.read_bytes())
            return str(said["text"]) if isinstance(said, dict) and "text" in said else ""
    with suppress(OSError):
        return (folder / FAILED_FILE).read_text(encoding="utf-8", errors="replace")
    return ""


def private_row(home: Path, job: JobView) -> dict[str, object]:
    """What only this machine knows of a job: `request` is None where it is not here."""
    words = words_of(home, job.job_id)
    found: dict[str, object] = {"request": None} | ({"text": words} if words else {})
    with suppress(RequestError):
        body = request_of(home, job)
        found |= {"request": msgspec.to_builtins(body), "command": list(body.command)}
    return found


def never_started(home: Path) -> list[str]:
    """The ids of jobs whose folder holds no attempt: at most a body, or half of one."""
    folders = [home / JOBS / job_id for job_id in kept_jobs(home)]
    return [one.name for one in folders if not any(_is_attempt(path) for path in one.iterdir())]


def _is_attempt(path: Path) -> bool:
    return path.is_dir() and path.name != FILES


def kept_jobs(home: Path) -> list[str]:
    """The ids of all jobs of which anything is on this machine."""
    try:
        found = os.scandir(home / JOBS)
        return sorted(one.name for one in found if one.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def erase(home: Path, job_id: str) -> Erased:
    """Remove everything of a job from this disk; what stays is named. Twice is once.

    Links are removed and not followed. The names are gone durably; flash keeps blocks.
    """
    folder = folder_of(home, job_id)
    if folder.is_symlink():  # nobody of ours makes one: what it points at is somebody's
        return Erased(stuck=(str(folder),))
    if not folder.is_dir():
        return Erased()
    sizes = {path: path.lstat().st_size for path in _below(folder) if not _is_folder(path)}
    stuck = tuple(str(path) for path in [*_below(folder), folder] if not _removed(path))
    with suppress(OSError):
        for one in (folder, folder.parent):
            if one.is_dir():
                sync_folder(one)
    gone = [path for path in sizes if str(path) not in stuck]
    kinds = {KINDS.get(path.name, "runner's files") for path in gone}
    return Erased(
        files=len(gone),
        size=sum(sizes[path] for path in gone),
        kinds=tuple(sorted(kinds)),
        stuck=stuck,
    )


def _below(folder: Path) -> list[Path]:
    """Everything in a folder, what is deepest first; links are not followed."""
    found = []
    for root, folders, files in os.walk(folder, topdown=False):
        found += [Path(root) / name for name in (*files, *folders)]
    return found


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _removed(path: Path) -> bool:
    """Whether it is gone now."""
    try:
        path.rmdir() if _is_folder(path) else path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
