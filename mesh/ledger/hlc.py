"""The hybrid logical clock: wall time that never runs backwards along a chain.

Kulkarni et al., "Logical Physical Clocks", 2014; here with a bounded forward drift.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

# A peer whose clock runs ahead may pull ours along by this much and no further: laptops
# without NTP drift by seconds a day, so five minutes is generous, and a hostile date harmless.
MAX_DRIFT_MS: Final = 300_000
# Five digits in the text form. A peer writing faster than 100 events per microsecond borrows
# the next millisecond.
MAX_COUNTER: Final = 99_999
# The last millisecond of the year 9999, where RFC 3339 ends.
MAX_MS: Final = 253_402_300_799_999
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Stamp(NamedTuple):
    """A point in hybrid time, ordered as a tuple."""

    ms: int
    counter: int


ZERO: Final = Stamp(0, -1)


def send(last: Stamp, now: int) -> Stamp:
    """The stamp of our next event: at `now`, or just after `last` when the clock went back."""
    if now > last.ms:
        return Stamp(now, 0)
    if last.counter < MAX_COUNTER:
        return Stamp(last.ms, last.counter + 1)
    return Stamp(last.ms + 1, 0)


def receive(last: Stamp, remote: Stamp, now: int) -> Stamp:
    """Our clock after seeing `remote`; one too far ahead of `now` does not move it."""
    return last if remote.ms > now + MAX_DRIFT_MS else max(last, remote)


def render(stamp: Stamp) -> str:
    """The text form: 13 or more digits of milliseconds, a dash, 5 digits of counter."""
    return f"{stamp.ms:013d}-{stamp.counter:05d}"


@lru_cache(maxsize=16)  # an event's stamp is asked for by each step it passes
def parse(text: str) -> Stamp:
    """The stamp a text names; ValueError unless it is exactly what `render` writes."""
    ms, _, counter = text.partition("-")
    if not (13 <= len(ms) <= 15 and len(counter) == 5 and text.isascii()):
        raise ValueError(f"not a clock stamp: {text[:40]!r}")
    if not (ms.isdigit() and counter.isdigit()):
        raise ValueError(f"not a clock stamp: {text[:40]!r}")
    stamp = Stamp(int(ms), int(counter))
    if stamp.ms > MAX_MS or render(stamp) != text:
        raise ValueError(f"not a clock stamp: {text[:40]!r}")
    return stamp


def timestamp(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return f"{_to_the_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    return (EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
