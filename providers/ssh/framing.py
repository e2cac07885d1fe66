"""One script in, one answer out, through any login shell: random sentinels around what counts.

Pure. The script goes to `sh -s` on stdin, after blank lines that an rc file may eat. What the
account's own files print stands before the start sentinel, and is only noise; the end sentinel
carries the exit status, and is what ends the reading: a background child may keep the channel open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, final

from providers.ssh.limits import MAX_ANSWER_BYTES, MAX_NOISE_BYTES

# Every shell runs this: one that is no POSIX shell replaces itself by one that is.
COMMAND: Final = "exec sh -s"
# As above where data follow: `read` takes byte by byte, so what comes after the script's one line
# is left for the script. In single quotes, which every login shell takes as they are.
FEED: Final = (
    "exec sh -c 'while IFS= read -r l; do case $l in @@*) break ;; esac; done; "
    'IFS= read -r l; eval "$l"\''
)
# What an rc file that reads its stdin is fed instead of our script.
BLANKS: Final = "\n\n\n"


class TooLong(Exception):
    """The host sent more than any answer has; nothing of it is kept."""


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What a script printed, exactly, and its exit status."""

    status: int
    body: bytes


@final
class Reader:
    """Takes a host's bytes until the end sentinel; bounded in what it keeps."""

    def __init__(self, nonce: str, limit: int = MAX_ANSWER_BYTES) -> None:
        self._start = f"\n@@{nonce}+\n".encode()
        self._end = re.compile(rb"\n@@%s-(\d{1,3})\n" % nonce.encode())
        self._tail = len(nonce) + 16  # what an end sentinel that came in two pieces needs
        self._limit = limit
        self._got = bytearray()
        self.began = False
        self.ended = False

    def take(self, data: bytes) -> Answer | None:
        """The answer, once it is whole; TooLong where it will not be one."""
        searched = max(0, len(self._got) - self._tail)
        self._got += data
        if not self.began:
            searched = 0
            self._drop_noise()
        if not self.began:
            return None
        end = self._end.search(self._got, searched)
        if end is None:
            if len(self._got) > self._limit + self._tail:
                raise TooLong
            return None
        self.ended = True
        return Answer(int(end[1]), bytes(self._got[: end.start()]))

    def _drop_noise(self) -> None:
        at = self._got.find(self._start)
        if at >= 0:
            del self._got[: at + len(self._start)]
            self.began = True
        elif len(self._got) > MAX_NOISE_BYTES:
            raise TooLong

    @property
    def partial(self) -> bytes:
        """The part of an answer that came, where no more will."""
        return bytes(self._got) if self.began else b""

    @property
    def words(self) -> str:
        """What came so far, for an error."""
        return bytes(self._got[:4096]).decode(errors="replace")


def fed(script: str, nonce: str) -> bytes:
    """The head of FEED's stdin; the bytes that follow are the script's own stdin.

    `script` is one line. It runs in a subshell, so `exit` is safe.
    """
    if "\n" in script:
        raise ValueError("a script that is fed is one line")
    return (
        f"{BLANKS}@@{nonce}\nprintf '\\n@@%s+\\n' {nonce}; ( {script} ); "
        f"printf '\\n@@%s-%s\\n' {nonce} $?\n"
    ).encode("utf-8", "surrogateescape")


def framed(script: str, nonce: str) -> bytes:
    """The stdin of `sh -s` that runs a script between sentinels; in a subshell, so `exit` is
    safe."""
    return (
        f"{BLANKS}printf '\\n@@%s+\\n' {nonce}; N={nonce}; export N\n"
        f"(\n{script}\n)\nprintf '\\n@@%s-%s\\n' {nonce} $?\nexit\n"
    ).encode("utf-8", "surrogateescape")
