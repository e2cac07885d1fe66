"""Which of several servers of one model should answer: the one whose first token comes soonest.

Predicted of each: the link, the wait for a slot, and the part of the prompt it must read anew. A
server keeps what it read last in its slots, so whoever answered a conversation before reads only
what is new: no other rule is worth as much (2,000 tokens: 8 ms instead of 1.8 s).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

# A prompt is compared by pieces of so many characters, some 250 tokens: fewer would cost more to
# read again than to look up, more would miss what two conversations share.
BLOCK_CHARS: Final = 1024
MAX_BLOCKS: Final = 256  # of one prompt; longer ones agree that far or do not
MAX_KNOWN: Final = 4096  # pieces remembered of each server
MAX_TALKS: Final = 1024  # conversations remembered of each server; it has a slot for few of them
KEPT_S: Final = 1200.0  # a slot is used by somebody else by then
# Before anything is measured: a processor reads some 50 tokens a second, a card fifty times more.
ASSUMED_MS_PER_CHAR: Final = 0.5
NEWEST: Final = 0.3  # how much the newest measurement counts
LINK_MS: Final = 2.0  # to another peer and back, where nobody measured it

Blocks = tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One server that could answer, as its owner says it stands; `context` 0: nobody knows."""

    job_id: str
    owner: str
    device_id: str
    ready: bool
    wait_ms: int = 0
    context: int = 0
    link_ms: float = 0.0
    slots: int = 1
    busy: int = 0


def blocks_of(prefix: str) -> Blocks:
    """A prompt's pieces, each named by itself and all before it."""
    found, chain = list[bytes](), hashlib.blake2b(digest_size=12)
    for start in range(0, min(len(prefix), MAX_BLOCKS * BLOCK_CHARS), BLOCK_CHARS):
        piece = prefix[start : start + BLOCK_CHARS]
        if len(piece) < BLOCK_CHARS:
            break
        chain.update(piece.encode("utf-8", "surrogatepass"))
        found.append(chain.digest())
    return tuple(found)


@final
class Memory:
    """What each server read lately, and how fast: as far as it was asked from here."""

    def __init__(self) -> None:
        self._seen: dict[str, OrderedDict[bytes, float]] = {}
        self._ms_per_char: dict[str, float] = {}
        # Conversations by their first piece, the last one asked at the end.
        self._talks: dict[str, OrderedDict[bytes, None]] = {}

    def keep(self, job_ids: Iterable[str]) -> None:
        """Forget servers that are gone."""
        alive = set(job_ids)
        for job_id in (self._seen.keys() | self._ms_per_char.keys()) - alive:
            for known in (self._seen, self._ms_per_char, self._talks):
                known.pop(job_id, None)

    def shared(self, job_id: str, blocks: Blocks, now_s: float) -> int:
        """How many pieces of a prompt a server has read already."""
        seen = self._seen.get(job_id) or OrderedDict[bytes, float]()
        for count, block in enumerate(blocks):
            if now_s - seen.get(block, float("-inf")) > KEPT_S:
                return count
        return len(blocks)

    def sent(self, job_id: str, blocks: Blocks, now_s: float) -> None:
        """A prompt goes to a server."""
        seen = self._seen.setdefault(job_id, OrderedDict())
        for block in blocks:
            seen[block] = now_s
            seen.move_to_end(block)
        while len(seen) > MAX_KNOWN:
            seen.popitem(last=False)
        talks = self._talks.setdefault(job_id, OrderedDict())
        for first in blocks[:1]:
            talks[first] = None
            talks.move_to_end(first)
        while len(talks) > MAX_TALKS:
            talks.popitem(last=False)

    def failed(self, job_id: str) -> None:
        """A server did not answer: nobody goes there for what it had read."""
        self._seen.pop(job_id, None)
        self._talks.pop(job_id, None)

    def holds(self, option: Option, blocks: Blocks) -> bool:
        """Whether a prompt's conversation is one of the last that have a slot of the server each;
        others were read over since."""
        last = list(self._talks.get(option.job_id, ()))[-max(1, option.slots) :]
        return bool(blocks) and blocks[0] in last

    def is_full(self, option: Option) -> bool:
        """Whether every slot has a conversation, so that a new one takes another's place."""
        return len(self._talks.get(option.job_id, ())) >= option.slots

    def measured(self, job_id: str, chars: int, first_ms: float) -> None:
        """How long a server took for so many new characters."""
        if chars < BLOCK_CHARS:
            return
        found, known = first_ms / chars, self._ms_per_char.get(job_id)
        self._ms_per_char[job_id] = found if known is None else known + NEWEST * (found - known)

    def first_ms(self, option: Option, chars: int, blocks: Blocks, now_s: float) -> float:
        """Predicted time to the first token, and what taking another's place costs that one later:
        its prompt is read again, and is taken to be as long as this one."""
        holds = self.holds(option, blocks)
        read = BLOCK_CHARS * self.shared(option.job_id, blocks, now_s) if holds else 0
        speed = self._ms_per_char.get(option.job_id, ASSUMED_MS_PER_CHAR)
        beside = 1 + option.busy / max(1, option.slots)  # those who are answered read and write too
        pushes = speed * chars if blocks and not holds and self.is_full(option) else 0.0
        return option.link_ms + option.wait_ms + beside * speed * max(0, chars - read) + pushes


def in_order(
    options: Sequence[Option],
    memory: Memory,
    *,
    prefix: str,
    blocks: Blocks,
    context: int,
    now_s: float,
) -> list[Option]:
    """Those that can answer, the best first; servers that still load come last."""
    fit = [one for one in options if not one.context or one.context >= context]
    return sorted(
        fit,
        key=lambda one: (
            not one.ready,
            memory.first_ms(one, len(prefix), blocks, now_s),
            one.job_id,
        ),
    )


def is_called(asked: str, label: str) -> bool:
    """Whether a client's name for a model means this one: tools write names in many ways."""
    return plain_name(asked) == plain_name(label)


def plain_name(name: str) -> str:
    """A model's name without what tools and file systems put around it."""
    short = name.replace("\\", "/").rsplit("/", 1)[-1].lower()
    return short.removesuffix(":latest").removesuffix(".gguf")
