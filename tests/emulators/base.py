"""What each provider's stand-in is, so that one server, one simulation and one acceptance suite
drive them all."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from providers.rental.contract import Offer, Profile, Reply
from tests.emulators.machines import Machines

# Faults that change what a provider itself does, by the operation they belong to. Faults on the
# way (a reply lost, a 5xx before or after, a reset, a late effect) are whoever sends' to make.
CREATE_FAULTS = ("no_capacity", "low_bid", "price_higher", "hang")
TERMINATE_FAULTS = ("ignored",)
LIST_FAULTS = ("lag", "hides", "page_fails", "empty", "success_false", "retired", "malformed")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One HTTP request as a server gets it; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None


class Emulator(Protocol):
    """One account at one provider. Deterministic: all chance comes from the `dice` it was made
    with, all time from `now`."""

    profile: Profile
    machines: Machines
    dice: random.Random
    key: str  # what it takes as the account's key

    def handle(self, now: int, asked: Asked, fault: str = "", by: str = "caller") -> Reply:
        """Answer one request; `fault` is one of those above, "" for none. Advances the clock."""

    def op(self, asked: Asked) -> str:
        """Which operation of the contract a request is ("create", "list" …), "" for any other."""

    def limited(self, now: int, asked: Asked) -> tuple[Reply, int]:
        """A 429 in one of this provider's shapes, and for how many ms it holds."""

    def outbid(self, machine_id: str, now: int) -> None:
        """Its spot machine is taken away, in this provider's way."""

    def stock(self) -> list[Offer]:
        """What it has, as the contract's offers: to compare with what an adapter reads."""

    def invoice(self, machine_id: str, now: int) -> int:
        """What it charges in all, in its own rounding, nano-dollars."""
