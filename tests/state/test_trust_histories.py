"""Whatever is said in whatever order, verdicts and state are the same, and the slow oracle's."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from mesh.state.members import ADMIN, RUNNER, VIEWER, Members
from tests.state.trust_story import NAMES, Key, folded, in_chains, live
from tests.support.trust_reference import Verdict

KINDS = ("add", "remove", "note", "device_registered", "device_removed")
PEOPLE = ("root", "ana", "ben", "cid", "words", "evil")


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Keys that let in, put out, fork and note at random, with clocks anywhere."""
    root = Key("root")
    keys = {name: [Key(name, ms=draw(st.integers(0, 4 * 10**12)))] for name in PEOPLE}
    keys["root"] = [root]
    said = {name: list[Event]() for name in PEOPLE}
    made = [root.found(), root.add("ana", ADMIN)]
    said["root"] += made
    for _ in range(draw(st.integers(1, 16))):
        name = draw(st.sampled_from(PEOPLE))
        if said[name] and draw(st.integers(0, 5)) == 0:
            keys[name].append(keys[name][0].fork(draw(st.sampled_from([None, *said[name]]))))
        key, subject = draw(st.sampled_from(keys[name])), draw(st.sampled_from(PEOPLE))
        since = draw(st.sampled_from([None, *said[subject]]))
        kind = draw(st.sampled_from(KINDS))
        if kind == "add":
            known = [one for one in made if one.payload.get("key") == NAMES[subject]]
            names = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
            event = key.add(subject, draw(st.sampled_from([VIEWER, RUNNER, ADMIN])), since, names)
        elif kind == "remove":
            event = key.remove(subject, since)
        elif kind.startswith("device"):
            event = key.say(kind, device=draw(st.sampled_from(["rig", "box"])))
        else:
            event = key.say()
        made.append(event)
        said[name].append(event)
    return made


@settings(max_examples=300)
@given(histories(), st.randoms(use_true_random=False))
def test_verdicts_follow_from_the_events_whatever_their_order(
    history: list[Event], rng: random.Random
) -> None:
    slow = Verdict(history, NAMES["root"], NAMES["words"])
    shuffled = history[1:]
    rng.shuffle(shuffled)
    state = live([history[0], *shuffled])
    for event in history:
        assert state.members.role_of(event) == slow.role_at(event.hash), event.id
    assert digest(state) == digest(folded(history)) == digest(live(history))


@given(histories(), st.randoms(use_true_random=False))
def test_a_copy_of_what_is_known_gives_the_same_verdicts(
    history: list[Event], rng: random.Random
) -> None:
    state = live(in_chains(history))
    made: Members = state.members.copy()
    for name in PEOPLE:
        assert made.role(NAMES[name]) == state.members.role(NAMES[name])
        assert made.limit(NAMES[name]) == state.members.limit(NAMES[name])
