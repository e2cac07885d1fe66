"""What a server's job says of itself: its answer is how it stands, a JSON object to a line.

The same file comes home from another peer's device, so owner and home read it alike.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, final

import msgspec

from mesh.api.errors import RequestError
from mesh.edge.jobs.private import folder_of
from providers.engine.llamacpp import ANSWER_FILE

# A line is some 300 bytes, and a server that changes its state all day writes hundreds.
TAIL_BYTES: Final = 16 << 10


@final
class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a server stands. `url` is on its owner's loopback; `key` is asked of who uses it."""

    state: Literal["serving", "unwell", "stopped"]
    url: Annotated[str, msgspec.Meta(pattern=r"^http://127\.0\.0\.1:\d{1,5}$")]
    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{0,128}$")] = ""
    model: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    engine: Annotated[str, msgspec.Meta(max_length=40)] = ""
    slots: Annotated[int, msgspec.Meta(ge=0)] = 0
    context: Annotated[int, msgspec.Meta(ge=0)] = 0
    load_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    at_ms: Annotated[int, msgspec.Meta(ge=0)] = 0


def standing(home: Path, job_id: str) -> Standing | None:
    """How the newest attempt of a server's job stands, as far as it is known here."""
    try:
        folder = folder_of(home, job_id)
    except RequestError:
        return None
    numbers = [int(one.parent.name) for one in folder.glob(f"*/{ANSWER_FILE}") if _is_attempt(one)]
    if not numbers:
        return None
    return last_of(_tail(folder / str(max(numbers)) / ANSWER_FILE))


def last_of(data: bytes) -> Standing | None:
    """The last whole line that is one; None where none is."""
    for raw in reversed(data.split(b"\n")[:-1]):
        try:
            return msgspec.json.decode(raw, type=Standing)
        except (msgspec.MsgspecError, RecursionError):
            continue
    return None


def _is_attempt(path: Path) -> bool:
    return path.parent.name.isascii() and path.parent.name.isdigit()


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read(TAIL_BYTES)
    except OSError:
        return b""
