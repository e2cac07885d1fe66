"""The state of a fleet: what its ledger says is true now. `fold` is what writes it.

It is a product of small parts, one per device and per job, and each keeps what it needs to give an
event that arrives late its place. Only the newest ended jobs of each home stay whole; older ones
are totals.
"""

from dataclasses import dataclass, field

from mesh.state.billing import Totals
from mesh.state.bills.books import Books
from mesh.state.budgets.budgets import Budgets
from mesh.state.devices import Devices
from mesh.state.fleet import DeviceView
from mesh.state.jobs import JobView, Key
from mesh.state.market.market import Market
from mesh.state.members import Members
from mesh.state.rentals.rentals import Rentals
from mesh.state.retired import Retired
from mesh.state.serving.keys import KeyView
from mesh.state.serving.services import ServiceView
from mesh.state.serving.serving import Serving
from mesh.state.serving.usage import Used
from mesh.state.timeline import Timeline
from mesh.state.upkeep import Reserved, Upkeep

# Ended jobs kept whole, about 4 KB each; a million-event ledger must not fill a daemon's memory.
KEEP_ENDED = 512


@dataclass(slots=True)
class Counts:
    """An author's events that leave nothing else behind."""

    notes: int = 0
    skipped: int = 0  # of a newer peer: kept in the ledger, not understood here
    untrusted: int = 0  # kept, but not believed


@dataclass(slots=True)
class State:
    """What the ledger says is true now; `apply` and `fold_author` are the only writers."""

    devices: dict[str, DeviceView] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    ended: dict[str, list[tuple[Key, str]]] = field(default_factory=dict)  # by home, by their end
    retired: Retired = field(default_factory=Retired)  # older ended jobs
    totals: dict[tuple[int, str, str, str], Totals] = field(default_factory=dict)  # of those
    contested: dict[str, str] = field(default_factory=dict)  # retired ids, and whose they are
    late: set[str] = field(default_factory=set)  # went on after they had been retired
    holding: bool = False  # all is being folded anew: `late` jobs retire at the end of it
    claims: Devices = field(default_factory=Devices)
    upkeep: Upkeep = field(default_factory=Upkeep)
    rentals: Rentals = field(default_factory=Rentals)
    market: Market = field(default_factory=Market)
    serving: Serving = field(default_factory=Serving)
    books: Books = field(default_factory=Books)
    budgets: Budgets = field(default_factory=Budgets)
    counts: dict[str, Counts] = field(default_factory=dict)  # by author
    event_count: int = 0
    cursor: int = 0  # of the last event folded in, in the order in which the ledger got them
    last_ms: int = 0
    members: Members = field(default_factory=Members)
    keep_ended: int = KEEP_ENDED
    stale: bool = False  # an event changed what is no longer kept: fold the whole ledger again

    @property
    def changed(self) -> set[str]:
        """Authors whose events must be folded again, since what they may say changed."""
        self.members.judge()
        self.stale = self.stale or self.members.lost
        return self.members.changed

    @property
    def note_count(self) -> int:
        return sum(one.notes for one in self.counts.values())

    @property
    def skipped_count(self) -> int:
        return sum(one.skipped for one in self.counts.values())

    @property
    def untrusted_count(self) -> int:
        return sum(one.untrusted for one in self.counts.values())

    def owner(self, device_id: str) -> str:
        """Whose device it is; "" where nobody registered it."""
        return self.claims.owner(device_id, self.members.seniority)

    def device_model(self, device_id: str) -> str:
        """What a device's owner last called its hardware, also once it is gone."""
        return self.claims.model(device_id, self.owner(device_id))

    def drained(self, device_id: str) -> str:
        """Why a device's owner lets no new jobs start there; "" where it does."""
        return self.upkeep.drained(device_id, self.owner(device_id))

    def reserved(self, device_id: str, now_ms: int) -> tuple[Reserved, ...]:
        """A device's reservations that are not over, as its owner says."""
        return self.upkeep.reserved(device_id, self.owner(device_id), now_ms)

    @property
    def keys(self) -> dict[str, KeyView]:
        """Every key by its id, also those that work no more."""
        return self.serving.keys.views(self.members.seniority, self.members.role)

    @property
    def services(self) -> dict[str, ServiceView]:
        """The models that are to be kept up, by the service's id."""
        return self.serving.services.views(self.members.seniority, self.members.role)

    @property
    def usage(self) -> dict[tuple[int, str, str, str], Used]:
        """What requests used, by (UTC day, key, model, device)."""
        return self.serving.usage.sums(self.owner)

    def spent_nusd(self, key_id: str, per: str, now_ms: int) -> int:
        """What a key cost in the "day" or "month" of now, or in "total"."""
        return self.serving.usage.spent_nusd(key_id, per, now_ms, self.owner)
