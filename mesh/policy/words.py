"""A recovery key's secret half as words for paper: BIP 39, English, 24 of them. Pure.

24 words are 256 bits and a checksum of 8. A mistyped word is mostly no word of the list, and is
named; a wrong one of the list is caught by the checksum in 255 of 256 cases, and found where the
public half is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

SEED_BYTES: Final = 32
WORDS: Final = 24
# BIP 39: the first four letters of a word name it among the 2048.
PREFIX: Final = 4
WORD_BITS: Final = 11
CHECK_BITS: Final = WORDS * WORD_BITS - 8 * SEED_BYTES


class WordsError(ValueError):
    """These are no recovery words; one line says which is wrong."""


def words_of(seed: bytes) -> list[str]:
    """The 24 words of a 32-byte secret."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a secret of {len(seed)} bytes, not {SEED_BYTES}")
    bits = int.from_bytes(seed, "big") << CHECK_BITS | _check(seed)
    shifts = range((WORDS - 1) * WORD_BITS, -1, -WORD_BITS)
    return [_list()[bits >> shift & (1 << WORD_BITS) - 1] for shift in shifts]


def seed_of(text: str, fits: Callable[[bytes], bool] | None = None) -> bytes:
    """The secret that words stand for; WordsError names the wrong word and its place.

    Numbers between the words, capitals and line ends do not matter, and four letters are enough.
    `fits` says whether a secret is the one looked for: then one wrong word, or two neighbours in
    the wrong order, are found by trying.
    """
    typed = [one for one in text.lower().split() if not one.strip(".,:;)").isdigit()]
    words = [_word(place, one) for place, one in enumerate(typed, 1)]
    if len(words) != WORDS:
        raise WordsError(f"{len(words)} words, there are {WORDS}")
    seed = _secret(words)
    if seed is None or (fits is not None and not fits(seed)):
        found = None if fits is None else next(_mended(words, fits), None)
        if found is not None:
            raise WordsError(found)
    if seed is None:
        what = "one is wrong or two are in each other's place"
        raise WordsError(f"each of the words is in the list, but {what}")
    return seed


def numbered(words: Sequence[str], columns: int = 3) -> list[str]:
    """The words with their numbers, row by row: 3 columns take 39 characters."""
    shown = [f"{place:2}. {word:<8}" for place, word in enumerate(words, 1)]
    rows = range(0, len(shown), columns)
    return ["  ".join(shown[at : at + columns]).rstrip() for at in rows]


def _word(place: int, typed: str) -> str:
    """The word of the list that was typed."""
    if typed in _numbers():
        return typed
    found = _starts().get(typed[:PREFIX])
    if found is not None and found.startswith(typed):
        return found
    from difflib import get_close_matches

    near = get_close_matches(typed, _list(), 1)
    guess = f"; did you write {near[0]!r}?" if near else ""
    raise WordsError(f"word {place}, {typed[:20]!r}, is none of the list{guess}")


def _secret(words: Sequence[str]) -> bytes | None:
    """The secret whose words these are; None where their checksum is wrong."""
    bits = 0
    for word in words:
        bits = bits << WORD_BITS | _numbers()[word]
    seed = (bits >> CHECK_BITS).to_bytes(SEED_BYTES, "big")
    return seed if _check(seed) == bits & (1 << CHECK_BITS) - 1 else None


def _check(seed: bytes) -> int:
    """BIP 39's checksum: the first 8 bits of SHA-256."""
    return hashlib.sha256(seed).digest()[0]


def _mended(words: Sequence[str], fits: Callable[[bytes], bool]) -> Iterator[str]:
    """What is wrong with words that one change makes right; some 200 of 49,000 changes are tried
    beyond their checksum."""
    for at in range(WORDS - 1):
        swapped = [*words[:at], words[at + 1], words[at], *words[at + 2 :]]
        seed = _secret(swapped)
        if seed is not None and fits(seed):
            yield f"words {at + 1} and {at + 2} are in each other's place"
    for at in range(WORDS):
        for word in _list():
            seed = _secret([*words[:at], word, *words[at + 1 :]])
            if seed is not None and fits(seed):
                yield f"word {at + 1}, {words[at]!r}, is wrong"


@cache
def _numbers() -> dict[str, int]:
    return {word: number for number, word in enumerate(_list())}


@cache
def _starts() -> dict[str, str]:
    """Each word by its first letters."""
    return {word[:PREFIX]: word for word in _list()}


@cache
def _list() -> tuple[str, ...]:
    """The 2048 words, read when they are asked for: most commands never do."""
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)
