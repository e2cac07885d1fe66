"""What decisions about rentals are made of, besides the ledger: who asks, and what this process
has seen. Times are the provider's clock, ms UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, final

from providers.rental.contract import Offer, Op, Profile

NEVER_MS: Final = -(1 << 60)
# A machine answers with another host key than it was given: for a moment that is its own, until
# what its create brought has run.
HOST_KEY: Final = "host_key"
SETUP_FAILED: Final = "setup_failed"
LIFE_OVER: Final = "life_over"

Do = Literal[
    "take", "record", "terminate", "list", "create", "probe", "rises", "choose", "intend",
    "charges", "wait",
]  # fmt: skip
# What is due is done in this order. Listings come before ends, each of which puts them off: they
# alone prove that a machine is gone, and are due every 15 s while ends of many are due always.
RANK: Final[dict[str, int]] = {
    one: at
    for at, one in enumerate(
        ("take", "record", "list", "terminate", "create", "probe", "rises", "choose", "intend",
         "charges", "wait")
    )
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What this peer may spend; None = no cap. By UTC day over all accounts, by UTC month over
    all at this provider. Each peer has a share of its own, so that no two can spend it twice."""

    day_nusd: int | None = None
    month_nusd: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """Who decides: this peer, the fleet's short name for labels, the provider, the caps.

    `was`: what the fleet was called before, in labels that may still be there. `askers`: whose
    requests are met beside this peer's own and those of peers that it gave the account."""

    peer: str
    mesh: str
    profile: Profile
    shares: Shares
    was: tuple[str, ...] = ()
    askers: frozenset[str] = frozenset()


class Say(NamedTuple):
    """A fact to be made durable; `fields` are its struct's own, without account, turn and time."""

    kind: str
    rental_id: str
    fields: Mapping[str, object]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What comes next; `at_ms` is when it is due. Of a "record" `says` is written, of an "intend"
    after the keys are made."""

    op: Do
    at_ms: int = 0
    rental_id: str = ""
    request_id: str = ""
    says: Say | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """An offer for a request, or why there is none."""

    offer: Offer | None
    why: str
    at_ms: int


@final
@dataclass(slots=True)
class Seen:
    """What one process has observed; it is lost with it, and nothing that is done needs it."""

    clock: bool = False  # a reply told the provider's time
    fresh: dict[str, Offer] = field(default_factory=dict)  # intended here, not called yet
    busy: set[str] = field(default_factory=set)  # rentals with a call under way, and ops
    limits: dict[Op, int] = field(default_factory=dict)  # no call before
    missing: dict[str, tuple[int, int]] = field(default_factory=dict)  # begin, end without it
    dead: dict[str, int] = field(default_factory=dict)  # looks at a dead container
    again: dict[str, tuple[int, int]] = field(default_factory=dict)  # ends asked for, next one
    probe: dict[str, int] = field(default_factory=dict)  # next look by SSH
    # Since when looks by SSH fail while the provider answers: this peer's own network is not out.
    lost: dict[str, int] = field(default_factory=dict)
    strange: set[str] = field(default_factory=set)  # showed another host key, when last looked at
    asked: dict[str, tuple[int, int, int | None]] = field(default_factory=dict)  # charges
    observed: dict[str, int] = field(default_factory=dict)  # begin of the last that showed it
    acked: dict[str, int] = field(default_factory=dict)  # its end was accepted
    gone: dict[str, int] = field(default_factory=dict)  # end of the first without it after that
    listed_ms: int = NEVER_MS  # begin of the last whole listing
    next_list_ms: int = 0
    rises_ms: int = 0
    fails: int = 0  # listings that failed, in a row
    chosen: dict[str, Chosen] = field(default_factory=dict)  # by request
    reasons: dict[str, str] = field(default_factory=dict)  # why a request waits
    # By request, why no machine could be intended for it though one was chosen (no money was had,
    # the disk is full), and when that is tried again.
    unpaid: dict[str, tuple[str, int]] = field(default_factory=dict)

    def end_again_ms(self, rental_id: str) -> int:
        """When an end is asked for again; 0 where it was not asked for yet."""
        return self.again.get(rental_id, (0, 0))[1]

    def limit(self, op: Op) -> int:
        """When a call of the kind may be made."""
        return self.limits.get(op, 0)

    def forget(self, rental_id: str) -> None:
        """A rental is closed; its charges are still to be asked for."""
        self.fresh.pop(rental_id, None)
        for kept in (self.missing, self.dead, self.again, self.probe, self.observed, self.lost):
            kept.pop(rental_id, None)
        self.acked.pop(rental_id, None)
        self.gone.pop(rental_id, None)
        self.strange.discard(rental_id)

    def moved(self, by_ms: int) -> None:
        """The provider's clock turned out to be another: waits are durations and move with it;
        halves of a proof of absence count no more."""
        self.missing.clear()
        self.gone.clear()
        for op in self.limits:
            self.limits[op] += by_ms
        self.probe = {one: at + by_ms for one, at in self.probe.items()}
        self.lost = {one: at + by_ms for one, at in self.lost.items()}
        self.again = {one: (n, at + by_ms) for one, (n, at) in self.again.items()}
        self.asked = {one: (n, at + by_ms, last) for one, (n, at, last) in self.asked.items()}
        self.unpaid = {one: (why, at + by_ms) for one, (why, at) in self.unpaid.items()}
        self.next_list_ms += by_ms
        self.rises_ms += by_ms
        self.listed_ms += by_ms
