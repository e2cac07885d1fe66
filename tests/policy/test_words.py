"""Recovery words: any secret comes back, and what a person gets wrong is named with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from mesh.policy.words import WORDS, WordsError, numbered, seed_of, words_of

SEEDS = st.binary(min_size=32, max_size=32)
SEED = bytes(range(32))


@given(SEEDS)
def test_words_are_those_of_bip_39_and_come_back(seed: bytes) -> None:
    words = words_of(seed)
    assert " ".join(words) == Mnemonic("english").to_mnemonic(seed)
    assert len(words) == WORDS
    assert seed_of(" ".join(words)) == seed


@given(SEEDS)
def test_words_as_they_are_shown_or_shortened_come_back(seed: bytes) -> None:
    words = words_of(seed)
    assert seed_of("\n".join(numbered(words))) == seed
    assert seed_of(" ".join(word[:4].upper() for word in words)) == seed


@given(SEEDS)
def test_the_words_fit_a_narrow_terminal(seed: bytes) -> None:
    lines = numbered(words_of(seed))
    assert max(map(len, lines)) <= 58
    assert len(lines) == 8


def complaint(words: list[str], seed: bytes | None = None) -> str:
    with pytest.raises(WordsError) as error:
        seed_of(" ".join(words), None if seed is None else seed.__eq__)
    return str(error.value)


def test_a_word_that_is_none_is_named_with_its_place_and_a_guess() -> None:
    words = words_of(SEED)
    words[22] = "abandonn"
    assert complaint(words) == "word 23, 'abandonn', is none of the list; did you write 'abandon'?"
    words[22] = "ü"
    assert complaint(words) == "word 23, 'ü', is none of the list"


@pytest.mark.parametrize("count", [0, 1, 12, 23, 25])
def test_too_few_or_too_many_words_are_counted(count: int) -> None:
    assert complaint((words_of(SEED) * 2)[:count]) == f"{count} words, there are 24"


@given(SEEDS, st.integers(0, 23), st.integers(1, 2047))
def test_one_wrong_word_is_found_where_the_key_is_known(seed: bytes, at: int, by: int) -> None:
    listed, words = Mnemonic("english").wordlist, words_of(seed)
    wrong = listed[(listed.index(words[at]) + by) % 2048]
    typed = [*words[:at], wrong, *words[at + 1 :]]
    assert complaint(typed, seed) == f"word {at + 1}, {wrong!r}, is wrong"


def test_two_neighbours_in_the_wrong_order_are_found() -> None:
    words = words_of(SEED)
    words[3], words[4] = words[4], words[3]
    assert complaint(words, SEED) == "words 4 and 5 are in each other's place"
    assert "one is wrong or two" in complaint(words)


def test_another_secrets_words_are_no_mistake() -> None:
    assert seed_of(" ".join(words_of(bytes(32))), SEED.__eq__) == bytes(32)


def test_a_secret_of_another_size_has_no_words() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        words_of(bytes(31))
