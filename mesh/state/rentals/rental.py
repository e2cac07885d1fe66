"""What a rental is: what was intended, where it stands, what was seen of it, its money."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, final

from mesh.state.facts.fact import Payload
from mesh.state.rentals.money import Meter
from mesh.state.rentals.terms import (
    ABSENT,
    BOOTS,
    GRACE_MS,
    HELP_MS,
    OWN_HELP_MS,
    RETURNING,
    UP,
)

# The year 9999, as the ledger's clock: a time or turn beyond is not read.
MAX_MS: Final = 253_402_300_799_999
# Characters of a text that is shown: an event may have 64 KiB, and an author thousands of rentals.
MAX_TEXT: Final = 400


def cut(text: str) -> str:
    """As much of a text as is kept."""
    return text[:MAX_TEXT]


@final
@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event as its rental sees it."""

    turn: int
    at_ms: int
    author: str
    seq: int
    id: str
    kind: str = field(compare=False)
    payload: Payload = field(compare=False)


@final
@dataclass(slots=True)
class Rental:
    """One rental as folded. Times are the provider's clock, ms UTC, 0 = not yet; rates nano-dollars
    an hour. `author` is "" for a machine that was found without its intent."""

    rental_id: str
    provider: str
    account: str
    # What was intended.
    request_id: str = ""
    job_id: str = ""
    author: str = ""
    label: str = ""
    epoch: int = 0
    attempt: int = 0
    offer_id: str = ""
    gpu: str = ""
    gpu_count: int = 0
    memory_bytes: int = 0
    region: str = ""
    host_id: str = ""
    host_key: str = ""
    spot: bool = False
    quote_nusd: int = 0
    reserved_nusd: int = 0
    life_ms: int = 0
    made_ms: int = 0
    expires_ms: int = 0
    # Where it stands.
    state: str = ""  # "" = its intent is not here
    why: str = ""
    since_ms: int = 0
    wanted: bool = True
    over: str = ""  # why it is returned
    returned_ms: int = 0  # when that was decided
    called_ms: int = 0
    settled_ms: int = 0  # the call is over: only listings begun later say anything of it
    refused: bool = False
    # What was seen.
    instance_id: str = ""
    status: str = ""
    price_nusd: int = 0
    rate_nusd: int = 0
    seen_ms: int = 0  # last sign of life
    last_ms: int = 0  # last seen before it was proved absent
    looked_ms: int = 0  # begin of the last listing that changed what is known of it
    step: int = 0  # how many of STEPS are reached
    step_ms: int = 0
    alarms: int = 0
    rises_refused: int = 0
    booted_ms: tuple[int, ...] = ()  # when each step was reached
    meter: Meter = field(default_factory=Meter)
    invoiced_nusd: int | None = None
    invoice_step_nusd: int = 0
    steps: list[Step] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether something is yet to be done about it."""
        return self.state not in ("", ABSENT)

    @property
    def is_twin(self) -> bool:
        """A second machine of another rental's label."""
        return "." in self.rental_id

    def turn(self, now_ms: int) -> int:
        """What the next event about it carries."""
        last = self.steps[-1].turn if self.steps else 0
        return min(MAX_MS, max(now_ms, last + 1))

    def said_by(self, peer: str) -> int:
        """How many events about it are a peer's."""
        return sum(step.author == peer for step in self.steps)

    def cost_nusd(self, now_ms: int, begin_ms: int = 0) -> int:
        """What it cost in [begin, now)."""
        return self.meter.cost(now_ms, begin_ms)

    def move(self, state: str, why: str, at_ms: int) -> None:
        """Be in a state for a reason."""
        self.state, self.why, self.since_ms = state, cut(why), at_ms


def rate_of(one: Rental, status: str, price_nusd: int, rate_nusd: int | None) -> int:
    """What a machine costs an hour in a status that a listing shows, at a price (0 = not said) and
    a rate (None = not said). Up, no machine is free. What is not said is the rate that was; of one
    that left its boot, or came up again, its price as far as anybody knows."""
    if rate_nusd is not None and (rate_nusd > 0 or status != UP):
        return max(0, rate_nusd)
    price = max(0, price_nusd) or one.price_nusd or one.quote_nusd
    turned = status != one.status and one.status != UP and status not in BOOTS
    if turned or (status == UP and price_nusd > 0):
        return price
    return one.rate_nusd or price


def may_help(one: Rental, now_ms: int, me: str = "") -> bool:
    """Whether a peer that does not have the account may act on it: it is over for everybody. Who
    rented it need not wait as long: whoever took the account from it may be no friend."""
    patience_ms = OWN_HELP_MS if me and me == one.author else HELP_MS
    late = not one.wanted and one.state in RETURNING and now_ms > one.returned_ms + patience_ms
    over_ms = one.made_ms + one.life_ms if me and me == one.author else one.expires_ms
    return now_ms > over_ms + GRACE_MS or late
