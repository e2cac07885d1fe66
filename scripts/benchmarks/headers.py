"""GGUF headers to measure with: a 70B model's real shape, and the worst a stranger can send.

Bytes only: no library writes them, so nothing but our reader is in the figures.
"""

import random
import struct
from collections.abc import Callable
from pathlib import Path

from mathcore.catalogue.models import find_model
from mathcore.formats.gguf import spec_from_gguf
from mathcore.gguf.cursor import MAX_TEXTS
from mathcore.gguf.header import MAX_KEYS, MAX_TENSORS
from mathcore.model.spec import SpecError
from providers.sources.gguf import read_header

TOKENS, MERGES = 128_256, 280_147  # Llama 3's vocabulary
TYPES = {"F32": (0, 1, 4), "Q4_K": (12, 256, 144)}


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key.encode()) + struct.pack("<I", kind) + value


def _texts(count: int, seed: int) -> bytes:
    """Words that grow longer, as a byte-pair vocabulary's do."""
    mix = random.Random(seed)
    words = (mix.randbytes(1 + 8 * i // count + mix.randint(0, 6)) for i in range(count))
    return struct.pack("<IQ", 8, count) + b"".join(map(_text, words))


def _file(keys: list[bytes], tensors: list[bytes]) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys + tensors)


def write_70b(path: Path) -> None:
    """Llama 3 70B as Q4_K: metadata, a tokenizer, 723 tensors, and holes for its weights."""
    whole = (
        ("block_count", 80),
        ("context_length", 8192),
        ("embedding_length", 8192),
        ("feed_forward_length", 28672),
        ("attention.head_count", 64),
        ("attention.head_count_kv", 8),
        ("vocab_size", TOKENS),
    )
    keys = [_pair("general.architecture", 8, _text(b"llama"))]
    keys += [_pair(f"llama.{name}", 4, struct.pack("<I", value)) for name, value in whole]
    keys += [
        _pair("general.file_type", 4, struct.pack("<I", 15)),
        _pair("tokenizer.ggml.model", 8, _text(b"gpt2")),
        _pair("tokenizer.ggml.tokens", 9, _texts(TOKENS, 1)),
        _pair("tokenizer.ggml.token_type", 9, struct.pack("<IQ", 5, TOKENS) + bytes(4 * TOKENS)),
        _pair("tokenizer.ggml.merges", 9, _texts(MERGES, 2)),
    ]
    spec = find_model("llama-3-70b")
    assert spec is not None
    tensors, offset = [], 0
    for tensor in spec.tensors:
        kind, block, size = TYPES["F32" if tensor.dims < 2 else "Q4_K"]
        shape = (tensor.columns,) if tensor.dims < 2 else (tensor.columns, tensor.rows)
        tensors.append(
            _text(tensor.name.encode())
            + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        )
        offset += -(-tensor.columns * tensor.rows // block * size // 32) * 32
    data = _file(keys, tensors)
    start = -(-len(data) // 32) * 32
    # Weights are no zeros where the reader may look for the tokenizer's end.
    path.write_bytes(data.ljust(start, b"\0") + random.Random(3).randbytes(4 << 20))
    with path.open("r+b") as file:
        file.truncate(start + offset)


def write_hostile(folder: Path) -> list[Path]:
    """The most of each thing a header may have, none of it useful."""
    empty = struct.pack("<IQ", 8, MAX_TEXTS) + bytes(8 * MAX_TEXTS)
    odd = struct.pack("<IQ", 8, MAX_TEXTS) + _text(bytes(40)) * MAX_TEXTS
    tiny = struct.pack("<IQ", 4, 15) + bytes(60)
    tensor = struct.pack("<I4QIQ", 4, 32, 1, 1, 1, 0, 0)
    many = [_text(f"blk.{i}.x{'y' * 50}".encode()) + tensor for i in range(MAX_TENSORS)]
    files = {
        "empty texts": _file([_pair("a", 9, empty)], []),
        "texts": _file([_pair("a", 9, odd)], []),
        "keys": _file([_pair(f"k{i}", 9, tiny) for i in range(MAX_KEYS)], []),
        "tensors": _file([_pair(f"k{i}", 4, bytes(4)) for i in range(MAX_KEYS)], many),
        "long words": _file([_pair(f"k{i}", 8, _text(b"x" * 1000)) for i in range(MAX_KEYS)], []),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in files]


def reader(path: Path) -> Callable[[], object]:
    """Reads the file as `fleet plan` does; a refusal is an answer too."""

    def read() -> object:
        try:
            return spec_from_gguf(read_header(path), path.name, str(path))
        except SpecError as error:
            return error

    return read
