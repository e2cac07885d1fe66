"""A model of files whose identity nothing remembers."""

from collections.abc import Sequence

from providers.models.identity import (
    ModelFile,
    ModelIdentity,
    Part,
    joined_quick_hash,
    quick_hash_of_file,
)


def identity_of_parts(name: str, parts: Sequence[Part]) -> ModelIdentity:
    """The identity of files that are known to be one model; ModelError, OSError."""
    files = [
        (ModelFile(name=one.name, size_bytes=one.path.stat().st_size), quick_hash_of_file(one.path))
        for one in parts
    ]
    return ModelIdentity(
        name=name,
        size_bytes=sum(file.size_bytes for file, _ in files),
        quick_hash=joined_quick_hash(files),
        files=tuple(file for file, _ in files),
    )
