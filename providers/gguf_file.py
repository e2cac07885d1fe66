"""Reads the header of a GGUF file from disk: only as much of it as there is header."""

import os
from pathlib import Path

from mathcore.gguf import MAX_HEADER_BYTES, GgufHeader, HeaderCut, parse_header
from mathcore.model import CardError

FIRST_READ_BYTES = 1 << 20  # enough for a small vocabulary; then four times as much


def read_header(path: Path) -> GgufHeader:
    """The header of a regular file; CardError if it or its weights are cut short, OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        want = FIRST_READ_BYTES
        while True:
            file.seek(0)
            data = file.read(min(want, MAX_HEADER_BYTES))
            try:
                header = parse_header(data)
            except HeaderCut:
                if len(data) >= min(size, MAX_HEADER_BYTES):
                    raise
                want *= 4
                continue
            return _whole(header, size)


def _whole(header: GgufHeader, size: int) -> GgufHeader:
    start = -(-header.end // header.alignment) * header.alignment
    missing = start + header.data_bytes - size
    if missing > 0:
        raise CardError("tensors", f"the file is cut short: {missing} bytes of weights are missing")
    return header
