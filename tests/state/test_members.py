"""Membership is a function of the set of events: who may do what, and from which event on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger.event import Event, order_key
from mesh.state.fold import State, apply, fold_ordered
from mesh.state.members import (
    ADMIN,
    GRACE_EVENTS,
    MAX_RECORDS,
    MEMBER,
    RUNNER,
    VIEWER,
    Members,
)
from tests.state.membership_events import ANA, BEN, EVE, ROOT, added, event, removed

FOUNDED = added(ROOT, 1, 1, ROOT, ADMIN)


def folded(*events: Event) -> State:
    """The state of a fleet founded by ROOT, as a reader folds it."""
    ordered = sorted([FOUNDED, *events], key=order_key)
    state = fold_ordered(ordered, members=Members(root=ROOT))
    if not state.stale:
        return state
    again = fold_ordered(ordered, members=state.members.anew())
    assert not again.stale
    return again


def note(author: str, seq: int, at: int) -> Event:
    return event(author, seq, at, "note_added", text="hi")


def job(author: str, seq: int, at: int) -> Event:
    return event(author, seq, at, "job_submitted", job_id=f"j{seq}", kind="command")


def device(author: str, seq: int, at: int) -> Event:
    return event(author, seq, at, "device_registered", name="box", device=f"dev-{author[:1]}")


def test_a_peer_alone_believes_its_own_ledger() -> None:
    state = State()
    apply(state, note(ANA, 1, 1))
    assert (state.note_count, state.members.alone) == (1, True)
    assert list(state.members.peers()) == []


def test_what_a_stranger_signed_changes_nothing_once_there_is_a_fleet() -> None:
    state = folded(note(EVE, 1, 5), added(EVE, 2, 6, ANA, ADMIN))
    assert (state.note_count, state.untrusted_count) == (0, 1)
    assert [peer.author for peer in state.members.peers()] == [ROOT]


@pytest.mark.parametrize(
    ("role", "jobs", "devices"), [(VIEWER, 0, 0), (MEMBER, 1, 0), (RUNNER, 1, 1), (ADMIN, 1, 1)]
)
def test_each_role_adds_to_what_its_events_may_do(role: str, jobs: int, devices: int) -> None:
    state = folded(added(ROOT, 2, 2, ANA, role), job(ANA, 1, 3), device(ANA, 2, 4))
    assert (len(state.jobs), len(state.devices)) == (jobs, devices)


@pytest.mark.parametrize("role", [VIEWER, MEMBER, RUNNER])
def test_only_an_admin_lets_others_in_or_out(role: str) -> None:
    state = folded(
        added(ROOT, 2, 2, ANA, role),
        added(ROOT, 3, 3, BEN, RUNNER),
        added(ANA, 1, 4, EVE, ADMIN),
        removed(ANA, 2, 5, BEN, 0),
    )
    assert state.members.role(EVE) == ""
    assert state.members.role(BEN) == RUNNER


def test_events_before_the_pairing_come_along() -> None:
    state = folded(note(ANA, 1, 1), added(ROOT, 2, 9, ANA, MEMBER))
    assert state.note_count == 1


def test_a_removed_peers_events_count_up_to_the_cut_off() -> None:
    history = [note(ANA, seq, 10 + seq) for seq in range(1, 5)]
    state = folded(added(ROOT, 2, 2, ANA, MEMBER), *history, removed(ROOT, 3, 3, ANA, 2))
    assert (state.note_count, state.untrusted_count) == (2, 2)
    assert state.members.peer(ANA).role == ""
    assert state.members.admits(ANA, 2)
    assert not state.members.admits(ANA, 3 + GRACE_EVENTS)


def test_removal_dominates_re_adding_at_its_epoch_and_a_new_epoch_brings_back() -> None:
    gone = (
        added(ROOT, 2, 2, ANA, MEMBER),
        removed(ROOT, 3, 3, ANA, 0),
        added(ROOT, 4, 9, ANA, ADMIN),
    )
    assert folded(*gone).members.role(ANA) == ""
    assert folded(*gone).members.next_epoch(ANA) == 2
    back = added(ROOT, 5, 10, ANA, VIEWER, epoch=2, since=7)
    assert folded(*gone, back).members.role(ANA) == VIEWER
    assert folded(*gone, back).members.role_at(ANA, 6) == ""


def test_a_lower_role_holds_from_its_place_in_the_chain_and_history_stays() -> None:
    state = folded(
        added(ROOT, 2, 2, ANA, MEMBER),
        job(ANA, 1, 3),
        job(ANA, 2, 4),
        added(ROOT, 3, 5, ANA, VIEWER, since=2),
    )
    assert list(state.jobs) == ["j1"]


def test_two_admins_who_remove_each_other_are_both_out() -> None:
    pair = (added(ROOT, 2, 2, ANA, ADMIN), added(ROOT, 3, 3, BEN, ADMIN))
    state = folded(*pair, removed(ANA, 1, 4, BEN, 0), removed(BEN, 1, 5, ANA, 0))
    assert (state.members.role(ANA), state.members.role(BEN)) == ("", "")
    assert state.members.role(ROOT) == ADMIN


def test_a_stolen_admin_key_cannot_let_anyone_in_by_setting_its_clock_back() -> None:
    state = folded(
        added(ROOT, 2, 2, ANA, ADMIN), removed(ROOT, 3, 9, ANA, 4), added(ANA, 5, 3, EVE, ADMIN)
    )
    assert state.members.role(EVE) == ""


def test_even_the_root_may_be_removed() -> None:
    state = folded(
        added(ROOT, 2, 2, ANA, ADMIN), removed(ANA, 1, 3, ROOT, 2), added(ROOT, 3, 4, EVE, ADMIN)
    )
    assert (state.members.role(ROOT), state.members.role(EVE)) == ("", "")
    assert state.members.role(ANA) == ADMIN


def test_a_peer_may_rename_itself_and_an_admin_anyone() -> None:
    pair = (added(ROOT, 2, 2, ANA, VIEWER), added(ROOT, 3, 3, BEN, VIEWER))
    state = folded(
        *pair,
        event(ANA, 1, 4, "peer_renamed", key=ANA, name="den"),
        event(ANA, 2, 5, "peer_renamed", key=BEN, name="hacked"),
    )
    assert state.members.peer(ANA).name == "den"
    assert state.members.peer(BEN).name == "b"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"key": 3, "role": "admin"},
        {"key": EVE, "role": "god"},
        {"key": "e", "role": "admin"},
        {"key": EVE, "role": "admin", "epoch": "x", "since": -5, "tls": ["a"], "name": 7},
    ],
)
def test_a_malformed_grant_is_no_grant_or_a_plain_one(payload: dict[str, object]) -> None:
    state = folded(event(ROOT, 2, 2, "peer_added", **payload))
    assert state.members.role(EVE) in ("", ADMIN)


KEYS = st.sampled_from([ROOT, ANA, BEN, EVE])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Chains of a few authors granting, removing and noting at random instants."""
    made, seqs = [FOUNDED], {ROOT: 1}
    for at in range(2, draw(st.integers(3, 18))):
        author = draw(KEYS)
        seq = seqs[author] = seqs.get(author, 0) + 1
        what = draw(st.sampled_from(["add", "remove", "note"]))
        if what == "add":
            made.append(
                added(
                    author,
                    seq,
                    at,
                    draw(KEYS),
                    draw(st.sampled_from([VIEWER, ADMIN])),
                    draw(st.integers(1, 3)),
                    draw(st.integers(1, 5)),
                )
            )
        elif what == "remove":
            made.append(
                removed(
                    author, seq, at, draw(KEYS), draw(st.integers(0, 6)), draw(st.integers(1, 3))
                )
            )
        else:
            made.append(note(author, seq, at))
    return made


@given(histories(), st.randoms(use_true_random=False))
def test_membership_is_the_same_in_whatever_order_events_arrive(
    history: list[Event], rng: random.Random
) -> None:
    whole = folded(*history[1:])
    rng.shuffle(history)
    state = State(members=Members(root=ROOT))
    for one in history:
        apply(state, one)
    assert state.members.grants == whole.members.grants
    assert state.members.names == whole.members.names
    assert state.stale or state.note_count == whole.note_count


def test_a_flood_of_grants_by_nobody_is_bounded_and_changes_nothing() -> None:
    state = State(members=Members(root=ROOT))
    apply(state, FOUNDED)
    before = state.members.grants
    for seq in range(1, MAX_RECORDS + 50):
        apply(state, added(EVE, seq, 10 + seq, BEN, ADMIN))
    assert state.members.grants is before  # not even judged again
    assert len(state.members.log) == MAX_RECORDS + 1
    apply(state, added(ROOT, 2, 2, EVE, ADMIN))  # what waited counts once its author may say it
    assert state.members.role(BEN) == ADMIN
