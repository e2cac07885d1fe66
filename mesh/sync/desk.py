"""Who is fetching what: several neighbours offer the same events, one is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

# A neighbour that has not answered by now is passed over for another that has the same.
PATIENCE_MS: Final = 10_000
# A claim lasts as long as it is worth its time: each new event, or each new KiB of them, earns
# its holder this much more, up to PATIENCE_MS ahead. So less than 50 events and less than 32 KiB
# a second lose it to whoever wants the same. A batch that is not the last (1,000 events or
# 1 MiB) earns all of PATIENCE_MS, so a neighbour that answers in time keeps what it began.
MS_PER_EVENT: Final = 20
MS_PER_KIB: Final = 32
# Who was passed over gives way to any other for this long: else each new stretch would begin
# with PATIENCE_MS of waiting for it.
SLOW_MS: Final = 600_000
# Neighbours remembered as slow: more than there are links. The oldest is forgotten.
MAX_SLOW: Final = 64


@final
@dataclass(eq=False, frozen=True, slots=True)
class Holder:
    """One session, as the desk knows it; `peer` outlives the connection."""

    peer: str = ""


@final
@dataclass(slots=True)
class _Claim:
    """Good until `until`; from `given_back` on (if that is known) it only remembers."""

    holder: Holder
    until: int
    given_back: int | None = None


class Desk:
    """Claims on authors, shared by the sessions of one peer. Any clock in ms will do."""

    def __init__(self) -> None:
        self._claims: Final[dict[str, _Claim]] = {}
        self._slow: Final[dict[str, int]] = {}  # peers that were passed over, and until when

    def claim(self, author: str, who: Holder, now: int) -> bool:
        """Take a claim on an author; False while another's is worth its time.

        Who had it a moment ago goes on with the time it had left, so that asking in many small
        pieces earns nothing.
        """
        held = self._claims.get(author)
        if held is None or (held.holder is not who and held.given_back is not None):
            self._claims[author] = _Claim(who, now + PATIENCE_MS)
        elif held.holder is who:
            _go_on(held, now)
        elif now < held.until and not (self._slower(held.holder, who, now)):
            return False
        else:
            self._pass_over(held, now)
            self._claims[author] = _Claim(who, now + PATIENCE_MS)
        return True

    def keep(self, author: str, who: Holder, now: int, *, events: int, size: int) -> bool:
        """Go on after new events of so many bytes; False where another has the claim by now."""
        held = self._claims.get(author)
        if held is None or held.holder is not who:
            return False
        earned = events * MS_PER_EVENT + size * MS_PER_KIB // 1024
        held.until = now + min(PATIENCE_MS, max(0, held.until - now) + earned)
        return True

    def drop(self, author: str, who: Holder, now: int) -> None:
        """Give a claim back."""
        held = self._claims.get(author)
        if held is not None and held.holder is who:
            held.given_back = now

    def leave(self, who: Holder) -> None:
        """Give all claims of a session back."""
        for author in [a for a, held in self._claims.items() if held.holder is who]:
            del self._claims[author]

    def _slower(self, one: Holder, other: Holder, now: int) -> bool:
        return self._slow.get(one.peer, 0) > now >= self._slow.get(other.peer, 0)

    def _pass_over(self, held: _Claim, now: int) -> None:
        """Another takes the claim over: its holder was too slow, or still is known to be."""
        if now < held.until:
            return
        self._slow.pop(held.holder.peer, None)
        self._slow[held.holder.peer] = now + SLOW_MS
        if len(self._slow) > MAX_SLOW:
            del self._slow[next(iter(self._slow))]


def _go_on(held: _Claim, now: int) -> None:
    """The same holder again: the time it had left, and what passed since it gave the claim back."""
    if held.given_back is not None:
        left = max(0, held.until - held.given_back) + now - held.given_back
        held.until, held.given_back = now + min(PATIENCE_MS, left), None
