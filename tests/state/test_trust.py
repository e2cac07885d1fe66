"""Verdicts on membership: seniority and named events decide, no clock and no order of arrival."""

import random
from itertools import permutations

import pytest

from mesh.ledger.codec import MAX_INT
from mesh.ledger.event import Event
from mesh.state.checkpoint import digest, pack, unpack
from mesh.state.fold import apply
from mesh.state.members import ADMIN, MAX_WAITING, MEMBER, RUNNER, VIEWER, Members
from mesh.state.state import State
from mesh.state.trust.chains import MAX_SIBLINGS, Chains
from mesh.state.trust.verdicts import VIEWER_EVENTS
from tests.state.trust_story import NAMES, Key, fleet, folded, live


def role(state: State, name: str) -> str:
    return state.members.role(NAMES[name])


def test_a_branch_below_a_removal_gives_nobody_anything() -> None:
    root, _, ben, _, events = fleet()
    kept, tip = ben.say(), ben.say()
    events += [kept, tip, root.remove("ben", tip)]
    thief = ben.fork(kept)
    state = live([*events, thief.add("evil", ADMIN), ben.add("evil", ADMIN)])
    assert (role(state, "evil"), role(state, "ben")) == ("", "")
    assert state.members.role_of(tip) == ADMIN


def test_nobody_undoes_a_fleet() -> None:
    _, _, ben, _, events = fleet()
    state = live([*events, ben.remove("root"), ben.remove("ana")])
    assert (role(state, "root"), role(state, "ana"), role(state, "evil")) == (ADMIN, ADMIN, "")
    assert not state.members.alone


def test_of_two_admins_who_remove_each_other_the_one_let_in_first_stays() -> None:
    _, ana, ben, _, events = fleet()
    for order in permutations([ana.remove("ben"), ben.remove("ana")]):
        state = live([*events, *order])
        assert (role(state, "ana"), role(state, "ben")) == (ADMIN, "")


def test_the_recovery_words_take_a_fleet_back_from_a_stolen_founders_key() -> None:
    root, _, _, words, events = fleet()
    honest = root.last
    events += [root.remove("ana"), root.remove("ben"), root.add("evil", ADMIN)]
    assert role(live(events), "ana") == ""  # the founder's key may do that, until ...
    state = live([*events, words.remove("root", honest)])
    assert [role(state, one) for one in ("ana", "ben", "evil", "root")] == [ADMIN, ADMIN, "", ""]


def test_nobody_ends_what_the_recovery_words_give() -> None:
    root, ana, _, words, events = fleet()
    given = words.add("cid", ADMIN)
    events += [given, root.remove("cid"), ana.remove("words"), root.remove("words")]
    assert role(live(events), "cid") == ADMIN
    state = live([*events, words.remove("root", events[0])])
    assert (role(state, "root"), role(state, "cid")) == ("", ADMIN)


def test_a_grant_made_without_knowing_of_a_removal_does_not_survive_it() -> None:
    root, ana, _, _, events = fleet()
    gone = root.remove("ben")
    blind = ana.add("ben", RUNNER)
    assert role(live([*events, gone, blind]), "ben") == ""
    again = ana.add("ben", RUNNER, names=[gone])
    assert role(live([*events, gone, blind, again]), "ben") == RUNNER


def test_a_demotion_keeps_what_was_done_before_it() -> None:
    root, ana, _, _, events = fleet()
    before, given = ana.add("cid", MEMBER), events[1]
    events += [before, root.add("ana", VIEWER, since=before, names=[given])]
    other = ana.fork(None)
    state = live([*events, ana.add("evil", ADMIN), other.add("evil", ADMIN)])
    assert [role(state, one) for one in ("ana", "cid", "evil")] == [VIEWER, MEMBER, ""]


def test_a_restored_disk_harms_nobody() -> None:
    root, _, _, _, events = fleet()
    again = root.fork(events[1])  # yesterday's disk signs before it heard of its own newer events
    state = live([*events, again.say(), again.add("cid", RUNNER)])
    assert [role(state, one) for one in ("root", "ana", "ben")] == [ADMIN] * 3
    assert role(state, "cid") == RUNNER


def test_a_removal_names_an_event_that_has_not_come_yet() -> None:
    root, ana, _, _, events = fleet()
    first, last = ana.say(), ana.say()
    events = [*events, root.remove("ana", last)]
    assert live(events).note_count == 0
    assert live([*events, first]).note_count == 0  # nobody knows yet that it leads there
    assert live([*events, first, last]).note_count == 2
    assert live([*events, first, ana.fork(first).say()]).note_count == 0


@pytest.mark.parametrize("ms", [0, 4_102_444_800_000])
def test_no_date_on_a_grant_or_removal_matters(ms: int) -> None:
    root, ana, _, _, events = fleet()
    ana.ms = ms
    given = ana.add("cid", RUNNER)
    assert role(live([*events, given]), "cid") == RUNNER
    root.ms += 1
    lowered = root.add("cid", VIEWER, names=[given])
    assert role(live([*events, given, lowered]), "cid") == VIEWER
    gone = root.remove("cid")
    assert role(live([*events, given, lowered, gone]), "cid") == ""


@pytest.mark.parametrize("ms", [0, 4_102_444_800_000])
def test_a_removal_ends_a_grant_whichever_is_dated_first(ms: int) -> None:
    root, ana, _, _, events = fleet()
    ana.ms = ms
    events += [ana.add("cid", RUNNER), root.add("dan", RUNNER)]
    assert [role(live(events), one) for one in ("cid", "dan")] == [RUNNER, RUNNER]
    events += [root.remove("cid"), ana.remove("dan")]
    assert [role(live(events), one) for one in ("cid", "dan")] == ["", ""]


@pytest.mark.parametrize("ms", [0, 4_102_444_800_000])
def test_the_senior_is_heard_first_whenever_it_says_it_spoke(ms: int) -> None:
    """Cid, let in by the senior admin, put Dan out from the start: what Dan gave is nobody's."""
    _, ana, ben, _, events = fleet()
    ana.ms = ms
    events += [ana.add("cid", ADMIN), ben.add("dan", ADMIN)]
    cid, dan = Key("cid", ms=ms), Key("dan")
    said = [dan.add("evil", RUNNER), dan.remove("cid"), cid.remove("dan")]
    for order in permutations(said):
        state = live([*events, *order])
        assert [role(state, one) for one in ("cid", "dan", "evil")] == [ADMIN, "", ""]
    state = folded([*events, *said])
    assert [role(state, one) for one in ("cid", "dan", "evil")] == [ADMIN, "", ""]


def test_no_number_in_a_removal_keeps_anybody_out_for_good() -> None:
    root, ana, _, _, events = fleet()
    events += [root.add("cid", RUNNER)]
    last = {"key": NAMES["cid"], "epoch": MAX_INT, "until": MAX_INT, "until_hash": "f" * 64}
    gone = [ana.say("peer_removed", **{**last, **more}) for more in ({}, {"until_hash": ""})]
    assert role(live([*events, *gone]), "cid") == ""
    assert role(live([*events, *gone, root.add("cid", RUNNER, names=gone)]), "cid") == RUNNER


def test_removals_are_never_too_many() -> None:
    root, _, _, _, events = fleet()
    for _ in range(1500):
        events += [root.add("cid", RUNNER), root.remove("cid")]
    events += [root.add("dan", RUNNER), root.remove("ben")]
    assert [role(folded(events), one) for one in ("cid", "dan", "ben")] == ["", RUNNER, ""]


def test_whoever_leaves_is_out_and_what_it_said_stays() -> None:
    root, ana, _, _, events = fleet()
    events += [root.add("cid", RUNNER)]
    cid = Key("cid")
    said = [cid.say(), cid.remove("cid"), cid.say()]
    state = live([*events, *said])
    assert (role(state, "cid"), state.note_count) == ("", 1)
    assert role(live([*events, ana.remove("ana")]), "ana") == ""


def test_a_stranger_is_not_taken_in_and_a_removed_peer_as_far_as_it_is_named() -> None:
    root, ana, _, _, events = fleet()
    first, last = ana.say(), ana.say()
    state = live([*events, first, last, root.remove("ana", first)])
    admits = state.members.admits
    assert not admits(NAMES["evil"], 1)
    assert admits(NAMES["ana"], 1)
    assert not admits(NAMES["ana"], 2)
    assert admits(NAMES["root"], 10**9)


def test_a_viewer_may_not_fill_disks() -> None:
    root, _, _, _, events = fleet()
    members = live([*events, root.add("cid", VIEWER)]).members
    assert members.admits(NAMES["cid"], VIEWER_EVENTS)
    assert not members.admits(NAMES["cid"], VIEWER_EVENTS + 1)


def test_a_removal_after_a_snapshot_takes_back_what_the_snapshot_holds() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    before = cid.say()
    events += [root.add("cid", MEMBER), before, cid.say()]
    state = live(events)
    state.cursor = state.event_count
    loaded = unpack(pack(state))
    assert loaded is not None
    apply(loaded, root.remove("cid", before), lambda *claim: claim[2] == before.hash)
    assert loaded.changed == {NAMES["cid"]}


@pytest.mark.parametrize("first", [True, False])
def test_nobody_but_the_founder_gives_an_older_fleet_its_words(first: bool) -> None:  # noqa: FBT001
    root, ana = Key("root"), Key("ana")
    old = root.say("peer_added", key=NAMES["ana"], role=ADMIN, epoch=1, since=1, name="", tls="")
    forged = ana.say("fleet_founded", recovery=NAMES["evil"], name="", tls="")
    said = [forged, root.found()] if first else [root.found(), forged]
    assert live([old, *said]).members.recovery == NAMES["words"]


def test_an_event_named_with_another_number_is_another_event() -> None:
    root, ana, *_, events = fleet()
    one, two = ana.say(), ana.say()
    wrong = root.say("peer_removed", key=NAMES["ana"], until=1, until_hash=two.hash, reason="")
    assert live([*events, wrong, one, two]).note_count == 0
    assert live([*events, one, two, wrong]).note_count == 0


def test_a_branch_of_a_branch_is_where_it_says() -> None:
    root, ana, *_, events = fleet()
    first, last = ana.say(), ana.say()
    side = ana.fork(first)
    a, b = side.say(), side.say()
    third = ana.fork(a).say()
    for cut, count in ((third, 3), (b, 3), (last, 2)):
        gone = root.fork(events[2]).remove("ana", cut)
        assert live([*events, first, last, a, b, third, gone]).note_count == count


def test_where_an_admin_leaves_the_rest_of_what_it_said_elsewhere_is_void() -> None:
    _, ana, _, _, events = fleet()
    kept = ana.say()
    elsewhere = ana.fork(kept)
    given, goodbye = elsewhere.add("cid", RUNNER), ana.remove("ana")
    for order in permutations([given, goodbye]):
        assert role(live([*events, kept, *order]), "cid") == ""


def test_who_left_and_was_let_in_by_its_senior_meanwhile_stays() -> None:
    root, ana, _, words, events = fleet()
    goodbye = ana.say()
    again = words.add("ana", ADMIN, since=goodbye)
    left = ana.remove("ana")
    state = live([*events, goodbye, again, left])
    assert role(state, "ana") == ""  # it left after it was let in again
    back = words.add("ana", ADMIN, since=left, names=[left])
    assert role(live([*events, goodbye, again, left, back]), "ana") == ADMIN


def test_a_goodbye_ends_what_it_was_said_by_and_nothing_senior() -> None:
    """On another disk Ana says goodbye where only the founder's grant reaches; the words' stays."""
    _, ana, _, words, events = fleet()
    said = [ana.say() for _ in range(3)]
    again = words.add("ana", ADMIN, since=said[-1])
    goodbye = ana.fork(said[0]).remove("ana")
    for order in permutations([again, goodbye]):
        state = live([*events, *said, *order])
        assert (role(state, "ana"), state.members.seniority(NAMES["ana"])[0]) == (ADMIN, 0)


def test_the_founding_is_the_founders_alone_and_happens_once() -> None:
    root, ana, _, _, events = fleet()
    mine = live([*events, ana.say("fleet_founded", recovery=NAMES["evil"], name="", tls="")])
    assert mine.members.recovery == NAMES["words"]
    again = live([*events, root.say("fleet_founded", recovery=NAMES["evil"], name="", tls="")])
    assert again.members.recovery == NAMES["words"]
    assert (again.members.root, again.members.founding) == (NAMES["root"], events[0].hash)


def test_an_older_fleet_gets_its_words_later() -> None:
    root = Key("root")
    old = [root.say("peer_added", key=NAMES["root"], role=ADMIN, epoch=1, since=1, name="", tls="")]
    assert live(old).members.recovery == ""
    state = live([*old, root.found(), Key("words").remove("root", old[0])])
    assert (state.members.recovery, role(state, "root")) == (NAMES["words"], "")


@pytest.mark.parametrize("count", [MAX_SIBLINGS - 1, MAX_SIBLINGS + 4])
def test_an_author_with_very_many_branches_counts_up_to_them_until_one_is_named(count: int) -> None:
    root, ana, _, words, events = fleet()
    first = ana.say()
    branches = [ana.fork(first) for _ in range(count)]
    shattered = [*events, first, *(one.say() for one in branches)]
    state = live(shattered)
    assert state.note_count == (count + 1 if count < MAX_SIBLINGS else 1)
    good = branches[-1].last
    named = live([*shattered, words.remove("ana", good)])
    assert named.note_count == 2
    assert named.members.role_of(good) == ADMIN


def test_a_branch_that_somebody_names_who_may_end_nothing_counts_at_once() -> None:
    """A junior's removal of the shattered author ends no grant, yet says which branch it saw."""
    _, ana, _, _, events = fleet()
    first = ana.say()
    branches = [ana.fork(first) for _ in range(MAX_SIBLINGS)]
    said = [*events, ana.fork(None).add("cid", ADMIN), first, *(one.say() for one in branches)]
    named = [*said, Key("cid").remove("ana", branches[3].last)]
    assert live(said).note_count == 1
    assert live(named).note_count == 2
    assert digest(live(named)) == digest(folded(named))


def test_peers_that_hold_different_siblings_know_the_same_of_their_author() -> None:
    _, ana, _, _, events = fleet()
    first = ana.say()
    branches = [ana.fork(first) for _ in range(2 * MAX_SIBLINGS)]
    said = [one.say() for one in branches]
    longer = [one.say() for one in branches[:MAX_SIBLINGS]]
    one = live([*events, first, *said[:MAX_SIBLINGS], *longer])
    other = live([*events, first, *said[MAX_SIBLINGS:]])
    assert digest(one) == digest(other)
    for state in (one, other):  # the siblings are passed on, or others would not know
        assert state.members.shattered == {NAMES["ana"]: said[0].seq}
        assert state.members.limit(NAMES["ana"]) == said[0].seq


def test_siblings_beyond_the_end_of_the_main_line_are_counted_as_they_are() -> None:
    _, ana, _, _, events = fleet()
    first = ana.say()
    told = [*events, first, ana.say()]
    for _ in range(4):
        told.append(root := ana.fork(first).say())
        told += [ana.fork(root).say() for _ in range(MAX_SIBLINGS // 4)]
    assert live(told[:-1]).members.shattered == {}
    assert live(told).members.shattered == {NAMES["ana"]: first.seq + 2}


def test_a_cut_on_a_branch_holds_where_the_ledger_had_its_event_before_it_was_read() -> None:
    _, ana, _, words, events = fleet()
    kept = ana.say()
    other = ana.fork(kept)
    mine, good, gift = ana.say(), other.say(), other.add("evil", RUNNER)
    told = [*events, kept, mine, words.remove("ana", gift), good, gift]
    held = {(one.author, one.seq, one.hash) for one in told}
    read = State(members=Members(NAMES["root"]))
    for event in told:  # as at a start, when the ledger holds all of it already
        apply(read, event, lambda *claim: claim in held)
        read.members.judge()
    assert role(read, "evil") == role(folded(told), "evil") == RUNNER
    assert NAMES["ana"] in read.changed


def test_of_two_removals_of_one_key_both_named_events_are_fetched() -> None:
    """A cut whose event never came would cover nothing, on some peers and not on others."""
    root, ana, ben, _, events = fleet()
    first, second = ben.say(), ben.say()
    told = [*events, first, root.remove("ben", first), ana.remove("ben", second)]
    state = live(told)
    assert state.members.limit(NAMES["ben"]) == second.seq
    assert state.members.role_of(first) == ""
    assert live([*told, second]).members.role_of(first) == ADMIN


def test_the_founding_is_known_however_late_what_ends_its_founder_comes() -> None:
    root, _, _, words, events = fleet()
    founding, last = events[0], root.say()
    cut = words.remove("root", last)
    states = []
    for told in ([*events, last, cut], [cut, *events, last]):
        state = State(members=Members(NAMES["root"], founding.hash, NAMES["words"]))
        came: set[tuple[str, int, str]] = set()
        for event in told:
            came.add((event.author, event.seq, event.hash))
            apply(state, event, lambda *claim, came=came: claim in came)
        states.append(state)
    assert [one.members.name(NAMES["root"]) for one in states] == ["root", "root"]


def test_a_removed_founders_name_does_not_depend_on_what_is_left_of_it() -> None:
    root, _, _, words, events = fleet()
    members = [Members(NAMES["root"], events[0].hash, NAMES["words"]) for _ in range(2)]
    gone = words.remove("root")
    states = []
    for known, told in zip(members, ([*events, gone], [gone]), strict=True):
        states.append(State(members=known))
        for event in told:
            apply(states[-1], event)
    assert [one.members.name(NAMES["root"]) for one in states] == ["", ""]


def test_whether_an_event_leads_to_another_is_found_in_few_steps() -> None:
    rng = random.Random(3)
    root = Key("root")
    trunk = [root.say()]
    told: list[Event] = list(trunk)
    parents: dict[str, Event] = {}
    for _ in range(400):
        after = told[-1] if rng.random() < 0.5 else rng.choice(told)
        made = root.fork(after).say()
        parents[made.hash] = after
        told.append(made)
    chains = Chains()
    for event in told:
        chains.add(event)
    for _ in range(2000):
        old, new = rng.choice(told), rng.choice(told)
        at: Event | None = new
        while at is not None and at.hash != old.hash:
            at = parents.get(at.hash)
        places = [chains.place(one.author, one.seq, one.hash) for one in (old, new)]
        assert chains.reaches(old.author, *places) == (at is not None)
    assert_few_steps(chains, told[0].author)


def test_branches_of_branches_of_branches_cost_few_steps_too() -> None:
    """Each branch begins in the middle of the one before: 1,000 steps by their parents."""
    root, chains = Key("root"), Chains()
    first = root.say()
    told = [first]
    for _ in range(1000):
        told.append(root.say())  # goes on with the branch, so the next begins another
        root = root.fork(first)
        first = root.say()
        told.append(first)
    for event in told:
        chains.add(event)
    assert max(one.depth for one in chains.branches[first.author]) == 1000
    assert_few_steps(chains, first.author)
    ends = [chains.place(one.author, one.seq, one.hash) for one in (told[0], told[-1])]
    assert chains.reaches(first.author, *ends)
    assert not chains.reaches(first.author, *reversed(ends))


def assert_few_steps(chains: Chains, author: str) -> None:
    branches = chains.branches[author]
    at_most = 2 * max(one.depth for one in branches).bit_length()
    for number in range(len(branches)):
        steps, at_branch = 0, number
        while at_branch:
            at_branch, steps = branches[at_branch].jump, steps + 1
        assert steps <= at_most


def test_what_a_new_grant_must_name_is_said() -> None:
    root, _, _, _, events = fleet()
    gone = root.remove("ben")
    state = live([*events, gone])
    assert state.members.names_for(NAMES["ben"]) == (gone.hash,)
    assert state.members.names_for(NAMES["ana"]) == (events[1].hash,)
    assert state.members.may_end(NAMES["root"], NAMES["ana"])
    assert not state.members.may_end(NAMES["ana"], NAMES["root"])
    assert state.members.admins() == [NAMES["root"], NAMES["ana"]]


def test_whoever_says_much_before_it_may_is_heard_once_it_may() -> None:
    root, _, _, _, events = fleet()
    cid = Key("cid")
    events += [root.add("cid", MEMBER), *(cid.remove("evil") for _ in range(MAX_WAITING + 44))]
    late = [*events, cid.add("dan", RUNNER)]
    assert role(live(late), "dan") == ""
    assert role(live([*late, root.add("cid", ADMIN)]), "dan") == RUNNER


def test_whoever_said_very_much_may_still_leave() -> None:
    """A goodbye counts whoever says it, so it is kept where others are dropped."""
    root, _, _, _, events = fleet()
    cid = Key("cid")
    events += [root.add("cid", MEMBER), *(cid.remove("evil") for _ in range(MAX_WAITING))]
    state = live([*events, cid.remove("cid")])
    assert role(state, "cid") == ""
    assert not state.members.dropped
