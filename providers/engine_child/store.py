"""What each engine calls its model; one that keeps models itself is handed the file first."""

import hashlib
from pathlib import Path
from typing import Final

from providers.engine import ollama
from providers.engine.setup import Engine, Setup
from providers.engine_child.asking import Server

CHUNK_BYTES: Final = 4 << 20


def hand_over(engine: Engine, setup: Setup, server: Server) -> str:
    """What requests call the model; first given to an engine that takes no path."""
    if engine.dialect == "ollama":
        return _to_ollama(Path(setup.model_path), server)
    if engine.name == "mlx":
        return setup.model_path  # mlx-lm knows no other name for what it was started with
    return setup.name


def _to_ollama(path: Path, server: Server) -> str:
    """Its bytes, unless it has them, and a name for them."""
    digest = ollama.blob_of(str(path.resolve())) or _digest(path)
    blob = f"/api/blobs/sha256:{digest}"
    if server.status_of("HEAD", blob) != 200:
        server.upload(blob, path)
    server.call("POST", "/api/create", ollama.create(digest))
    return ollama.created_name(digest)


def _digest(path: Path) -> str:
    made = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            made.update(chunk)
    return made.hexdigest()
