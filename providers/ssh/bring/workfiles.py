"""A command's files: brought to a host by hash and laid out there; what it left, brought back.

Contents lie once each in our folder's files/ there, under their hashes, so what an earlier job
brought is not sent again; what no job asked for in a week is removed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from providers.attempts import Given, LeftFile
from providers.base import NoSpace, ProviderError
from providers.durable import private_file
from providers.ssh.bring.files import (
    NO_SPACE,
    ONE_LINE,
    PRELUDE,
    PUT_LIMIT_S,
    Runs,
    content_script,
)
from providers.ssh.framing import Answer
from providers.ssh.limits import MAX_READ_BYTES, PIECE_BYTES

KEEP_DAYS: Final = 7
# 4,000 files, each one or two programs of a slow host.
LAY_LIMIT_S: Final = 120.0
LIST_LIMIT_S: Final = 20.0  # somebody looks at a page that waits for it
SUM_LIMIT_S: Final = 120.0  # of an output of up to MAX_LEFT_BYTES
# Of one output: this machine's disk is not filled by what a host says a job left.
MAX_LEFT_BYTES: Final = 8 << 30
ABSENT: Final = 4
LIST_BYTES: Final = 1 << 20  # of one list: 1,000 names are some 100 kB
KEPT: Final = f"""mkdir -p "$R/files" && cd "$R/files" || exit {NO_SPACE}
find . -type f -mtime +{KEEP_DAYS} -exec rm -f {{}} + 2>/dev/null
find . -type d -name ".in.*" -mtime +{KEEP_DAYS} -exec rmdir {{}} + 2>/dev/null
"""
LAY: Final = """l() {
  case $2 in */*) [ -d "./${2%/*}" ] || mkdir -p "./${2%/*}" || return 1 ;; esac
  cp "$R/files/$1" "./$2" && chmod "$3" "./$2"
}
"""
# Goes to where a job left a file, by its folder's real name: a link leads nowhere.
INSIDE: Final = """cd "$R/jobs/$A/work" 2>/dev/null || exit 4
top=$(pwd -P)
cd "./$F" 2>/dev/null || exit 4
case $(pwd -P)/ in "$top"/*) ;; *) exit 4 ;; esac
[ -f "./$N" ] && [ ! -L "./$N" ] || exit 4
"""

LIST: Final = f"""cd "$R/jobs/$A" 2>/dev/null || exit {ABSENT}
cd work 2>/dev/null || exit 0
{{
  find . -type f -exec ls -ln {{}} + | head -n "$MOST" | head -c {LIST_BYTES}
}} 2>/dev/null
exit 0
"""


async def lay_out(reach: Runs, name: str, given: Sequence[Given]) -> None:
    """Put a job's files into an attempt's folder; NoSpace, Unreached."""
    missing = await _missing(reach, given)
    if missing:
        await _send(reach, missing)
    calls = [
        f"l {one.hash} {shlex.quote(one.path)} {'700' if one.executable else '600'} || exit 73"
        for one in given
    ]
    text = f'mkdir -p "$R/jobs/{name}/work" && cd "$R/jobs/{name}/work" || exit {NO_SPACE}\n{LAY}'
    answer = await reach.run(content_script(text + "\n".join(calls)), LAY_LIMIT_S)
    _explain(answer)


async def _missing(reach: Runs, given: Sequence[Given]) -> list[Given]:
    """Those whose content the host has not, one of each; what it has is as good as new."""
    names = sorted({one.hash for one in given})
    listed = " ".join(names)
    text = f'{KEPT}set -- {listed}\nls -ln -- "$@" 2>/dev/null\ntouch -c -- "$@"; exit 0'
    answer = await reach.run(content_script(text), LAY_LIMIT_S)
    _explain(answer)
    rows = [line.split() for line in answer.body.decode(errors="replace").splitlines()]
    there = {(row[-1], row[4]) for row in rows if len(row) >= 9}
    lacking = {one.hash: one for one in given if (one.hash, str(one.size)) not in there}
    return list(lacking.values())


async def _send(reach: Runs, given: Sequence[Given]) -> None:
    """Contents under their hashes: each has its name once all of them are there."""
    script = (
        f'{ONE_LINE}; mkdir -p "$R/files/.in.$$" && cd "$R/files/.in.$$" || exit {NO_SPACE}; '
        f"tar -xf - 2>/dev/null && touch ./* && mv ./* .. && cd .. && rmdir .in.$$ && exit 0; "
        f'rm -rf "$R/files/.in.$$"; exit {NO_SPACE}'
    )
    _explain(await reach.feed(script, _packed(given), PUT_LIMIT_S))


def _packed(given: Sequence[Given]) -> Iterator[bytes]:
    """A tar of files named by their hashes, piece by piece; blocking."""
    for one in given:
        head = tarfile.TarInfo(one.hash)
        head.size, head.mode = one.size, 0o600
        yield head.tobuf()
        left = one.size
        with one.source.open("rb", buffering=0) as file:
            while left and (data := file.read(min(PIECE_BYTES, left))):
                left -= len(data)
                yield data
        if padding := left + -one.size % tarfile.BLOCKSIZE:  # an empty piece would be the end
            yield bytes(padding)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _explain(answer: Answer) -> None:
    if answer.status:
        raise NoSpace("the host has no room for the job's files", "free some space there")


async def bring_back(reach: Runs, name: str, path: str, into: Path) -> bool:
    """Bring a file that an attempt left there to a path here, by size and hash; False for none.

    A file that changes meanwhile, as a running job's may, is a ProviderError.
    """
    folder, _, file = path.rpartition("/")
    where = f"A={name} F={shlex.quote(folder)} N={shlex.quote(file)}\n{INSIDE}"
    asked = content_script(f'{where}size_of "./$N"; sum <"./$N"')
    answer = await reach.run(asked, SUM_LIMIT_S)
    if answer.status == ABSENT:
        return False
    words = answer.body.decode(errors="replace").split()
    if answer.status or len(words) != 2 or not words[0].isdigit():
        raise ProviderError(f"{path[:80]} cannot be read there", "look at the host by hand")
    size = int(words[0])
    if size > MAX_LEFT_BYTES:
        raise ProviderError(f"{path[:80]} is over {MAX_LEFT_BYTES >> 30} GiB", "copy it by hand")
    if await asyncio.to_thread(_is_here, into, size, words[1]):
        return True
    draft = into.with_name(f".{into.name[:200]}.part")
    into.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if await _fetched(reach, where, size, draft) != words[1]:
            raise ProviderError(f"{path[:80]} changed while it was read", "try again")
        draft.replace(into)
    finally:
        draft.unlink(missing_ok=True)
    return True


async def list_left(reach: Runs, name: str, most: int) -> list[LeftFile] | None:
    """Up to `most` files in an attempt's folder there, by path; None where it is gone.

    A line break in a file's name cuts it off there: whoever wrote it misleads about their own.
    """
    answer = await reach.run(f"{PRELUDE}A={name} MOST={most}\n{LIST}", LIST_LIMIT_S)
    if answer.status == ABSENT:
        return None
    lines = answer.body.decode(errors="replace").split("\n")  # names may hold any other break
    found = [one for line in lines if (one := _listed(line)) is not None]
    return sorted(found, key=lambda one: one.path)


def _listed(line: str) -> LeftFile | None:
    """A line of `ls -ln`: mode, links, owner, group, size, three words of time, name."""
    words = line.split(None, 8)
    if len(words) < 9 or not words[0].startswith("-") or not words[4].isdecimal():
        return None
    if not words[8].startswith("./"):
        return None
    name = line[line.index("./") + 2 :]
    return LeftFile(path=name or "?", size_bytes=int(words[4]))


def _is_here(path: Path, size: int, wanted: str) -> bool:
    """Whether it came before, as when whoever asked did not wait for it."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wanted


async def _fetched(reach: Runs, where: str, size: int, draft: Path) -> str:
    """Read a file there into one here; its SHA-256."""
    made, at = hashlib.sha256(), 0
    with os.fdopen(private_file(draft, os.O_TRUNC), "wb") as out:
        while at < size:
            most = min(MAX_READ_BYTES, size - at)
            text = f'{where}tail -c +{at + 1} "./$N" | head -c {most}'
            answer = await reach.run(content_script(text), SUM_LIMIT_S)
            if answer.status or not answer.body:
                break
            data = answer.body[:most]
            made.update(data)
            out.write(data)
            at += len(data)
    return made.hexdigest()
