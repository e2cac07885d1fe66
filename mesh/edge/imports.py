"""What a file brings is asked the same as what a neighbour sends: may this author write that?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mesh.ledger.gate import Admission, Reject
from mesh.sync.archive import Envelope
from mesh.sync.manifest import Admits
from mesh.sync.messages import MessageError, place_of

NO_MEMBER: Final = Reject(reason="its author may not write it: no member of this fleet, or removed")

TakeIn = Callable[[Sequence[Envelope]], Awaitable[Sequence[Admission]]]


async def take_in_members(
    envelopes: Sequence[Envelope], admits: Admits, take_in: TakeIn
) -> list[Admission]:
    """A verdict on each: first on those admitted now, then on those that they let in."""
    verdicts: dict[int, Admission] = {}
    left = list(range(len(envelopes)))
    while may := [number for number in left if _may_enter(envelopes[number], admits)]:
        taken = await take_in([envelopes[number] for number in may])
        verdicts.update(zip(may, taken, strict=True))
        left = [number for number in left if number not in verdicts]
    return [verdicts.get(number, NO_MEMBER) for number in range(len(envelopes))]


def _may_enter(envelope: Envelope, admits: Admits) -> bool:
    """The gate itself says what is wrong with bytes that name no place."""
    try:
        place = place_of(envelope[1])
    except MessageError:
        return True
    return admits(place.author, place.seq)
