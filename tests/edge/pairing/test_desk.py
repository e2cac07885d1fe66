"""What a person decides about peers, over a real ledger: founded, let in, renamed, put out."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.identity import Fleet, fleet_of, join_fleet, leave_fleet, load_or_create, reset
from mesh.edge.pairing.book import PairingBook, Pending
from mesh.edge.pairing.desk import Desk
from mesh.edge.pairing.roster import Roster
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state, whole_fold
from mesh.edge.transport.link import own_anchor
from mesh.ledger.event import Event
from mesh.policy import pairing
from mesh.state.fold import apply
from mesh.state.members import ADMIN, RUNNER, VIEWER
from mesh.state.peer_id import peer_id
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

    def fleet(self) -> Fleet | None:
        return fleet_of(self.home)

    def now(self) -> int:
        self.ticks += 1
        return NOW + self.ticks

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        event = self.ledger.append(event_type, device_id, payload, self.now())
        apply(self.state, event)
        if self.state.stale:
            self.state = whole_fold(self.ledger, known=self.state.members)
        return event

    async def belong(self, fleet: Fleet) -> None:
        join_fleet(self.home, fleet)
        self.state = whole_fold(self.ledger, known=self.state.members)

    def tips(self) -> Mapping[str, Tip]:
        return self.ledger.tips()

    def take(self, other: "Home") -> None:
        """Everything another ledger holds, as sync would bring it."""
        path = self.home / "export.jsonl"
        other.ledger.export(path)
        self.ledger.import_(path)
        self.state = whole_fold(self.ledger)


@pytest.fixture
def ana(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, "ana")
    yield made
    made.ledger.close()


@pytest.fixture
def ben(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path, "ben")
    yield made
    made.ledger.close()


async def let_in(host: Home, guest: Home, role: str = RUNNER) -> None:
    tls = own_anchor(guest.who)[1].hex()
    await host.desk.founding.found()
    await host.desk.grant(guest.who.author, guest.name, role, tls, "10.0.0.2", 7433)


async def test_the_first_guest_makes_a_fleet_of_two(ana: Home, ben: Home) -> None:
    assert ana.fleet() is None
    await let_in(ana, ben)
    fleet = ana.fleet()
    assert fleet is not None
    assert fleet.root == ana.who.author
    peers = {one.name: one.role for one in ana.state.members.peers()}
    assert peers == {"ana": ADMIN, "ben": RUNNER}
    assert ana.desk.known(ben.who.author) is not None
    assert ana.desk.known("ff" * 32) is None


async def test_what_was_in_the_ledger_before_goes_on_counting(ana: Home, ben: Home) -> None:
    await ben.emit("note_added", "", {"text": "brought on a stick"})
    ana.take(ben)
    await ana.emit("note_added", "", {"text": "own"})
    assert ana.state.note_count == 2
    cid = "cc" * 32
    await ana.desk.founding.found()
    await ana.desk.grant(cid, "cid", RUNNER, "00" * 64, "", 0)
    assert ana.state.note_count == 2
    assert ana.state.members.role(ben.who.author) == ""
    await ben.emit("note_added", "", {"text": "later, unasked"})
    ana.take(ben)
    assert (ana.state.note_count, ana.state.untrusted_count) == (2, 1)


async def test_a_key_given_up_keeps_its_history_in_a_new_fleet(ana: Home, ben: Home) -> None:
    await ana.emit("note_added", "", {"text": "by the old key"})
    await let_in(ana, ben)
    ana.ledger.close()
    old, new = reset(ana.home)
    assert old.author != new.author
    assert load_or_create(ana.home) == new
    leave_fleet(ana.home)
    ana.open()
    await let_in(ana, ben)
    assert ana.state.note_count == 1
    assert ana.state.members.role(new.author) == ADMIN
    assert ana.state.members.role(old.author) == ""


async def test_a_removal_names_the_last_event_that_counts(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    await ben.emit("note_added", "", {"text": "one"})
    ana.take(ben)
    said = await ana.roster.remove("ben", "lost laptop")
    assert said["until"] == 1
    last = [e for _, e in ana.ledger.events() if e.event_type == "peer_removed"][-1]
    assert last.payload["until_hash"] == ana.tips()[ben.who.author].hash
    with pytest.raises(RequestError, match="nobody called 'ben'"):
        ana.roster.find("ben")
    await let_in(ana, ben, VIEWER)
    assert ana.roster.find("ben").role == VIEWER
    assert ana.state.note_count == 1


async def test_peers_are_named_by_name_or_by_the_start_of_an_id(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    full = peer_id(ben.who.author)
    for text in ("ben", full, full[:7], full[:9].lower().replace("-", " ")):
        assert ana.roster.find(text).author == ben.who.author
    with pytest.raises(RequestError, match="nobody"):
        ana.roster.find(full[:3])
    with pytest.raises(RequestError, match="cannot remove itself"):
        await ana.roster.remove("ana", "")


async def test_two_machines_of_one_name_are_told_apart(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    await ana.desk.grant("cc" * 32, "ben", RUNNER, "00" * 64, "", 0)
    assert {one.name for one in ana.state.members.peers()} == {"ana", "ben", "ben-2"}
    await ana.roster.rename("ben-2", "Ben's Laptop")
    assert ana.roster.find("ben-s-laptop").author == "cc" * 32


async def test_a_guest_makes_no_invites_before_it_synced(ana: Home, ben: Home) -> None:
    await ben.belong(Fleet(root=ana.who.author, introducer=ana.who.author, tls="", role=ADMIN))
    with pytest.raises(RequestError, match="has not synced yet"):
        await ben.desk.invite(RUNNER, 1000, 1)


async def test_a_peer_of_one_fleet_does_not_join_another_by_accident(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    code = pairing.render_code(
        pairing.Code(secret=bytes(16), fingerprint=b"abcd", port=1, addresses=("127.0.0.1",))
    )
    with pytest.raises(RequestError, match="in a fleet with ben already"):
        await ana.desk.join(code, 7434)
    with pytest.raises(RequestError, match="not an invite code"):
        await ben.desk.join("rubbish", 7434)


async def test_an_invite_says_where_and_a_person_accepts_by_name(ana: Home, ben: Home) -> None:
    made = await ana.desk.invite(RUNNER, 60_000, 1)
    code = pairing.parse_code(str(made["code"]))
    assert (code.addresses, code.port) == (("10.0.0.1", "fd00::1"), 7434)
    asked = Pending(
        key=ben.who.author,
        name="ben",
        tls=own_anchor(ben.who)[1].hex(),
        address="10.0.0.2",
        port=7433,
        asked_ms=NOW,
    )
    assert ana.book.ask(asked, NOW) == ""
    assert (await ana.desk.accept("ben", VIEWER))["role"] == VIEWER
    assert ana.desk.pending() == []
    assert ana.roster.find("ben").role == VIEWER
