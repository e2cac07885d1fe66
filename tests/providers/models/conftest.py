"""Small files that begin as models do."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from providers.models import manifest

Write = Callable[..., Path]


@pytest.fixture
def gguf() -> Write:
    """Writes a file of a given size that begins as a GGUF; its bytes are noise of a seed."""

    def write(path: Path, size: int = 100_000, fill: bytes = b"") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"GGUF" + (fill or os.urandom(size - 4)))
        return path

    return write


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of 64 KiB, so that a small file has many."""
    size = 64 << 10
    for name in ("providers.models.manifest", "providers.models.incoming"):
        monkeypatch.setattr(f"{name}.CHUNK_BYTES", size)
    manifest.zeros_hash.cache_clear()
    return size
