"""Reads the header of GGUF files from disk: only as much of them as there is header."""

import os
from pathlib import Path

from mathcore.formats.gguf import makes_vectors
from mathcore.gguf.header import GgufHeader, fetch_header, leap_header
from mathcore.gguf.split import join_headers, shard_names
from mathcore.model.spec import SpecError


def read_header(path: Path) -> GgufHeader:
    """The header of one regular file; SpecError if it or its weights are cut short, OSError."""
    with path.open("rb") as file:

        def fetch(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        size = os.fstat(file.fileno()).st_size
        return whole(leap_header(fetch, size) or fetch_header(fetch), size)


def read_headers(path: Path) -> GgufHeader:
    """The header of the whole model `path` is a file of: the others lie beside it."""
    names = shard_names(path.name)
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        raise SpecError(missing[0], f"is missing: the model is split over {len(names)} files")
    return join_headers([read_header(path.parent / name) for name in names])


def is_for_vectors(path: Path) -> bool:
    """Whether a file's model makes vectors of texts; of what can't be read, its engine says why."""
    try:
        return makes_vectors(read_header(path))
    except (OSError, SpecError):
        return False


def whole(header: GgufHeader, size: int) -> GgufHeader:
    """The same header if a file of `size` bytes has room for all its weights."""
    start = -(-header.end // header.alignment) * header.alignment
    missing = start + header.data_bytes - size
    if missing > 0:
        raise SpecError("tensors", f"the file is cut short: {missing} bytes of weights are missing")
    return header
