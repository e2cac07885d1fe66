"""The provider's time: a clock of ours that goes evenly, corrected by the Date of replies.

What our clock says is never read as a date: it may be wrong by years, and it stands still while a
laptop sleeps. So each reply is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from providers.rental.reading import date_ms

# A Date has whole seconds, and is of some moment between the request and its reply. What differs
# by more than this beyond that is a clock that jumped or stood still.
TOLERANCE_MS: Final = 3_000
SECOND_MS: Final = 1_000
# A correction larger than this is believed once a second reply in a row says the same: one cached
# page, or one server of theirs with a wrong clock, ends no machine and begins no new day of a cap.
JUMP_MS: Final = 60_000


@final
class AccountClock:
    """`own` is any clock in ms that goes evenly. Until a Date was heard `now` is that clock's."""

    def __init__(self, own: Callable[[], int]) -> None:
        self._own: Final = own
        self._offset = 0
        self._doubted: int | None = None  # another offset, which one reply alone said
        self.known = False

    @property
    def in_doubt(self) -> bool:
        """Whether the last reply said quite another time, and no second one did yet."""
        return self._doubted is not None

    def own(self) -> int:
        """This machine's clock."""
        return self._own()

    def now(self) -> int:
        """The provider's time, ms UTC."""
        return self._own() + self._offset

    def at(self, own_ms: int) -> int:
        """The provider's time when ours was that."""
        return own_ms + self._offset

    def hear(self, date: str, sent_own_ms: int) -> int:
        """Take a reply's Date; by how much `now` moved."""
        heard = date_ms(date)
        if heard is None:
            return 0
        early = self.at(sent_own_ms) - TOLERANCE_MS
        late = self.now() + TOLERANCE_MS
        if self.known and early <= heard + SECOND_MS and heard <= late:
            self._doubted = None
            return 0
        moved = heard - self.now()
        if self._is_alone(moved):
            return 0
        self._offset += moved
        self.known = True
        return moved

    def _is_alone(self, moved: int) -> bool:
        """Whether a correction is large and the reply before did not say the same; the first time
        that is ever heard is a large one."""
        before, self._doubted = self._doubted, None
        offset = self._offset + moved
        if self.known and abs(moved) <= JUMP_MS:
            return False
        if before is not None and abs(offset - before) <= JUMP_MS:
            return False
        self._doubted = offset
        return True
