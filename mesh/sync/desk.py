"""Who is fetching what: several neighbours offer the same events, one is enough."""

from __future__ import annotations

from typing import Final

# A neighbour that has not answered by now is passed over for another that has the same.
PATIENCE_MS: Final = 10_000


class Desk:
    """Claims on authors, shared by the sessions of one peer. Any clock in ms will do."""

    def __init__(self) -> None:
        self._claims: Final[dict[str, tuple[object, int]]] = {}

    def claim(self, author: str, who: object, now: int) -> bool:
        """Take or renew the claim on an author; False while another's is fresh."""
        held = self._claims.get(author)
        if held is not None and held[0] is not who and now < held[1] + PATIENCE_MS:
            return False
        self._claims[author] = (who, now)
        return True

    def drop(self, author: str, who: object) -> None:
        """Give a claim back."""
        if author in self._claims and self._claims[author][0] is who:
            del self._claims[author]

    def leave(self, who: object) -> None:
        """Give all claims of a session back."""
        for author in [a for a, (holder, _) in self._claims.items() if holder is who]:
            del self._claims[author]
