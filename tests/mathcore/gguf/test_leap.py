"""A tokenizer's end is found without reading it, for certain or not at all."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mathcore.gguf.header import fetch_header, leap_header, parse_header
from tests.mathcore.fixtures import header, pair, text


def texts(items: list[bytes]) -> bytes:
    return struct.pack("<IQ", 8, len(items)) + b"".join(
        struct.pack("<Q", len(item)) + item for item in items
    )


def vocabulary(count: int, seed: int) -> list[bytes]:
    """Words that grow longer, as a byte-pair vocabulary's do."""
    mix = random.Random(seed)
    return [mix.randbytes(1 + 8 * i // count + mix.randint(0, 6)) for i in range(count)]


def merges(count: int, seed: int) -> list[bytes]:
    return [word[: len(word) // 2] + b" " + word for word in vocabulary(count, seed)]


def scores(count: int, step: float) -> bytes:
    return struct.pack(f"<IQ{count}f", 6, count, *[-step * i for i in range(count)])


class Model:
    """A model with this tokenizer: its header, and weights that are all zero."""

    def __init__(self, *arrays: bytes) -> None:
        keys = [pair("general.architecture", 8, text("llama"))]
        keys += [pair(f"tokenizer.ggml.a{i}", 9, array) for i, array in enumerate(arrays)]
        keys += [
            pair("tokenizer.chat_template", 8, text("{{x}} tokenizer.ggml.y" * 99)),
            pair("general.file_type", 4, struct.pack("<I", 15)),
        ]
        tensors = b"".join(
            text(f"blk.{i // 9}.t{i % 9}.weight") + struct.pack("<IQQIQ", 2, 256, 8, 1, 4096 * i)
            for i in range(90)
        )
        self.data = header(len(keys), 90, b"".join(keys) + tensors)
        self.size = -(-len(self.data) // 32) * 32 + 4096 * 90
        self.fetched = 0

    def fetch(self, offset: int, wanted: int) -> bytes:
        wanted = max(0, min(wanted, self.size - offset))
        self.fetched += wanted
        return self.data[offset : offset + wanted].ljust(wanted, b"\0")


@pytest.mark.parametrize("step", [1.0, 0.0])
def test_a_tokenizer_is_left_where_it_is(step: float) -> None:
    model = Model(
        texts(vocabulary(100_000, 1)),
        scores(100_000, step),
        struct.pack("<IQ", 5, 100_000) + struct.pack("<I", 1) * 100_000,
        texts(merges(200_000, 2)),
    )
    assert leap_header(model.fetch, model.size) == parse_header(model.data)
    assert model.fetched < 1 << 20 < len(model.data) / 5


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 20),
    count=st.integers(4000, 30_000),
    second=st.integers(0, 9000),
    odd=st.lists(
        st.tuples(
            st.integers(0, 3999),
            st.sampled_from(
                [b"", b"general.x", b"tokenizer.ggml.merges", b"y" * 300, b"z" * 5000, bytes(64)]
            ),
        ),
        max_size=6,
    ),
)
def test_what_is_found_is_the_header_or_nothing(
    seed: int, count: int, second: int, odd: list[tuple[int, bytes]]
) -> None:
    """Whatever the words are: names of keys, empty ones, long ones, or bytes like lengths."""
    words = vocabulary(count, seed)
    for place, word in odd:
        words[place] = word
    model = Model(texts(words), texts(merges(second, seed)) if second else scores(9, 1.0))
    found = leap_header(model.fetch, model.size)
    assert found is None or found == parse_header(model.data)


def test_a_vocabulary_that_begins_with_a_text_too_long_to_leap_over_is_read_through() -> None:
    model = Model(texts([b"z" * 5000, *vocabulary(4096, 0)[1:]]), texts(merges(9000, 0)))
    assert leap_header(model.fetch, model.size) in (None, parse_header(model.data))
    assert fetch_header(model.fetch) == parse_header(model.data)


def test_a_vocabulary_of_nothing_is_read_through() -> None:
    model = Model(texts([b""] * 50_000))
    assert leap_header(model.fetch, model.size) in (None, parse_header(model.data))
    assert fetch_header(model.fetch) == parse_header(model.data)


@pytest.mark.parametrize("more", [-4096, -1, 4096])
def test_a_file_of_another_size_is_not_trusted(more: int) -> None:
    model = Model(texts(vocabulary(20_000, 3)))
    assert leap_header(model.fetch, model.size + more) is None


def test_a_claim_of_more_texts_than_there_are_ends_early() -> None:
    keys = pair("k", 9, struct.pack("<IQ", 8, 1 << 20) + texts(vocabulary(20_000, 4))[12:])
    data = header(1, 0, keys)
    fetched = 0

    def fetch(offset: int, wanted: int) -> bytes:
        nonlocal fetched
        part = data[offset : offset + wanted]
        fetched += len(part)
        return part

    assert leap_header(fetch, len(data)) is None
    assert fetched < 8 << 20


@given(st.binary(max_size=2000))
def test_noise_is_not_a_header(data: bytes) -> None:
    def fetch(offset: int, wanted: int) -> bytes:
        return data[offset : offset + wanted]

    assert leap_header(fetch, len(data)) is None
