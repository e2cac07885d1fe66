"""The files a command is given and gives back: named by path, known by hash. Pure."""

from __future__ import annotations

from typing import Annotated, Final, final

import msgspec

from mesh.api.errors import RequestError

# The list of them travels in the job's body: 4,000 take some 600 KB of the 4 MiB a claim holds.
MAX_FILES: Final = 4_000
# Copied on two disks and over one link before a command starts: what is more belongs where it runs.
MAX_FILES_BYTES: Final = 512 << 20
MAX_PATH_CHARS: Final = 1024
MAX_LISTED: Final = 1_000  # files of one attempt that are named: what a person scrolls through
HASH_BYTES: Final = 32  # blake2b
PART_BYTES: Final = 1 << 20

Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


@final
class WorkFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file: where it stands below the folder, and what is in it."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]
    hash: Hash
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_FILES_BYTES)]
    executable: bool = False


@final
class FilePart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some of a file from an offset on, base64; `hash` is of the whole."""

    data: Annotated[str, msgspec.Meta(max_length=PART_BYTES * 4 // 3 + 4)]
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
    hash: Hash


@final
class Left(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a command left: its path below the job's folder."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PATH_CHARS)]
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]


@final
class LeftFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a job left. `more`: there are files that are not named; `kept`: whether its folder is
    still where it ran."""

    files: Annotated[list[Left], msgspec.Meta(max_length=MAX_LISTED)]
    more: bool
    kept: bool


def safe_path(text: str) -> str:
    """A path below a folder; RequestError for one that leaves it, or names the folder itself."""
    parts = [one for one in text.split("/") if one not in ("", ".")]
    bad = not parts or "\0" in text or len(text) > MAX_PATH_CHARS
    if bad or text.startswith("/") or ".." in parts:
        raise RequestError("BadPath", f"{text[:80]!r} is no path below the job's folder")
    return "/".join(parts)


def check_files(files: tuple[WorkFile, ...]) -> None:
    """RequestError unless another peer's list can be laid out: it may say anything."""
    if len(files) > MAX_FILES:
        raise RequestError("TooMany", f"{len(files)} files: at most {MAX_FILES}")
    total = sum(one.size for one in files)
    if total > MAX_FILES_BYTES:
        raise RequestError("TooMany", f"{total} bytes of files: at most {MAX_FILES_BYTES}")
    names = [safe_path(one.path) for one in files]
    if len(set(names)) < len(names):
        raise RequestError("BadPath", "two files have one path")
