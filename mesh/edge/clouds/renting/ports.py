"""What an account's actor needs of others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass
from typing import Literal, Protocol, final

from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from providers.rental.contract import Offer, Reply, SshAt, Step
from providers.rental.contract import Request as Asked

# Durable when it returns, and folded into the state: (event type, payload).
Emit = Callable[[str, dict[str, object]], Awaitable[object]]
# (rental id, or "" for the account; why): tells a person.
Alarm = Callable[[str, str], None]
Work = Literal["none", "begun", "job_done", "idle"]
Found = Step | Literal["", "host_key", "setup_failed"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKeys:
    """Who may log in, and by what key the machine is known; OpenSSH's text forms."""

    user_public_key: str
    host_private_key: str
    host_public_key: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a machine must have before jobs run there: an engine; a command of its asker's, which
    has run there, "" for none."""

    engine: bool
    setup: str = ""


class Ladder(Protocol):
    """Looks into a machine by SSH, with the host key pinned; a look renews its dead-man's lease."""

    async def probe(self, rental: Rental, ssh: SshAt, needs: Needs) -> Found:
        """The furthest of "sshd" and "engine" that answers, "host_key" where another host key does,
        "setup_failed" where what was to make it ready did, "" where none does. Where no engine is
        needed, its cards being known is "engine", too."""

    async def work(self, rental: Rental) -> Work:
        """How it stands with what the machine was rented for: "none" while nothing of it runs."""


class Offers(Protocol):
    """Where offers come from."""

    async def choose(self, request: Request, tried: tuple[str, ...]) -> Offer | str:
        """The best for a request, but none of those that were refused lately; else why not."""


class Keys(Protocol):
    """Who makes a machine's keys."""

    async def make(self, rental_id: str) -> MachineKeys:
        """New ones for one rental; StoreError where they can't be kept."""

    def forget(self, rental_ids: Set[str]) -> None:
        """Keep those of these rentals no longer, if there are any."""


# (what was asked, what came back, our own clock when it was sent)
Heard = Callable[[Asked, Reply, int], None]
