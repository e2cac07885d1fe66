"""How what became of a model is said, and a call handed from a thread to the loop."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mesh.api.errors import RequestError
from mesh.edge.models.around import Copy
from mesh.edge.models.local import Here

Progress = Callable[[int, int], None]  # verified bytes, all bytes


def on_loop(progress: Progress) -> Progress:
    """The same call, from another thread."""
    loop = asyncio.get_running_loop()
    return lambda got, size: _ignore(loop.call_soon_threadsafe(progress, got, size))


def _ignore(_: object) -> None:
    return None


def seen(task: asyncio.Task[Path]) -> None:
    """Its row says how it ended; nobody need wait for it."""
    if not task.cancelled():
        task.exception()


def is_here(here: Here) -> dict[str, object]:
    """The row of a fetch that is not needed."""
    return {
        "id": here.id,
        "name": here.identity.name,
        "state": "here",
        "size_bytes": here.identity.size_bytes,
        "path": str(here.model.path),
    }


def only_content(copies: list[Copy], ref: str) -> Copy:
    """The nearest copy of the one content that is meant."""
    ids = {one.identity.quick_hash: one for one in reversed(copies)}
    if len(ids) > 1:
        said = [
            f"{one.identity.name} ({key[:12]}) at {one.member.name}" for key, one in ids.items()
        ]
        text = f"{ref!r} means several models: {', '.join(said[:4])}"
        raise RequestError("Ambiguous", text, "name its id, or --from PEER")
    roots = sorted({one.identity.root for one in copies if one.identity.root})
    if len(roots) > 1:
        text = f"copies of {ref!r} at several peers differ: one is damaged, or forged"
        raise RequestError("Mismatch", text, "fleet models --where -o json shows their roots", 409)
    # What one peer knows of the whole content is demanded of whichever sends it.
    identity = replace(copies[0].identity, root=roots[0] if roots else "")
    return replace(copies[0], identity=identity)


def refused(error: Exception) -> RequestError:
    """Any end of a fetch in words for a person."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, OSError):
        why = error.strerror or str(error) or type(error).__name__
        return RequestError("Disk", f"cannot keep the model: {why}", "free some disk space", 409)
    text, hint = str(getattr(error, "text", error)), str(getattr(error, "hint", ""))
    return RequestError(type(error).__name__, text, hint, 409)
