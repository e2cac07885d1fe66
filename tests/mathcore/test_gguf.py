"""GGUF headers, honest and hostile."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathcore import CardError, weigh
from mathcore.gguf import parse_header
from mathcore.gguf_card import spec_from_gguf
from providers.gguf_file import read_header
from tests.mathcore.fixtures import header, pair, text, write_sparse


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


def test_a_header_cut_at_any_byte_is_refused(small: tuple[Path, int]) -> None:
    data = small[0].read_bytes()
    end = parse_header(data).end
    for cut in range(end):
        with pytest.raises(CardError):
            parse_header(data[:cut])


def test_weights_that_are_not_all_there_are_refused(
    small: tuple[Path, int], tmp_path: Path
) -> None:
    short = tmp_path / "short.gguf"
    data = small[0].read_bytes()
    short.write_bytes(data[: parse_header(data).end + 5000])
    with pytest.raises(CardError, match="cut short"):
        read_header(short)


HUGE = struct.pack("<Q", 1 << 60)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GGUF", header(0, 0, b"", b"GGML"), b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
        header(1 << 60, 0, b""), header(0, 1 << 60, b""), header(1, 0, HUGE + b"x"),
        header(1, 0, pair("k", 8, HUGE)), header(1, 0, pair("k", 99, b"\0" * 8)),
        header(1, 0, pair("k", 9, struct.pack("<IQ", 8, 1 << 60))),
        header(1, 0, pair("k", 9, struct.pack("<IQ", 9, 4) + b"\0" * 64)),
        header(1, 0, pair("k", 9, struct.pack("<IQ", 0, 1 << 25))),
        header(2, 0, pair("k", 4, b"\1\0\0\0") * 2),
        header(0, 1, text("t") + struct.pack("<I", 1 << 31)),
        header(0, 1, text("t") + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0)),
        header(0, 1, text("t") + struct.pack("<IQIQ", 1, 33, 2, 0)),
        header(0, 1, text("t") + struct.pack("<IQIQ", 1, 32, 777, 0)),
        header(0, 2, (text("t") + struct.pack("<IQIQ", 1, 32, 0, 0)) * 2),
        header(1, 0, pair("general.alignment", 4, b"\0" * 4)),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused(data: bytes) -> None:
    with pytest.raises(CardError):
        parse_header(data)


@given(body=st.binary(max_size=400), keys=st.integers(0, 3), tensors=st.integers(0, 3))
def test_noise_is_read_or_refused_but_never_breaks(body: bytes, keys: int, tensors: int) -> None:
    with contextlib.suppress(CardError):
        parse_header(header(keys, tensors, body))


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [(4, struct.pack("<I", 7), "general.architecture"), (8, text("rwkv"), "general.architecture"),
     (8, text("llama"), "llama.block_count")],
)  # fmt: skip
def test_a_key_that_is_missing_or_foreign_is_named(kind: int, value: bytes, field: str) -> None:
    parsed = parse_header(header(1, 0, pair("general.architecture", kind, value)))
    with pytest.raises(CardError) as caught:
        spec_from_gguf(parsed, "x")
    assert caught.value.field == field
