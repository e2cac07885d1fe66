"""How long a 429 holds: the longest of all windows it names.

Shapes seen: `Retry-After` in seconds or as a date, several joined by ", "; RunPod's
`RateLimit: "minute";r=0;t=12, "hour";…` where each window with r=0 holds for its t; Vast.ai's
"…threshold=3.0" in the text, whose penalty is that much and 12 s more on a create; a daily quota,
until UTC midnight; or nothing at all.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from providers.rental.contract import Reply
from providers.rental.reading import date_ms

DAY_MS: Final = 86_400_000
PENALTY_MS: Final = 12_000  # Vast.ai adds as much
LEAST_MS: Final = 5_000  # nothing said: doubled with each failure, up to the most
MOST_MS: Final = 60_000
MAX_RETRY_AFTER_S: Final = 86_400  # beyond a day it is no wait but nonsense
MAX_SAID: Final = 1000  # characters of a text that are read
MAX_WORDS: Final = 16  # texts of an object
QUOTA: Final = "search_quota_exceeded"
_WINDOW: Final = re.compile(r'"[^"]*"\s*;\s*r=(\d{1,9})\s*;\s*t=(\d{1,9})')
# RFC 9110: seconds, whole there and with a fraction by some; or an IMF-fixdate.
_SECONDS: Final = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)
_DATE: Final = re.compile(r"[A-Za-z]{3}, \d{2} [A-Za-z]{3} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
_THRESHOLD: Final = re.compile(r"threshold=(\d{1,5}(?:\.\d{1,3})?)")


def hold_ms(reply: Reply, fails: int, now_ms: int) -> int:
    """For how long nothing of the kind may be sent; 0 where nothing forbids it. `fails`: how often
    in a row it was said before. `now_ms`: UTC."""
    if reply.status != 429:
        return 0
    if why_held(reply) == "quota":
        return DAY_MS - now_ms % DAY_MS
    named = [*_retry_after(reply), *_windows(reply), *_threshold(reply)]
    return max(named, default=min(MOST_MS, LEAST_MS << min(fails, 8)))


def why_held(reply: Reply) -> str:
    """Why a 429 came: "quota" where the day's questions are used up, else "429"."""
    return "quota" if QUOTA in _said(reply) else "429"


def _said(reply: Reply) -> str:
    """The words of a 429: the text, or the texts of its object; a body may be of any depth and
    size."""
    body = reply.body
    words = body.values() if isinstance(body, dict) else (body,)
    return " ".join(one[:MAX_SAID] for one in islice(words, MAX_WORDS) if isinstance(one, str))


def _retry_after(reply: Reply) -> list[int]:
    """Each wait that the header names; what is none, as a date that is over, names nothing."""
    said = reply.headers.get("retry-after", "")[:MAX_SAID]
    dates = _DATE.findall(said)
    found = [_seconds_ms(one.strip()) for one in _DATE.sub("", said).split(",")]
    found += [_until_ms(one, reply) for one in dates]
    return [min(ms, 1000 * MAX_RETRY_AFTER_S) for ms in found if ms is not None]


def _seconds_ms(said: str) -> int | None:
    """Rounded up to the millisecond."""
    found = _SECONDS.fullmatch(said)
    if found is None:
        return None
    whole, part = int(found[1]), (found[2] or "").ljust(9, "0")
    return 1000 * whole - -int(part) // 1_000_000


def _until_ms(said: str, reply: Reply) -> int | None:
    """From the reply's own Date on: no other clock is the one by which they count."""
    until_ms, now_ms = date_ms(said), date_ms(reply.headers.get("date", ""))
    if until_ms is None or now_ms is None or until_ms < now_ms:
        return None
    return until_ms - now_ms


def _windows(reply: Reply) -> list[int]:
    found = _WINDOW.findall(reply.headers.get("ratelimit", ""))
    return [1000 * min(int(t), MAX_RETRY_AFTER_S) for r, t in found if int(r) == 0]


def _threshold(reply: Reply) -> list[int]:
    found = _THRESHOLD.search(_said(reply))
    return [] if found is None else [int(1000 * float(found[1])) + PENALTY_MS]
