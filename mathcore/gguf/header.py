"""A GGUF header: metadata and tensor shapes, nothing of the weights and nothing of the tokenizer.

Written for hostile files: every length is checked against a named limit before it is used, and
nothing nests. Any fault is a SpecError.
"""

import struct
from dataclasses import dataclass
from typing import final

from mathcore.gguf.cursor import MAX_HEADER_BYTES, Cursor, Fetch, nothing_more
from mathcore.gguf.leap import LEAP_FROM, leap
from mathcore.model.spec import SpecError, Tensor
from mathcore.quant.ggml import BLOCKS, TYPE_NAMES

MAX_KEYS = 4096  # real files have under 100
MAX_TENSORS = 8192  # real files have under 3,000
MAX_NAME_BYTES = 256  # ggml itself stops at 64 for tensors; real keys are shorter too
MAX_TEXT_BYTES = 1 << 20  # a chat template; anything longer is not metadata we read
MAX_KEPT_ITEMS = 4096  # per-layer arrays; a tokenizer's are longer and not needed
MAX_KEPT_TOTAL = 1 << 16  # numbers of all kept arrays; real files keep a few hundred
MAX_DIMS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = 1 << 48  # of one tensor: 256 T numbers
MAX_OFFSET = 1 << 62  # of a tensor in its file
# A tensor's sizes, block type and offset, by its number of dimensions.
_ENTRIES: tuple[str, ...] = ("", "<QIQ", "<QQIQ", "<QQQIQ", "<QQQQIQ")

LEAP_PIECE_BYTES = 64 << 10  # the keys before a tokenizer are a few KiB

_STRING, _ARRAY = 8, 9
# Scalar types of the format: code -> (struct letter, bytes).
_SCALARS: dict[int, tuple[str, int]] = {
    0: ("B", 1),
    1: ("b", 1),
    2: ("H", 2),
    3: ("h", 2),
    4: ("I", 4),
    5: ("i", 4),
    6: ("f", 4),
    7: ("?", 1),
    10: ("Q", 8),
    11: ("q", 8),
    12: ("d", 8),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a file says about itself. `end` is where the header stops.

    `metadata` holds None for an array stepped over; `lengths` says how long it is.
    """

    version: int
    metadata: dict[str, object]
    tensors: tuple[Tensor, ...]
    end: int
    data_bytes: int  # from the start of the weights to the end of the last tensor
    alignment: int
    lengths: dict[str, int]


def _array(cursor: Cursor, key: str, lengths: dict[str, int]) -> object:
    """A short list of scalars; None for one stepped over (texts, or a tokenizer's)."""
    kind = cursor.count(4, 12, key)
    length = cursor.count(8, MAX_HEADER_BYTES, key)
    if kind == _ARRAY:
        raise SpecError(key, "an array of arrays is not metadata llama.cpp reads")
    if kind == _STRING:
        lengths[key] = length
        if cursor.leaps and length >= LEAP_FROM:
            leap(cursor, length, key)
        else:
            cursor.pass_texts(length, key)
        return None
    letter, size = _SCALARS[kind]
    if length > MAX_KEPT_ITEMS:
        lengths[key] = length
        cursor.jump(length * size, key)
        return None
    cursor.kept_items += length
    if cursor.kept_items > MAX_KEPT_TOTAL:
        raise SpecError(key, f"the arrays hold more than the {MAX_KEPT_TOTAL} numbers allowed")
    start = cursor.take(length * size, key)
    return list(struct.unpack_from(f"<{length}{letter}", cursor.data, start))


def _value(cursor: Cursor, key: str, lengths: dict[str, int]) -> object:
    kind = cursor.count(4, 12, key)
    if kind == _STRING:
        return cursor.text(MAX_TEXT_BYTES, key)
    if kind == _ARRAY:
        return _array(cursor, key, lengths)
    letter, size = _SCALARS[kind]
    return cursor.number(letter, size, key)


def _metadata(cursor: Cursor, count: int, lengths: dict[str, int]) -> dict[str, object]:
    out: dict[str, object] = {}
    for _ in range(count):
        key = cursor.text(MAX_NAME_BYTES, "metadata key")
        if key in out:
            raise SpecError(key, "appears twice")
        out[key] = _value(cursor, key, lengths)
    return out


def layer_of(name: str) -> int:
    """7 for "blk.7.attn_q.weight", -1 for a tensor of no layer."""
    parts = name.split(".")
    if len(parts) < 3 or parts[0] != "blk" or not parts[1].isdecimal() or len(parts[1]) > 6:
        return -1
    return int(parts[1])


def _tensor(cursor: Cursor) -> tuple[Tensor, int, int]:
    """One entry: the tensor, where its data starts, how many bytes it has."""
    name = cursor.text(MAX_NAME_BYTES, "tensor name")
    dims = cursor.count(4, MAX_DIMS, name)
    if dims < 1:
        raise SpecError(name, "has no dimensions")
    start = cursor.take(8 * dims + 12, name)
    found: tuple[int, ...] = struct.unpack_from(_ENTRIES[dims], cursor.data, start)
    columns, rows, code, offset = found[0], 1, found[dims], found[dims + 1]
    for i in range(1, dims):
        rows *= found[i]
    if offset > MAX_OFFSET or columns * rows > MAX_ELEMENTS:
        raise SpecError(name, "has more numbers than any tensor can")
    kind = TYPE_NAMES.get(code, "")
    if not kind:
        raise SpecError(name, f"block type {code} is not supported yet")
    per_block, size = BLOCKS[kind]
    if columns < 1 or rows < 1 or columns % per_block != 0:
        raise SpecError(name, f"a row of {columns} is no whole number of {kind} blocks")
    shape = Tensor(
        name=name, columns=columns, rows=rows, dims=dims, layer=layer_of(name), type_name=kind
    )
    return shape, offset, columns // per_block * size * rows


def _tensors(cursor: Cursor, count: int) -> tuple[tuple[Tensor, ...], int]:
    """Every entry, and where the weights of the last one end."""
    tensors: list[Tensor] = []
    names: set[str] = set()
    last = 0
    for _ in range(count):
        tensor, offset, size = _tensor(cursor)
        if tensor.name in names:
            raise SpecError(tensor.name, "appears twice")
        names.add(tensor.name)
        tensors.append(tensor)
        last = max(last, offset + size)
    return tuple(tensors), last


def _parse(cursor: Cursor) -> GgufHeader:
    start = cursor.take(4, "magic")
    if cursor.data[start : start + 4] != b"GGUF":
        raise SpecError("magic", "this is not a GGUF file")
    version = cursor.count(4, 1 << 32, "version")
    if version not in (2, 3):
        raise SpecError("version", f"GGUF version {version} is not supported, only 2 and 3")
    tensor_count = cursor.count(8, MAX_TENSORS, "tensor count")
    lengths: dict[str, int] = {}
    metadata = _metadata(cursor, cursor.count(8, MAX_KEYS, "key count"), lengths)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
        raise SpecError("general.alignment", f"{alignment} is not an alignment")
    tensors, last = _tensors(cursor, tensor_count)
    return GgufHeader(
        version=version,
        metadata=metadata,
        tensors=tensors,
        end=cursor.base + cursor.at,
        data_bytes=last,
        alignment=alignment,
        lengths=lengths,
    )


def parse_header(data: bytes) -> GgufHeader:
    """The header at the start of `data`; HeaderCut when it goes on beyond it."""
    return _parse(Cursor(data, nothing_more))


def fetch_header(fetch: Fetch) -> GgufHeader:
    """The header of a file read piece by piece, without the numbers nobody needs."""
    return _parse(Cursor(b"", fetch))


def leap_header(fetch: Fetch, size: int) -> GgufHeader | None:
    """The header of a file of `size` bytes, without its tokenizer: a few small pieces of it.

    None where the tokenizer's end could not be found for certain: then `fetch_header` reads it all.
    It is certain when the counts work out and the last tensor ends where the file does.
    """
    cursor = Cursor(b"", fetch)
    cursor.leaps, cursor.piece = True, LEAP_PIECE_BYTES
    try:
        header = _parse(cursor)
    except SpecError:
        return None
    start = -(-header.end // header.alignment) * header.alignment
    return header if 0 <= size - start - header.data_bytes < header.alignment else None
