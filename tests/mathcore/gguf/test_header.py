"""GGUF headers, honest and hostile."""

import contextlib
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore.api import SpecError, weigh
from mathcore.formats.gguf import spec_from_gguf
from mathcore.gguf.cursor import MAX_HEADER_BYTES, MAX_PIECE_BYTES
from mathcore.gguf.header import GgufHeader, fetch_header, parse_header
from providers.sources.gguf import read_header
from tests.mathcore.fixtures import header, pair, text, write_sparse

MIB = 1 << 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    return path, write_sparse(path, 4, 128, 384, 8, 2, 384)


def test_a_file_weighs_the_sum_of_its_tensors(small: tuple[Path, int]) -> None:
    path, total = small
    spec = spec_from_gguf(read_header(path), "small")
    assert weigh(spec, spec.quant).total_bytes == total
    assert (spec.quant, spec.vocab, len(spec.layers), spec.tied) == ("F16", 384, 4, False)
    assert spec.layers[0].k_elements == 2 * 16


def test_a_header_cut_anywhere_is_refused(small: tuple[Path, int]) -> None:
    data = small[0].read_bytes()
    end = parse_header(data).end
    for cut in (*range(0, end, 7), end - 1):
        with pytest.raises(SpecError):
            parse_header(data[:cut])


def test_weights_that_are_not_all_there_are_refused(
    small: tuple[Path, int], tmp_path: Path
) -> None:
    short = tmp_path / "short.gguf"
    data = small[0].read_bytes()
    short.write_bytes(data[: parse_header(data).end + 5000])
    with pytest.raises(SpecError, match="cut short"):
        read_header(short)


def scalars(count: int) -> bytes:
    """A tokenizer's array of floats."""
    return struct.pack("<IQ", 6, count) + bytes(4 * count)


def words(count: int, size: int) -> bytes:
    """A tokenizer's array of texts, all of `size` bytes."""
    return struct.pack("<IQ", 8, count) + (struct.pack("<Q", size) + b"x" * size) * count


def with_vocabulary(count: int, size: int) -> bytes:
    keys = (
        pair("general.architecture", 8, text("llama"))
        + pair("tokenizer.ggml.tokens", 9, words(count, size))
        + pair("tokenizer.ggml.scores", 9, scalars(count))
        + pair("llama.attention.head_count_kv", 9, struct.pack("<IQ3I", 4, 3, 8, 0, 2))
    )
    tensor = text("blk.2.attn_k.weight") + struct.pack("<IQQIQ", 2, 64, 10, 1, 0)
    return header(4, 1, keys + tensor)


class Reader:
    """A file's bytes in pieces, counting what was fetched."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fetched = 0

    def fetch(self, offset: int, size: int) -> bytes:
        part = self.data[offset : offset + size]
        self.fetched += len(part)
        return part


@given(count=st.integers(0, 400), size=st.integers(0, 600), cut=st.integers(1, 3000))
def test_pieces_of_any_size_give_the_header_of_the_whole(count: int, size: int, cut: int) -> None:
    data = with_vocabulary(count, size)

    def fetch(offset: int, wanted: int) -> bytes:
        return data[offset : offset + max(wanted % cut, 1200)]

    whole, pieces = parse_header(data), fetch_header(Reader(data).fetch)
    assert whole == pieces
    assert whole.lengths["tokenizer.ggml.tokens"] == count
    assert whole.metadata["tokenizer.ggml.tokens"] is None
    assert whole.metadata["llama.attention.head_count_kv"] == [8, 0, 2]
    assert (whole.tensors[0].layer, whole.data_bytes, whole.end) == (2, 1280, len(data))


def test_numbers_of_a_tokenizer_are_jumped_over_not_fetched() -> None:
    keys = pair("tokenizer.ggml.scores", 9, scalars(4 * MIB))
    reader = Reader(header(1, 0, keys))
    assert fetch_header(reader.fetch).end == len(reader.data)
    assert reader.fetched <= 2 * MIB < len(reader.data) / 7


def test_a_jump_beyond_the_end_of_the_file_is_refused() -> None:
    data = header(1, 0, pair("tokenizer.ggml.scores", 9, scalars(MIB)))
    for short in (data[:-1], data[: len(data) // 2], data[:60]):
        with pytest.raises(SpecError):
            fetch_header(Reader(short).fetch)


def test_a_long_vocabulary_is_held_piece_by_piece() -> None:
    reader = Reader(with_vocabulary(100_000, 250))
    tracemalloc.start()
    found = fetch_header(reader.fetch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.lengths["tokenizer.ggml.tokens"] == 100_000
    assert len(reader.data) > 24 * MIB
    assert peak < 16 * MIB


HUGE = struct.pack("<Q", 1 << 60)


def deep_arrays() -> bytes:
    return pair("k", 9, struct.pack("<IQ", 9, 1) * 10_000)


def many_numbers() -> bytes:
    """4,000 keys, each with the longest array that is kept."""
    one = struct.pack("<IQ", 0, 4096) + b"\1" * 4096
    return b"".join(pair(f"k{i}", 9, one) for i in range(4000))


def many_texts() -> bytes:
    """Sixty chat templates of a megabyte, their letters four bytes wide in memory."""
    one = struct.pack("<Q", MIB) + "\U0001f600".encode() + b"x" * (MIB - 4)
    return b"".join(pair(f"k{i}", 8, one) for i in range(60))


def many_names() -> bytes:
    return b"".join(text(f"{i:0>256}") + struct.pack("<IQIQ", 1, 32, 0, 0) for i in range(20_000))


HOSTILE = [
    b"",
    b"GGUF",
    header(0, 0, b"", b"GGML"),
    b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    header(1 << 60, 0, b""),
    header(0, 1 << 60, b""),
    header(1, 0, HUGE + b"x"),
    header(1, 0, pair("k", 8, HUGE)),
    header(1, 0, pair("k", 99, b"\0" * 8)),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 8, 1 << 60))),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 8, 1 << 20) + HUGE)),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 8, (1 << 20) + 1) + bytes(16 * MIB))),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 12, 1 << 25))),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 9, 4) + b"\0" * 64)),
    header(1, 0, pair("k", 9, struct.pack("<IQ", 0, 1 << 25))),
    header(1, 0, deep_arrays()),
    header(2, 0, pair("k", 4, b"\1\0\0\0") * 2),
    header(4000, 0, many_numbers()),
    header(60, 0, many_texts()),
    header(0, 8192, many_names()),
    header(0, 20_000, many_names()),
    header(0, 1, text("t") + struct.pack("<I", 1 << 31)),
    header(0, 1, text("t") + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0)),
    header(0, 1, text("t") + struct.pack("<IQIQ", 1, 33, 2, 0)),
    header(0, 1, text("t") + struct.pack("<IQIQ", 1, 32, 777, 0)),
    header(0, 2, (text("t") + struct.pack("<IQIQ", 1, 32, 0, 0)) * 2),
    header(1, 0, pair("general.alignment", 4, b"\0" * 4)),
]


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_hostile_headers_are_refused_within_fifty_megabytes(place: int) -> None:
    data = HOSTILE[place]
    tracemalloc.start()
    try:
        if place == HOSTILE.index(header(0, 8192, many_names())):
            assert len(parse_header(data).tensors) == 8192  # allowed, and still within bounds
        else:
            with pytest.raises(SpecError):
                fetch_header(Reader(data).fetch)
        assert tracemalloc.get_traced_memory()[1] < 50 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [255, 600_000])
def test_a_file_that_never_ends_is_refused_after_its_budget(size: int) -> None:
    """Texts without end; long ones are jumped, so most of each piece is fetched for nothing."""
    start = header(1, 0, text("k") + struct.pack("<IIQ", 9, 8, 1 << 20))
    one = struct.pack("<Q", size) + b"x" * size
    fetched = 0

    def fetch(offset: int, wanted: int) -> bytes:
        nonlocal fetched
        fetched += wanted
        if offset == 0:
            return (start + one * (wanted // len(one) + 1))[:wanted]
        skip = (offset - len(start)) % len(one)
        return (one * (wanted // len(one) + 2))[skip : skip + wanted]

    with pytest.raises(SpecError, match="longer than"):
        fetch_header(fetch)
    assert fetched <= MAX_HEADER_BYTES + MAX_PIECE_BYTES


@given(body=st.binary(max_size=400), keys=st.integers(0, 3), tensors=st.integers(0, 3))
def test_noise_is_read_or_refused_but_never_breaks(body: bytes, keys: int, tensors: int) -> None:
    with contextlib.suppress(SpecError):
        assert isinstance(parse_header(header(keys, tensors, body)), GgufHeader)


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (4, struct.pack("<I", 7), "general.architecture"),
        (8, text("no such thing"), "general.architecture"),
        (8, text("llama"), "llama.block_count"),
    ],
)
def test_a_key_that_is_missing_or_foreign_is_named(kind: int, value: bytes, field: str) -> None:
    parsed = parse_header(header(1, 0, pair("general.architecture", kind, value)))
    with pytest.raises(SpecError) as caught:
        spec_from_gguf(parsed, "x")
    assert caught.value.field == field
