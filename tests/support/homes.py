"""A peer without a network: what pairing, sync and people do to its home, done by hand."""

from collections.abc import Mapping
from pathlib import Path

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.identity import Fleet, fleet_of, join_fleet, load_or_create
from mesh.edge.pairing.book import PairingBook
from mesh.edge.pairing.desk import Desk
from mesh.edge.pairing.roster import Roster
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, fold_in, settle, whole_fold
from mesh.edge.transport.link import own_anchor
from mesh.ledger.event import Event
from mesh.state.members import RUNNER
from mesh.sync.manifest import Tip

NOW = 1_790_000_000_000


class Home:
    """A peer without a network: its ledger, its state and its desk."""

    def __init__(self, folder: Path, name: str) -> None:
        self.home = folder / name
        self.name = name
        self.open()

    def open(self) -> None:
        self.ledger = Ledger.open(self.home)
        self.who = load_or_create(self.home)
        self.state = current_state(self.ledger)
        self.ticks = 0
        self.book = PairingBook(self.home)
        books = (self.book, Sightings(self.home))
        where = Whereabouts(addresses=("10.0.0.1", "fd00::1"), port=7433, pairing_port=7434)
        self.desk = Desk(self, self.who, self.name, books, lambda: where, self.fleet, self.home)
        self.roster = Roster(self, self.who, self.home, self.fleet)

    waits = False
    own: Tip | None = None  # where its chain ends at who let it in

    def fleet(self) -> Fleet | None:
        return fleet_of(self.home)

    def now(self) -> int:
        self.ticks += 1
        return NOW + self.ticks

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        event = self.ledger.append(event_type, device_id, payload, self.now())
        fold_in(self.state, self.ledger.last_cursor(), event, self.ledger.has)
        settle(self.state, self.ledger)
        return event

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        join_fleet(self.home, fleet)
        self.state, self.own = whole_fold(self.ledger), own

    def tips(self) -> Mapping[str, Tip]:
        return self.ledger.tips()

    def take(self, other: "Home") -> None:
        """Everything another ledger holds, as sync would bring it."""
        path = self.home / "export.jsonl"
        other.ledger.export(path)
        self.ledger.import_(path)
        self.state = whole_fold(self.ledger)

    def taken(self, other: "Home") -> None:
        """Belong to another's fleet and hold what it holds, as pairing and sync would bring it."""
        fleet = other.fleet()
        assert fleet is not None
        join_fleet(self.home, fleet)
        self.take(other)


async def let_in(host: Home, guest: Home, role: str = RUNNER) -> None:
    tls = own_anchor(guest.who)[1].hex()
    await host.desk.founding.found()
    await host.desk.grant(guest.who.author, guest.name, role, tls, "10.0.0.2", 7433)


def last(home: Home, kind: str) -> Event:
    return [event for _, event in home.ledger.events() if event.event_type == kind][-1]


def forks(home: Home, folder: Path) -> tuple[str, str]:
    """Make its key sign two histories, which both are in its ledger; the ids of their ends."""
    copy = folder / f"{home.name}-copy"
    home.ledger.close()
    copy.mkdir()
    for file in home.home.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
            (copy / file.name).chmod(0o600)
    with Ledger.open(copy) as other:
        there = other.append("note_added", "", {"text": "there"}, NOW + 500)
        other.export(folder / "copy.jsonl")
    home.open()
    here = home.ledger.append("note_added", "", {"text": "here"}, NOW + 500)
    home.ledger.import_(folder / "copy.jsonl")
    home.state = whole_fold(home.ledger)
    return here.id, there.id
