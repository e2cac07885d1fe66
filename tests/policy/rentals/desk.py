"""One peer by hand: a ledger that is folded, what was seen, a clock that a test moves."""

from typing import Any

from mesh.ledger.event import Event
from mesh.policy.rentals.decide import decide
from mesh.policy.rentals.hearing import heard_create, heard_listing, heard_terminate
from mesh.policy.rentals.listing import Whole
from mesh.policy.rentals.values import Chosen, Command, Here, Say, Seen, Shares
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.rentals import Rentals
from mesh.state.rentals.terms import HOUR_MS, MIN_MS
from providers.rental.contract import Created, Ended, Offer, Profile, Row

T0 = 1_790_000_000_000
USD = 10**9
BUDGETS = {"placed": 2, "image": 10, "container": 3, "sshd": 2, "engine": 5}


def profile(**changed: Any) -> Profile:
    """A provider of which little is special."""
    given: dict[str, Any] = {
        "name": "vastai", "title": "Vast.ai", "account_wide": False, "from_create": True,
        "billed_step_ms": 1,
        "budgets_ms": {step: minutes * MIN_MS for step, minutes in BUDGETS.items()},
        "spacing_ms": {"create": 4500, "terminate": 3000, "list": 1000},
        "has_dead_man": True, "has_charges": True, "has_rises": False, "has_spot": True,
        "label_bytes": 64, "default_image": "llama",
    }  # fmt: skip
    return Profile(**(given | changed))


def offer(**changed: Any) -> Offer:
    """A machine for a dollar an hour."""
    given: dict[str, Any] = {
        "provider": "vastai", "offer_id": "o1", "gpu": "RTX 4090", "gpu_count": 1,
        "memory_bytes": 24 << 30, "hourly_nusd": USD,
    }  # fmt: skip
    return Offer(**(given | changed))


class Desk:
    """Peer "A" has the account "main"."""

    def __init__(self, shares: Shares | None = None, **changed: Any) -> None:
        self.here = Here(peer="A", mesh="m1", profile=profile(**changed), shares=shares or Shares())
        self.rentals, self.seen, self.now, self.count = Rentals(), Seen(clock=True), T0, 0
        self.write("account_taken", epoch=1, peer="A")

    @property
    def account(self) -> Account:
        return self.rentals.account("vastai", "main")

    def write(self, kind: str, author: str = "A", **payload: Any) -> None:
        """An event is folded in."""
        self.count += 1
        self.rentals.take(
            Event(
                id=f"e{self.count}", hash="", timestamp="", device_id="", event_type=kind,
                payload={"provider": "vastai", "account": "main", **payload}, author=author,
                seq=self.count, prev="", hlc=f"{self.now:013d}-00000", sig="", v=1,
            )
        )  # fmt: skip

    def say(self, *says: Say, author: str = "A") -> None:
        for say in says:
            one = self.account.rentals.get(say.rental_id)
            turn = self.now if one is None else one.turn(self.now)
            named = {"rental_id": say.rental_id, "turn": turn, "at_ms": self.now}
            self.write(say.kind, author, **named, **say.fields)

    def ask(self, request_id: str = "r1", **changed: Any) -> None:
        """A person wants a machine."""
        asked = {"request_id": request_id, "life_ms": HOUR_MS, "cap_nusd": 100 * USD, **changed}
        self.write("rental_requested", **asked)

    def next(self) -> Command:
        return decide(self.rentals, self.account, self.seen, self.here, self.now, "n" * 8)

    def record_all(self) -> Command:
        """Write down what is to be; the first command that is more."""
        while (command := self.next()).op == "record":
            assert command.says is not None
            self.say(command.says)
        return command

    def list(self, *rows: Row) -> None:
        whole = Whole(rows=rows, begun_ms=self.now, ended_ms=self.now)
        self.say(*heard_listing(self.account, self.seen, whole, "A", "m1"))

    def choose(self, chosen: Offer | None = None) -> Command:
        """An offer is chosen for the first request that waits; what comes next then."""
        command = self.next()
        assert command.op == "choose", command
        self.seen.chosen[command.request_id] = Chosen(
            offer=chosen or offer(), why="", at_ms=self.now
        )
        return self.next()

    def rent(self, of: Offer | None = None, **asked: Any) -> Rental:
        """A machine is asked for; its create is under way."""
        self.list()
        self.ask(**asked)
        command = self.choose(of)
        assert command.op == "intend", command
        assert command.says is not None
        self.say(command.says)
        self.seen.fresh[command.says.rental_id] = self.seen.chosen.pop("r1").offer or offer()
        assert self.next().op == "create"
        del self.seen.fresh[command.says.rental_id]
        self.say(Say("create_called", command.says.rental_id, {}))
        self.seen.busy.add(command.says.rental_id)
        return self.account.rentals[command.says.rental_id]

    def created(self, one: Rental, created: Created) -> None:
        self.seen.busy.discard(one.rental_id)
        self.say(*heard_create(one, created))

    def ended(self, one: Rental, ended: Ended) -> None:
        self.say(*heard_terminate(one, self.seen, ended, self.now))


def row(one: Rental, status: Any = "up", instance_id: str = "7", **changed: Any) -> Row:
    """How a listing shows its machine."""
    given: dict[str, Any] = {
        "instance_id": instance_id, "label": one.label, "status": status, "price_nusd": USD,
        "rate_nusd": USD,
    }  # fmt: skip
    return Row(**(given | changed))
