"""Files of ours on a host: put there whole or not at all, by feeding a script of one line.

Everything lies in our folder of that account's state directory (`PRELUDE`), for that account alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final, Protocol

from providers.base import NoSpace
from providers.ssh.framing import Answer
from providers.ssh.limits import PIECE_BYTES

# Where everything of ours lies: not in a cache, which cleaners empty, and apart by machine, for
# homes may be shared by NFS.
PRELUDE: Final = """LC_ALL=C; export LC_ALL; umask 077
M=; { read -r M </etc/machine-id; } 2>/dev/null || M=$(uname -n)
R="${XDG_STATE_HOME:-$HOME/.local/state}/fleet-ledger/$(printf %.12s "$M")"
"""
ONE_LINE: Final = PRELUDE.strip().replace("\n", "; ")
# A session on a loaded host took 0.1 s; ten times that, and a slow rc file.
ASK_LIMIT_S: Final = 20.0
PUT_LIMIT_S: Final = 60.0  # for the answer once all was sent: a slow disk flushes
NO_SPACE: Final = 73


class Runs(Protocol):
    """A host that runs scripts and takes files: `Reach`, or a stand-in."""

    async def run(
        self, script: str, limit_s: float, *, urgent: bool = False, limit: int = ...
    ) -> Answer:
        """What a script prints."""

    async def feed(self, script: str, pieces: Iterator[bytes], limit_s: float) -> Answer:
        """What a script of one line prints that has these bytes on its stdin."""


def content_script(text: str) -> str:
    """A script that may use what content.sh defines, and `$R`."""
    ours = files("providers.ssh").joinpath("host", "content.sh").read_text()
    return f"{PRELUDE}{ours}\n{text}"


async def put(reach: Runs, folder: str, name: str, data: bytes) -> None:
    """Write a file below our folder; NoSpace where it does not fit."""
    draft = shlex.quote(f".{name}.") + "$$"
    script = (
        f'{ONE_LINE}; mkdir -p "$R"/{shlex.quote(folder)} && cd "$R"/{shlex.quote(folder)} || '
        f"exit {NO_SPACE}; cat >{draft} && "
        f'[ "$(wc -c <{draft})" -eq {len(data)} ] && mv {draft} {shlex.quote(name)} && exit 0; '
        f"rm -f {draft}; exit {NO_SPACE}"
    )
    answer = await reach.feed(script, pieces_of(data), PUT_LIMIT_S)
    if answer.status:
        raise NoSpace(f"the host has no room for {len(data)} bytes", "free some space there")


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Bytes in pieces."""
    return (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))


def file_pieces(path: Path, offset: int = 0) -> Iterator[bytes]:
    """A file from an offset on, in pieces; blocking."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while data := file.read(PIECE_BYTES):
            yield data
