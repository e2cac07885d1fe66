"""The numbers of a sweep's axis as people write them: "1,2,4..64", "1..64/1", "2k..128k"."""

from collections.abc import Iterator
from typing import Final

from mathcore.units import parse_count
from mesh.api.fields import MAX_BATCH, MAX_CONTEXT, refuse

# Numbers on one axis; the cells of all axes together are bounded by mathcore.planner.grids.
MAX_AXIS: Final = 65_536


def parse_numbers(text: str, what: str) -> list[int]:
    """Ascending numbers of "1,2,4..64" (doubling), "1..64/1" (in steps), "2k,128k" (k = 1,024).

    RequestError names the axis, `what`: one of contexts if it says "context".
    """
    found: set[int] = set()
    for part in text.split(","):
        first, dots, rest = part.partition("..")
        last, slash, step = rest.partition("/")
        low = _number(first, what)
        high = _number(last, what) if dots else low
        by = _number(step, what) if slash else 0
        if high < low:
            refuse(f"{what}: {part.strip()!r} runs backwards", "say 1..64")
        count = (high - low) // by if by else (high // low).bit_length()
        if count + len(found) > MAX_AXIS:
            refuse(f"{what}: {part.strip()!r} is more than {MAX_AXIS} numbers", "larger steps")
        found.update(_between(low, high, by))
    return sorted(found)


def _between(low: int, high: int, by: int) -> Iterator[int]:
    """From low to high, both included: doubling, or in steps."""
    at = low
    while at < high:
        yield at
        at = at + by if by else at * 2
    yield high


def _number(text: str, what: str) -> int:
    try:
        number = parse_count(text)
    except ValueError:
        refuse(f"{what}: {text.strip()[:40]!r} is not a number", "say 1,2,4..64 or 2k..128k")
    most = MAX_CONTEXT if "context" in what else MAX_BATCH
    if not 1 <= number <= most:
        refuse(f"{what}: {text.strip()} is not between 1 and {most}", "fleet sweep --help")
    return number
