"""What a person decides about peers, over a real ledger: founded, let in, renamed, put out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.edge.identity import Fleet, join_fleet, leave_fleet, load_or_create, reset
from mesh.edge.pairing.book import Pending
from mesh.edge.pairing.branches import branches, chain_of
from mesh.edge.pairing.client import Host
from mesh.edge.transport.link import own_anchor
from mesh.ledger import signing
from mesh.policy import pairing
from mesh.policy.words import seed_of
from mesh.state.members import ADMIN, RUNNER, VIEWER
from mesh.state.peer_id import peer_id
from mesh.sync.manifest import Tip
from tests.support.homes import NOW, Home, forks, last, let_in


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


async def test_the_first_invitation_founds_the_fleet_and_shows_its_words_once(ana: Home) -> None:
    made = await ana.desk.invite(RUNNER, 60_000, 1)
    words, fleet = made["recovery_words"], ana.fleet()
    assert isinstance(words, list)
    assert fleet is not None
    founding = last(ana, "fleet_founded")
    assert (fleet.founding, fleet.recovery) == (founding.hash, founding.payload["recovery"])
    assert signing.author_of(seed_of(" ".join(words))) == fleet.recovery
    assert (ana.state.members.founding, ana.state.members.recovery) == (
        fleet.founding,
        fleet.recovery,
    )
    assert (await ana.desk.invite(RUNNER, 60_000, 1))["recovery_words"] == []
    kept = b"".join(path.read_bytes() for path in ana.home.iterdir() if path.is_file())
    assert " ".join(words).encode() not in kept
    assert seed_of(" ".join(words)) not in kept
    assert seed_of(" ".join(words)).hex().encode() not in kept


async def test_a_guest_hears_of_the_founding_and_of_a_lone_admin(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    said = ana.desk.welcome(RUNNER, ben.who.author)
    fleet = ana.fleet()
    assert fleet is not None
    assert (said.founding, said.recovery, said.admins) == (fleet.founding, fleet.recovery, 1)
    await ana.roster.role("ben", ADMIN)
    assert ana.desk.welcome(RUNNER, ben.who.author).admins == 2


async def test_a_fleet_of_an_earlier_version_gets_its_words_from_its_founder_once(
    ana: Home, ben: Home
) -> None:
    await ana.belong(Fleet(root=ana.who.author))
    await ana.desk.grant(ben.who.author, "ben", ADMIN, own_anchor(ben.who)[1].hex(), "", 0)
    ben.taken(ana)
    with pytest.raises(RequestError, match="only the key that founded") as error:
        await ben.desk.founding.add_recovery()
    assert "fleet recovery new" in error.value.hint
    words = await ana.desk.founding.add_recovery()
    fleet = ana.fleet()
    assert fleet is not None
    assert signing.author_of(seed_of(" ".join(words))) == fleet.recovery
    assert ana.state.members.role(ben.who.author) == ADMIN
    with pytest.raises(RequestError, match="has its recovery words"):
        await ana.desk.founding.add_recovery()


async def test_a_peer_alone_has_nothing_to_recover(ana: Home) -> None:
    with pytest.raises(RequestError, match="this peer is alone"):
        await ana.desk.founding.add_recovery()


async def test_a_role_changes_from_the_newest_event_on(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    given = last(ana, "peer_added")
    before = await ben.emit("note_added", "", {"text": "as a runner"})
    ana.take(ben)
    assert (await ana.roster.role("ben", VIEWER))["was"] == RUNNER
    payload = last(ana, "peer_added").payload
    assert (payload["since"], payload["since_hash"]) == (2, before.hash)
    assert payload["names"] == [given.hash]
    assert "epoch" not in payload
    await ben.emit("note_added", "", {"text": "as a viewer"})
    ana.take(ben)
    assert (ana.state.note_count, ana.state.members.role(ben.who.author)) == (1, VIEWER)
    with pytest.raises(RequestError, match="ben is viewer already"):
        await ana.roster.role("ben", VIEWER)
    with pytest.raises(RequestError, match="change its own role"):
        await ana.roster.role("ana", VIEWER)


async def test_nobody_removes_or_demotes_who_let_them_in(ana: Home, ben: Home) -> None:
    await let_in(ana, ben, ADMIN)
    ben.taken(ana)
    count = ben.ledger.count()
    for act in (ben.roster.remove("ana", ""), ben.roster.role("ana", VIEWER)):
        with pytest.raises(
            RequestError, match="can't remove or demote the one who let you in"
        ) as e:
            await act
        assert (e.value.status, e.value.hint) == (
            403,
            "the recovery words can: fleet recover --remove ana",
        )
    assert ben.ledger.count() == count


@pytest.mark.parametrize("act", ["invite", "grant", "role", "remove", "accept"])
async def test_who_is_no_admin_is_told_who_is(ana: Home, ben: Home, act: str) -> None:
    await let_in(ana, ben)
    await ana.desk.grant("cc" * 32, "cid", RUNNER, "00" * 64, "", 0)
    ben.taken(ana)
    acts = {
        "invite": lambda: ben.desk.invite(RUNNER, 60_000, 1),
        "grant": lambda: ben.desk.grant("dd" * 32, "dan", RUNNER, "00" * 64, "", 0),
        "accept": lambda: ben.desk.accept("dan", RUNNER),
        "role": lambda: ben.roster.role("cid", VIEWER),
        "remove": lambda: ben.roster.remove("cid", ""),
    }
    with pytest.raises(RequestError, match="this peer is a runner") as error:
        await acts[act]()
    assert (error.value.status, error.value.hint) == (403, "the same on ana")
    assert ben.book.open_invites(NOW) == []


async def test_a_frozen_founder_prints_no_codes_and_says_who_can_help(
    ana: Home, ben: Home, tmp_path: Path
) -> None:
    await let_in(ana, ben)
    forks(ana, tmp_path)
    with pytest.raises(RequestError, match="signed two histories") as error:
        await ana.desk.invite(RUNNER, 60_000, 1)
    assert error.value.hint.startswith("fleet recover on another machine")
    assert ana.book.open_invites(NOW) == []


async def test_a_frozen_admin_is_sent_to_another_by_name(
    ana: Home, ben: Home, tmp_path: Path
) -> None:
    await let_in(ana, ben, ADMIN)
    forks(ana, tmp_path)
    with pytest.raises(RequestError) as error:
        await ana.roster.role("ben", RUNNER)
    assert error.value.hint == "fleet identity reset here, then fleet invite on ben"


async def test_of_a_forked_peer_somebody_says_which_history_is_good(
    ana: Home, ben: Home, tmp_path: Path
) -> None:
    await let_in(ana, ben)
    await ben.emit("note_added", "", {"text": "before"})
    here, there = forks(ben, tmp_path)
    ana.take(ben)
    for act in (ana.roster.remove("ben", ""), ana.roster.role("ben", VIEWER)):
        with pytest.raises(RequestError, match="two histories from its event 2 on") as error:
            await act
        assert (error.value.code, error.value.status) == ("Forked", 409)
    found = branches(chain_of(ana.home, ben.who.author))
    assert {one.last.id for one in found} == {here, there}
    assert [(one.first.seq, one.count) for one in found] == [(2, 1), (2, 1)]
    assert (await ana.roster.remove("ben", "copied", there[:14]))["until"] == 2
    assert last(ana, "peer_removed").payload["until_hash"] == next(
        one.last.hash for one in found if one.last.id == there
    )


@pytest.mark.parametrize(
    ("keep", "says"),
    [("evt-nothing", "signed no event"), ("2", "fits 2 events"), ("9", "signed no event")],
)
async def test_an_event_to_keep_must_be_one_of_the_peers(
    ana: Home, ben: Home, tmp_path: Path, keep: str, says: str
) -> None:
    await let_in(ana, ben)
    await ben.emit("note_added", "", {"text": "before"})
    forks(ben, tmp_path)
    ana.take(ben)
    with pytest.raises(RequestError, match=says):
        await ana.roster.remove("ben", "", keep)
    assert (await ana.roster.remove("ben", "", "none"))["until"] == 0
    assert last(ana, "peer_removed").payload["until_hash"] == ""


async def test_who_comes_back_is_let_in_over_its_removal(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    await ana.roster.remove("ben", "lost")
    gone = last(ana, "peer_removed")
    await let_in(ana, ben, VIEWER)
    assert gone.hash in last(ana, "peer_added").payload["names"]  # type: ignore[operator]
    assert ana.state.members.role(ben.who.author) == VIEWER


async def test_a_code_from_before_the_fleet_was_founded_lets_nobody_in(ana: Home) -> None:
    with pytest.raises(RequestError, match="has no fleet yet"):
        await ana.desk.grant("cc" * 32, "cid", RUNNER, "00" * 64, "", 0)
    assert ana.ledger.count() == 0


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


async def test_a_guest_lets_nobody_in_while_it_joins(ana: Home, ben: Home) -> None:
    join_fleet(ben.home, Fleet(root=ana.who.author, introducer=ana.who.author, role=RUNNER))
    assert ben.state.members.alone
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


async def test_a_guest_is_told_whom_to_ask_beside_its_host(ana: Home, ben: Home) -> None:
    await let_in(ana, ben)
    met = ana.desk.welcome(RUNNER, ben.who.author).members
    assert list(met) == [ana.who.author, ben.who.author]  # the senior first
    assert met[ben.who.author] == own_anchor(ben.who)[1].hex()


async def test_a_guest_is_told_how_far_its_own_events_go(ana: Home, ben: Home) -> None:
    """Restored from before it joined, it knows neither the fleet nor what it signed there."""
    await let_in(ana, ben)
    fresh = ana.desk.welcome(RUNNER, ben.who.author)
    assert (fresh.you_seq, fresh.you_hash) == (0, "")
    signed = await ben.emit("note_added", "", {"text": "lost with the disk"})
    ana.take(ben)
    again = ana.desk.welcome(RUNNER, ben.who.author)
    await ben.desk._entered(Host(key=ana.who.author, address="10.0.0.1", welcome=again))
    assert ben.own == Tip(1, signed.hash)
    assert ana.desk.known(ben.who.author) == again
