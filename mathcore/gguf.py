"""A GGUF header from bytes: metadata and tensor shapes, nothing of the weights.

Written for hostile files: every length is checked against what is really there before it is
used, long arrays are stepped over, and nothing nests. Any fault is a CardError.
"""

import struct
from dataclasses import dataclass
from typing import final

from mathcore.ggml import BLOCKS, TYPE_NAMES
from mathcore.model import CardError, Tensor

MAX_HEADER_BYTES = 64 << 20  # the longest real ones (256k-token vocabularies) are near 20 MiB
MAX_KEYS = 4096  # real files have under 100
MAX_TENSORS = 65_536  # real files have under 3,000
MAX_NAME_BYTES = 1024  # ggml itself stops at 64 for tensors
MAX_TEXT_BYTES = 1 << 20  # a chat template; anything longer is not metadata we read
MAX_KEPT_ITEMS = 4096  # per-layer arrays; a tokenizer's are longer and not needed
MAX_DIMS = 4  # GGML_MAX_DIMS
MAX_ELEMENTS = 1 << 48  # of one tensor: 256 T numbers

_STRING, _ARRAY = 8, 9
# Scalar types of the format: code -> (struct letter, bytes).
_SCALARS: dict[int, tuple[str, int]] = {
    0: ("B", 1), 1: ("b", 1), 2: ("H", 2), 3: ("h", 2), 4: ("I", 4), 5: ("i", 4),
    6: ("f", 4), 7: ("?", 1), 10: ("Q", 8), 11: ("q", 8), 12: ("d", 8),
}  # fmt: skip


@final
class HeaderCut(CardError):
    """The bytes end inside the header: read more of the file, or it is truncated."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What a file says about itself. `end` is where the header stops."""

    version: int
    metadata: dict[str, object]
    tensors: tuple[Tensor, ...]
    end: int
    data_bytes: int  # from the start of the weights to the end of the last tensor
    alignment: int


@final
class Cursor:
    """A place in the bytes that only moves forward and never past the end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def skip(self, size: int, field: str) -> int:
        """Step over `size` bytes; where they began."""
        start = self.at
        if size > len(self.data) - start:
            raise HeaderCut(field, "the file ends in the middle of its header")
        self.at = start + size
        return start

    def number(self, letter: str, size: int, field: str) -> object:
        """One little-endian scalar."""
        start = self.skip(size, field)
        found: tuple[object, ...] = struct.unpack_from("<" + letter, self.data, start)
        return found[0]

    def count(self, size: int, limit: int, field: str) -> int:
        """An unsigned number that must not exceed `limit`."""
        start = self.skip(size, field)
        value = int.from_bytes(self.data[start : start + size], "little")
        if value > limit:
            raise CardError(field, f"{value} is more than the {limit} allowed")
        return value

    def text(self, limit: int, field: str) -> str:
        """A length and that many bytes of UTF-8."""
        size = self.count(8, limit, field)
        start = self.skip(size, field)
        return self.data[start : start + size].decode("utf-8", "replace")


def _array(cursor: Cursor, key: str) -> object:
    """A short list of scalars; None for one stepped over (strings, or a tokenizer's)."""
    kind = cursor.count(4, 12, key)
    length = cursor.count(8, MAX_HEADER_BYTES, key)
    if kind == _ARRAY:
        raise CardError(key, "an array of arrays is not metadata llama.cpp reads")
    if kind == _STRING:
        for _ in range(length):
            cursor.skip(cursor.count(8, MAX_HEADER_BYTES, key), key)
        return None
    letter, size = _SCALARS[kind]
    if length > MAX_KEPT_ITEMS:
        cursor.skip(length * size, key)
        return None
    return [cursor.number(letter, size, key) for _ in range(length)]


def _value(cursor: Cursor, key: str) -> object:
    kind = cursor.count(4, 12, key)
    if kind == _STRING:
        return cursor.text(MAX_TEXT_BYTES, key)
    if kind == _ARRAY:
        return _array(cursor, key)
    letter, size = _SCALARS[kind]
    return cursor.number(letter, size, key)


def _metadata(cursor: Cursor, count: int) -> dict[str, object]:
    out: dict[str, object] = {}
    for _ in range(count):
        key = cursor.text(MAX_NAME_BYTES, "metadata key")
        if key in out:
            raise CardError(key, "appears twice")
        out[key] = _value(cursor, key)
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
    columns, rows = 1, 1
    for i in range(dims):
        size = cursor.count(8, MAX_ELEMENTS, name)
        columns, rows = (size, rows) if i == 0 else (columns, rows * size)
        if columns * rows > MAX_ELEMENTS:
            raise CardError(name, "has more numbers than any tensor can")
    code = cursor.count(4, 1 << 31, name)
    offset = cursor.count(8, 1 << 62, name)
    kind = TYPE_NAMES.get(code, "")
    if not kind:
        raise CardError(name, f"block type {code} is not supported yet")
    per_block, size = BLOCKS[kind]
    if dims < 1 or columns < 1 or rows < 1 or columns % per_block != 0:
        raise CardError(name, f"a row of {columns} is no whole number of {kind} blocks")
    shape = Tensor(
        name=name, columns=columns, rows=rows, dims=dims, layer=layer_of(name), type_name=kind
    )
    return shape, offset, columns // per_block * size * rows


def parse_header(data: bytes) -> GgufHeader:
    """The header at the start of `data`; HeaderCut when it goes on beyond it."""
    cursor = Cursor(data)
    start = cursor.skip(4, "magic")
    if data[start : start + 4] != b"GGUF":
        raise CardError("magic", "this is not a GGUF file")
    version = cursor.count(4, 1 << 32, "version")
    if version not in (2, 3):
        raise CardError("version", f"GGUF version {version} is not supported, only 2 and 3")
    tensor_count = cursor.count(8, MAX_TENSORS, "tensor count")
    metadata = _metadata(cursor, cursor.count(8, MAX_KEYS, "key count"))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment > 1 << 20:
        raise CardError("general.alignment", f"{alignment} is not an alignment")
    tensors: list[Tensor] = []
    names: set[str] = set()
    last = 0
    for _ in range(tensor_count):
        tensor, offset, size = _tensor(cursor)
        if tensor.name in names:
            raise CardError(tensor.name, "appears twice")
        names.add(tensor.name)
        tensors.append(tensor)
        last = max(last, offset + size)
    return GgufHeader(
        version=version, metadata=metadata, tensors=tuple(tensors), end=cursor.at,
        data_bytes=last, alignment=alignment,
    )  # fmt: skip
