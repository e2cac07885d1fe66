"""When a starting peer may sign: once it knows that its ledger holds its own chain's end.

A ledger restored from a backup, or lost, ends too early; whoever signs on from there signs a second
history, which freezes the key for good. The neighbours know better, and so may the mark outside
the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, final

from mesh.edge.disk import StoreError
from mesh.state.members import Members
from mesh.sync.manifest import Tip

# A claim that we signed more than we hold is proved by its events. One that nobody delivers for
# this long, while another neighbour has no more than we have, holds us up no longer: a sync of
# millions goes on meanwhile and renews it, and a member that lies must not keep a key silent.
CLAIM_S: Final = 60.0

# Claims kept: one of each neighbour, and some of neighbours that came and went.
MAX_CLAIMS: Final = 64

# What is signed in the future can't be taken back: every later event of this key comes after it. A
# laptop drifts by seconds a day, a wrong time zone is hours.
MAX_AHEAD_MS: Final = 3_600_000
CLOCK: Final = "its clock"

Has = Callable[[Tip], bool]


@final
class NotHeard(StoreError):
    """This peer signs nothing yet; `text` says what it waits for."""

    code: Final = "NotHeard"
    status: Final = 503

    def __init__(self, waiting_for: str) -> None:
        first = "bring a member in reach; where there is none"
        if waiting_for.startswith(CLOCK):
            first = "set this machine's clock; where the others' are wrong"
        hint = f"{first}: fleet down; fleet up --alone"
        super().__init__(f"this peer signs nothing yet: it waits for {waiting_for}", hint)


@final
class Hearing:
    """What is still to be heard or fetched before the first own event; `now_s` is any clock.

    `has` says whether the ledger holds what an own tip names. `asks`: some neighbour has to say
    where our chain ends. `mark` is the newest own event noted outside the ledger. `alone`: a person
    says that there is nobody to hear. `copied`: the home came out of a backup.
    """

    def __init__(
        self,
        has: Has,
        *,
        asks: bool,
        mark: Tip | None,
        alone: bool = False,
        copied: bool = False,
    ) -> None:
        self._has: Final = has
        self._asks = asks or copied
        self._copied: Final = copied
        self._mark = None if mark is None or has(mark) else mark
        self._claims: dict[Tip, None] = {}  # what neighbours say we signed, and is not here
        self._until_s = 0.0  # claims count until then, once any neighbour has no more than we
        self._alone = alone
        self._signed = False
        self.restored: Final = copied or self._mark is not None

    def begin(self) -> None:
        """We join a fleet, whatever we signed alone: its members may have known us before.

        A mark that a person had us pass over stays so.
        """
        self._mark = None if self._alone else self._mark
        self._asks, self._signed, self._alone = True, False, False

    def heard(self, tip: Tip, now_s: float) -> None:
        """A neighbour says where our chain ends, seq 0 for nowhere."""
        if self._signed:
            return
        if tip.seq == 0 or self._has(tip):
            self._asks = False
        elif len(self._claims) < MAX_CLAIMS:
            self._until_s = self._until_s or now_s + CLAIM_S
            self._claims[tip] = None

    def stored(self, now_s: float) -> None:
        """Own events came in, from a neighbour that kept them."""
        if self._signed:
            return
        self._until_s = now_s + CLAIM_S
        left = {tip: None for tip in self._claims if not self._has(tip)}
        self._asks = self._asks and len(left) == len(self._claims)
        self._claims = left
        if self._mark is not None and self._has(self._mark):
            self._mark = None

    @property
    def lacks_mark(self) -> bool:
        """Whether the event noted outside the ledger is missing, and nothing was signed since."""
        return self._mark is not None and not self._signed

    def signed(self) -> None:
        """An own event was signed: whatever was missing, this history goes on."""
        self._signed = True

    def waiting_for(self, now_s: float) -> str:
        """What is missing, for a person; "" where this peer may sign."""
        if self._alone or self._signed:
            return ""
        known = [*self._claims, *([self._mark] if self._mark else [])]
        last = max((tip.seq for tip in known), default=0)
        if self._mark is not None:
            return f"its own event {last}: this ledger is older than it was, restored or lost"
        if self._claims and (self._asks or now_s < self._until_s):
            return f"its own event {last}, which a member holds and this ledger does not"
        if not self._asks:
            return ""
        text = "a member that says how far its own events go"
        return f"{text}: it was restored from a backup" if self._copied else text


def clock_fault(skews_ms: Sequence[int]) -> str:
    """What is wrong with our clock, by the neighbours' minus ours; "" where one agrees or none is
    there. One that is behind does no harm."""
    ahead = -max(skews_ms, default=0)
    if ahead <= MAX_AHEAD_MS:
        return ""
    return f"{CLOCK} to be set: it is {ahead // 3_600_000} h ahead of every neighbour's"


def has_others(members: Members, me: str, introducer: str) -> bool:
    """Whether a fleet has anybody else in it; one that the ledger knows nothing of has.

    Of a founder's fleet a ledger from before it knows the founder: who let that in again is not
    there.
    """
    lost = not members.seen(members.root) or (introducer != "" and not members.seen(introducer))
    return lost or any(one.role and one.author != me for one in members.peers())
