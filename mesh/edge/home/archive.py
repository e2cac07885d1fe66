"""The file a backup is: a plain tar, private, whose first member says what follows, with hashes.

Any tar program lists and unpacks it. Nothing of it is believed before its hash was compared.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, final

import msgspec

from mesh.edge.disk import StoreError, parse_json
from mesh.edge.identity import FLEET_FILE, KEY_FILE
from mesh.edge.store.schema import DATABASE

MANIFEST: Final = "backup.json"
FORMAT: Final = 1
# What it lists is a dozen names; the rest of the room is for programs to come.
MAX_MANIFEST: Final = 64 * 1024
# Settings and lists of peers and hosts: the largest, of hosts, is read up to 4 MiB.
MAX_SMALL: Final = 8 * 1024 * 1024
CHUNK: Final = 1024 * 1024
# The state that cannot be made anew. What is left out follows from it, is of this moment (the
# token, invitations), or is files of jobs.
SMALL: Final = (
    FLEET_FILE,
    "fleet.toml",
    "high-water.json",
    "members.json",
    "addresses.json",
    "ssh.json",
)
NAMES: Final = frozenset({DATABASE, KEY_FILE, *SMALL})
# What reading bytes that are not ours, or not any more, ends in.
DAMAGE: Final = (
    tarfile.TarError,
    EOFError,
    ValueError,
    msgspec.MsgspecError,
    zlib.error,
    gzip.BadGzipFile,
)
OTHER: Final = "take another backup; nothing was changed here"


@final
class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its bytes and their SHA-256 in hex."""

    size: int
    sha256: str


@final
class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """backup.json. `author` is the public key of the peer it was made on."""

    format: int
    made_ms: int
    author: str
    events: int
    files: dict[str, Entry]

    @property
    def has_key(self) -> bool:
        """Whether the secret key is in it."""
        return KEY_FILE in self.files


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An archive that was unpacked: its manifest, and the folder where its files are."""

    manifest: Manifest
    folder: Path


@contextmanager
def scratch(home: Path, prefix: str) -> Iterator[Path]:
    """A folder for as long as it is needed; within the home: what is put in place is renamed."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pack(out: IO[bytes], manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Write the archive; `out` need not seek."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        said = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        tar.addfile(_member(MANIFEST, len(said), manifest.made_ms), io.BytesIO(said))
        for name, path in files.items():
            with path.open("rb") as file:
                size = manifest.files[name].size
                tar.addfile(_member(name, size, manifest.made_ms), file)


def entry_of(path: Path) -> Entry:
    """What the manifest says of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Entry(size=size, sha256=digest.hexdigest())


def unpack(source: Path, folder: Path) -> Found:
    """Bring the files of an archive into an empty folder; StoreError for any that is not whole."""
    if not source.is_file():
        what = "it is a folder" if source.is_dir() else "there is no such file"
        raise StoreError(f"cannot restore {source}: {what}", "name a file that fleet backup wrote")
    try:
        with tarfile.open(source, "r:gz" if _is_gzip(source) else "r:") as tar:
            manifest = _manifest(tar, source)
            for name, entry in manifest.files.items():
                _take(tar, name, entry, folder / name)
    except DAMAGE as error:
        raise StoreError(f"{source} is no backup, or damaged: {error}", OTHER) from error
    return Found(manifest=manifest, folder=folder)


def _is_gzip(source: Path) -> bool:
    """People put a backup to a pipe through gzip."""
    with source.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _member(name: str, size: int, made_ms: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, made_ms // 1000
    return info


def _manifest(tar: tarfile.TarFile, source: Path) -> Manifest:
    raw = _read(tar, MANIFEST, MAX_MANIFEST)
    said = parse_json(raw)
    version = said.get("format") if isinstance(said, dict) else None
    if isinstance(version, int) and version > FORMAT:
        text = f"{source} has backup format {version}, this program knows {FORMAT}"
        raise StoreError(text, "install a newer fleet-ledger")
    found = msgspec.convert(said, Manifest)
    unknown = sorted(found.files.keys() - NAMES)
    if unknown or DATABASE not in found.files or len(bytes.fromhex(found.author)) != 32:
        raise ValueError(f"it lists {unknown[0][:60]!r}" if unknown else "it lists no ledger")
    return found


def _next(tar: tarfile.TarFile, name: str, most: int) -> IO[bytes]:
    """The next member, which has to be this one: no links, no other names, no surprises."""
    info = tar.next()
    if info is None or info.name != name or not info.isreg() or info.size > most:
        raise ValueError(f"{name} is not where it should be")
    file = tar.extractfile(info)
    assert file is not None  # it is a regular file
    return file


def _read(tar: tarfile.TarFile, name: str, most: int) -> bytes:
    with _next(tar, name, most) as file:
        return file.read()


def _take(tar: tarfile.TarFile, name: str, entry: Entry, path: Path) -> None:
    """Copy one member, compared with its hash on the way."""
    if name != DATABASE and entry.size > MAX_SMALL:
        raise ValueError(f"{name} is larger than {MAX_SMALL} bytes")
    digest, size = hashlib.sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with _next(tar, name, entry.size) as file, os.fdopen(fd, "wb") as out:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise ValueError(f"{name} is not as it was written")
