"""What membership lets each role do, whose names hold, and how malformed statements are read."""

import pytest

from mesh.ledger.event import Event
from mesh.state.members import (
    ADMIN,
    MAX_NAMINGS,
    MEMBER,
    RUNNER,
    VIEWER,
    Members,
)
from mesh.state.state import State
from tests.state.trust_story import NAMES, Key, fleet, live

ANA, CID = NAMES["ana"], NAMES["cid"]


def job(key: Key, name: str = "j1") -> Event:
    return key.say("job_submitted", job_id=name, kind="command")


def old(key: Key, name: str, role: str, epoch: int, since: int = 1) -> Event:
    """A grant as versions before 0.2 made it."""
    return key.say(
        "peer_added", key=NAMES[name], name=name, role=role, tls="", epoch=epoch, since=since
    )


def old_removal(
    key: Key, name: str, until: Event | None, epoch: int, *, digest: bool = True
) -> Event:
    return key.say(
        "peer_removed",
        key=NAMES[name],
        epoch=epoch,
        until=until.seq if until else 0,
        until_hash=until.hash if until and digest else "",
        reason="",
    )


def role(state: State, name: str) -> str:
    return state.members.role(NAMES[name])


def test_a_peer_alone_believes_its_own_ledger() -> None:
    members = Members()
    assert members.alone
    assert members.role_of(Key("ana").say()) == ADMIN
    assert members.admits(NAMES["evil"], 10**9)
    assert list(members.peers()) == []


@pytest.mark.parametrize(
    ("role", "jobs", "devices"), [(VIEWER, 0, 0), (MEMBER, 1, 0), (RUNNER, 1, 1), (ADMIN, 1, 1)]
)
def test_each_role_adds_to_what_its_events_may_do(role: str, jobs: int, devices: int) -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    said = [root.add("cid", role), job(cid), cid.say("device_registered", device="rig")]
    state = live([*events, *said])
    assert (len(state.jobs), len(state.devices)) == (jobs, devices)


@pytest.mark.parametrize("given", [VIEWER, MEMBER, RUNNER])
def test_only_an_admin_lets_others_in_or_out(given: str) -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    said = [root.add("cid", given), cid.add("evil", ADMIN), cid.remove("ben")]
    state = live([*events, *said])
    assert (role(state, "evil"), role(state, "ben")) == ("", ADMIN)


def test_events_before_the_pairing_come_along() -> None:
    root, *_, events = fleet()
    note = Key("cid").say()
    assert live([*events, note, root.add("cid", MEMBER)]).note_count == 1


def test_a_peer_may_rename_itself_and_an_admin_anyone() -> None:
    root, ana, *_, events = fleet()
    cid = Key("cid")
    events += [root.add("cid", VIEWER), cid.say("peer_renamed", key=CID, name="den")]
    events += [cid.say("peer_renamed", key=ANA, name="hacked")]
    state = live(events)
    assert (state.members.name(CID), state.members.name(ANA)) == ("den", "ana")
    renamed = live([*events, ana.say("peer_renamed", key=CID, name="box")])
    assert renamed.members.name(CID) in ("den", "box")  # whose clock is later
    assert live([*events, root.remove("cid")]).members.name(CID) == "cid"


def test_names_of_one_peer_are_bounded() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    said = [cid.say("peer_renamed", key=CID, name=f"n{n}") for n in range(MAX_NAMINGS + 9)]
    state = live([*events, root.add("cid", VIEWER), *said])
    assert len(state.members.namings[CID]) == MAX_NAMINGS


def test_a_peer_shows_who_let_it_in_and_who_put_it_out() -> None:
    root, ana, *_, events = fleet()
    cid = Key("cid")
    where = cid.say("peer_reachable", addresses=["192.0.2.7:4321"])
    state = live([*events, ana.add("cid", RUNNER), where])
    found = state.members.peer(CID)
    assert (found.role, found.added_by, found.steps, found.removed_by) == (RUNNER, ANA, 3, "")
    assert found.addresses == ("192.0.2.7:4321",)
    gone = live([*events, ana.last, where, root.remove("cid")]).members.peer(CID)
    assert (gone.role, gone.removed_by) == ("", NAMES["root"])
    first = state.members.peer(NAMES["root"])
    assert (first.name, first.role, first.steps, first.added_ms) == (
        "root",
        ADMIN,
        1,
        1_800_000_001_000,
    )


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"key": 3, "role": "admin"},
        {"key": NAMES["evil"], "role": "god"},
        {"key": "e", "role": "admin"},
        {"key": NAMES["evil"], "role": "admin", "since": -5, "tls": ["a"], "name": 7, "names": 3},
        {"key": NAMES["evil"], "role": "admin", "since": 10**15, "since_hash": 5},
        {"key": NAMES["evil"], "role": "admin", "epoch": 2**53 - 1},
    ],
)
def test_a_malformed_grant_is_no_grant_or_a_plain_one(payload: dict[str, object]) -> None:
    root, *_, events = fleet()
    state = live([*events, root.say("peer_added", **payload)])
    assert role(state, "evil") in ("", ADMIN)
    gone = [*events, root.last, root.remove("evil")]
    assert role(live(gone), "evil") == ""
    assert role(live([*gone, root.add("evil", VIEWER, names=[gone[-1]])]), "evil") == VIEWER


def test_a_grant_of_an_older_version_survives_removals_of_lower_epochs() -> None:
    root, *_, events = fleet()
    events += [old(root, "cid", RUNNER, 1), old_removal(root, "cid", None, 1)]
    assert role(live(events), "cid") == ""
    assert role(live([*events, old(root, "cid", MEMBER, 2)]), "cid") == MEMBER


def test_of_older_grants_the_newest_holds() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    events += [old(root, "cid", RUNNER, 1), job(cid, "j1"), old(root, "cid", VIEWER, 1, since=2)]
    state = live([*events, job(cid, "j2")])
    assert (role(state, "cid"), list(state.jobs)) == (VIEWER, ["j1"])


def test_an_older_removal_without_a_hash_counts_where_nothing_branched() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    first, last = cid.say(), cid.say()
    events += [old(root, "cid", RUNNER, 1), old_removal(root, "cid", last, 1, digest=False)]
    assert live([*events, first, last, cid.say()]).note_count == 2
    assert live([*events, first, last, cid.fork(first).say()]).note_count == 1


def test_a_new_removal_ends_older_grants_whatever_their_epoch() -> None:
    root, *_, events = fleet()
    events += [old(root, "cid", RUNNER, 2**53 - 1), root.remove("cid")]
    assert role(live(events), "cid") == ""
    assert role(live([*events, root.add("cid", RUNNER, names=[root.last])]), "cid") == RUNNER
