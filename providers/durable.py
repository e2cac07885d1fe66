"""Small JSON files that are whole or absent, also after a power cut."""

import json
import os
from pathlib import Path


def read_json(path: Path) -> dict[str, object] | None:
    """The object in `path`; None when there is no such file or it isn't an object."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, object]) -> None:
    """Replace `path` in one step; readable by its owner only."""
    _written(path, value).replace(path)
    _settle(path.parent)


def private_file(path: Path, flags: int) -> int:
    """A descriptor of a file that its owner alone reads, made if it is not there."""
    return os.open(path, flags | os.O_WRONLY | os.O_CREAT, 0o600)


def claim_json(path: Path, value: dict[str, object]) -> bool:
    """Create `path` whole; False when someone was first. Of many callers one gets True."""
    draft = _written(path, value)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _settle(path.parent)
    return True


def _written(path: Path, value: dict[str, object]) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(json.dumps(value, sort_keys=True).encode())
        out.flush()
        os.fsync(out.fileno())
    return draft


def _settle(folder: Path) -> None:
    """A rename is durable once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
