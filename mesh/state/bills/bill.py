"""The whole bill: every line of every device, between two instants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mesh.state.bills.calendar import quarter
from mesh.state.bills.charges import Difference, call_lines, replaced
from mesh.state.bills.given import Given
from mesh.state.bills.inputs import Span
from mesh.state.bills.lines import Line
from mesh.state.bills.owned import owned_lines
from mesh.state.bills.rented import rented_lines


@final
@dataclass(frozen=True, slots=True)
class Bill:
    """Lines by device and time, and by how much charges changed what was known.

    Of a device id that was both owned and rented the rentals count.
    """

    lines: list[Line]
    differences: list[Difference]


def bill(given: Given, now_ms: int, since_ms: int | None = None) -> Bill:
    """What was spent up to `now_ms`, from the quarter-hour of `since_ms` on; None: from the first.

    `since_ms` changes no line after it.
    """
    start = None if since_ms is None else quarter(since_ms)
    lines: list[Line] = []
    differences: list[Difference] = []
    for device in given.devices():
        theirs, kept = replaced(
            _reckoned(given, device, now_ms, start),
            [one for one in given.charges.get(device, ()) if one.from_ms < now_ms],
        )
        lines += [one for one in theirs if start is None or one.at_ms >= start]
        differences += [one for one in kept if start is None or one.charge.to_ms > start]
    return Bill(lines, differences)


def _reckoned(given: Given, device: str, now_ms: int, start: int | None) -> list[Line]:
    """A device's lines before charges; all those also that a charge spreads over."""
    if any(one.from_ms < now_ms for one in given.rentals.get(device, ())):
        found = list(rented_lines(given, device, now_ms, _since(given, device, start)))
    else:
        found = list(owned_lines(given, device, _window(given, device, now_ms, start)))
    for call in given.calls.get(device, ()):
        if call.at_ms < now_ms:
            found += call_lines(call)
    return found


def _window(given: Given, device: str, now_ms: int, start: int | None) -> Span:
    """From `start`, or from the first charge, or from as early as there is anything."""
    firsts = [one.from_ms for one in given.rates.get(device, ())]
    firsts += [one.spans[0][0] for one in given.runs.get(device, ())]
    since = _since(given, device, start)
    return quarter(min(firsts, default=now_ms)) if since is None else since, now_ms


def _since(given: Given, device: str, start: int | None) -> int | None:
    """From where on lines are made: from `start`, or the first charge, which spreads over them."""
    if start is None:
        return None
    return quarter(min([start, *(one.from_ms for one in given.charges.get(device, ()))]))
