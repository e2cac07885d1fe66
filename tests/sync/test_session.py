"""A session asks for what is missing and nothing else, and believes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mesh.edge.store.ledger import Ledger
from mesh.ledger import document
from mesh.sync import messages
from mesh.sync.desk import PATIENCE_MS, Desk, Holder
from mesh.sync.manifest import digest
from mesh.sync.messages import Batch, Heads, Hello, Pull, Row, Tail
from mesh.sync.session import MAX_PULLS, ProtocolError, Rejected
from tests.sync.sessions import NOW, End, copy_of, notes, talk


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[list[Ledger]]:
    made = [Ledger.open(tmp_path / name) for name in ("ana", "ben", "cyd")]
    yield made
    for ledger in made:
        ledger.close()


def greet(end: End) -> None:
    """A neighbour that holds something else has said hello."""
    end.session.receive(messages.encode(Hello(messages.PROTOCOL, bytes(32), 0, bytes(32))), 0)
    while end.say() is not None:
        pass


def test_both_sides_end_with_both_sides_events(ledgers: list[Ledger]) -> None:
    ana, ben = End(ledgers[0]), End(ledgers[1])
    notes(ana.ledger, 1200)
    notes(ben.ledger, 7)
    talk(ana, ben)
    assert dict(ana.ledger.tips()) == dict(ben.ledger.tips())
    assert len(ben.got) == 1200
    assert ben.ledger.verify().findings == ana.ledger.verify().findings == ()
    assert (ben.session.tally.events_in, ben.session.tally.behind) == (1200, 0)


@pytest.mark.parametrize("count", [1, 1500])
def test_a_reconnect_with_nothing_new_is_two_hellos_whatever_the_size(
    ledgers: list[Ledger], count: int
) -> None:
    notes(ledgers[0], count)
    talk(End(ledgers[0]), End(ledgers[1]))
    ana, ben = End(ledgers[0]), End(ledgers[1])
    assert talk(ana, ben) < 160  # two hellos
    assert ana.kinds() == ben.kinds() == ["Hello"]


def test_a_few_new_events_go_as_an_automerge_tail_and_many_as_a_batch(
    ledgers: list[Ledger],
) -> None:
    ana, ben = End(ledgers[0]), End(ledgers[1])
    notes(ana.ledger, 10)
    talk(ana, ben)
    for count, kind in ((1, "Tail"), (1, "Tail"), (500, "Batch")):
        before = len(ana.said)
        notes(ana.ledger, count)
        ana.session.poke([ana.ledger.author], eager=True)
        talk(ana, ben)
        assert kind in ana.kinds()[before:]
    assert ben.ledger.count() == 512
    assert ben.ledger.verify().findings == ()


def test_once_they_talk_a_new_event_needs_one_message(ledgers: list[Ledger]) -> None:
    ana, ben = End(ledgers[0]), End(ledgers[1])
    notes(ana.ledger, 5)
    talk(ana, ben)
    for _ in range(2):
        (event,) = notes(ana.ledger, 1)
        ana.session.poke([ana.ledger.author], eager=True)
        before = len(ana.said)
        talk(ana, ben)
    assert ana.kinds()[before:] == ["Tail"]
    assert ben.got[-1] == event


def test_a_tail_crosses_into_the_next_segment(ledgers: list[Ledger]) -> None:
    ana, ben = End(ledgers[0]), End(ledgers[1])
    notes(ana.ledger, document.SEGMENT_EVENTS - 2)
    talk(ana, ben)
    for _ in range(5):
        notes(ana.ledger, 1)
        ana.session.poke([ana.ledger.author], eager=True)
        talk(ana, ben)
    assert ben.ledger.count() == document.SEGMENT_EVENTS + 3
    assert ben.ledger.verify().findings == ()


def test_an_interrupted_first_sync_goes_on_where_it_stopped(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 2500)
    with pytest.raises(AssertionError, match="without end"):
        talk(End(ledgers[0]), End(ledgers[1]), most=6)
    got = ledgers[1].count()
    assert 0 < got < 2500
    ana, ben = End(ledgers[0]), End(ledgers[1])
    talk(ana, ben)
    assert ben.ledger.count() == 2500
    assert len(ben.got) == 2500 - got


def test_two_neighbours_are_not_asked_for_the_same(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 50)
    talk(End(ledgers[0]), End(ledgers[1]))
    desk = Desk()
    ends = [End(ledgers[2], desk=desk), End(ledgers[2], desk=desk)]
    others = [End(ledgers[0]), End(ledgers[1])]
    for end, other in zip(ends, others, strict=True):
        for _ in range(2):
            for one, two in ((end, other), (other, end)):
                data = one.say()
                if data is not None:
                    two.session.receive(data, 0)
    assert [bool(end.say()) for end in ends] == [True, False]
    assert ends[1].session.waiting
    ends[0].session.close()  # the first link breaks before it answers
    assert ends[1].say() is not None


def test_a_neighbour_that_does_not_answer_is_passed_over(ledgers: list[Ledger]) -> None:
    desk, first, second = Desk(), Holder("first"), Holder("second")
    assert desk.claim("a", first, 0)
    assert not desk.claim("a", second, PATIENCE_MS - 1)
    assert desk.claim("a", second, PATIENCE_MS)
    assert not desk.claim("a", first, PATIENCE_MS + 1)


def fork(ledgers: list[Ledger], tmp_path: Path, shared: int, ana: int, copy: int) -> Ledger:
    """Ana's disk is copied after `shared` events; both copies go on by themselves."""
    notes(ledgers[0], shared)
    ledgers[0].close()
    copy_of(tmp_path / "ana", tmp_path / "copy")
    ledgers[0] = Ledger.open(tmp_path / "ana")
    ledgers.append(Ledger.open(tmp_path / "copy"))
    notes(ledgers[0], ana, "ana")
    notes(ledgers[3], copy, "copy")
    return ledgers[3]


@pytest.mark.parametrize(
    ("shared", "ana", "copy"), [(0, 1, 1), (5, 1, 1), (5, 3, 200), (990, 20, 400), (3, 0, 4)]
)
def test_both_branches_of_a_fork_reach_everyone_and_the_author_is_named(
    ledgers: list[Ledger], tmp_path: Path, shared: int, ana: int, copy: int
) -> None:
    other = fork(ledgers, tmp_path, shared, ana, copy)
    talk(End(ledgers[0]), End(ledgers[1]))  # ben has Ana's branch, cyd the copy's
    talk(End(other), End(ledgers[2]))
    talk(End(ledgers[1]), End(ledgers[2]))
    talk(End(ledgers[0]), End(ledgers[1]))
    talk(End(other), End(ledgers[2]))
    assert len({digest(ledger.tips()) for ledger in ledgers}) == 1
    assert {ledger.count() for ledger in ledgers} == {shared + ana + copy}
    for ledger in ledgers:
        forked = {ledgers[0].author: shared + 1} if ana and copy else {}
        assert dict(ledger.forked()) == forked
        findings = ledger.verify().findings
        assert [finding.text[:5] for finding in findings] == ["fork:"] * bool(forked)
    assert talk(End(ledgers[0]), End(other)) < 160  # two hellos


def test_a_branch_that_a_message_frees_is_no_lie_of_its_sender(
    ledgers: list[Ledger], tmp_path: Path
) -> None:
    other = fork(ledgers, tmp_path, 3, 1, 1)
    first = ledgers[0].page(ledgers[0].author, 0, 2, 1 << 20).envelopes
    last = other.page(other.author, 3, 1, 1 << 20).envelopes
    ledgers[1].take_in([*first, *last])  # the copy's fourth event waits for the third
    ana, ben = End(ledgers[0]), End(ledgers[1])
    talk(ana, ben)
    assert "Tail" in ana.kinds()
    talk(End(ledgers[0]), End(ledgers[1]))  # who pulled first has the other's branch to tell of
    assert dict(ledgers[0].tips()) == dict(ledgers[1].tips())
    assert ledgers[1].count() == 5


def test_a_removed_authors_events_count_up_to_the_cut_off(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 40)
    author = ledgers[0].author

    def until_25(who: str, seq: int) -> bool:
        return who != author or seq <= 25

    ben = End(ledgers[1], until_25)
    talk(End(ledgers[0]), ben)
    assert ledgers[1].count() == 25
    talk(End(ledgers[0]), End(ledgers[2]))  # cyd had them all before it heard of the removal
    cyd, ben = End(ledgers[2], until_25), End(ledgers[1], until_25)
    assert talk(cyd, ben) < 160  # two hellos
    assert ledgers[1].count() == 25


def test_an_author_nobody_admits_is_neither_asked_for_nor_offered(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 4)
    ana, ben = End(ledgers[0]), End(ledgers[1], lambda author, seq: False)
    talk(ana, ben)
    assert ben.kinds() == ["Hello"]
    assert ledgers[1].count() == 0


def test_nothing_is_said_or_heard_before_hello(ledgers: list[Ledger]) -> None:
    ana = End(ledgers[0])
    assert ana.say() is not None
    assert ana.say() is None
    with pytest.raises(ProtocolError, match="hello first"):
        ana.session.receive(messages.encode(Pull(bytes(32), 0)), 0)


def test_another_version_is_named(ledgers: list[Ledger]) -> None:
    with pytest.raises(ProtocolError, match="speaks version 9, not 2"):
        End(ledgers[0]).session.receive(messages.encode(Hello(9, bytes(32), 0, bytes(32))), 0)


def test_a_neighbour_cannot_queue_up_requests(ledgers: list[Ledger]) -> None:
    ana = End(ledgers[0])
    greet(ana)
    pull = messages.encode(Pull(bytes(32), 0))
    for _ in range(MAX_PULLS):
        ana.session.receive(pull, 0)
    with pytest.raises(ProtocolError, match="too much at once"):
        ana.session.receive(pull, 0)


def test_naming_many_strangers_is_no_breach_and_costs_no_memory(ledgers: list[Ledger]) -> None:
    ana = End(ledgers[0], lambda author, seq: False)
    greet(ana)
    for page in range(12):
        rows = tuple(
            Row((1000 * page + i).to_bytes(32, "big"), 1, bytes(32), 0) for i in range(1000)
        )
        ana.session.receive(messages.encode(Heads(rows)), 0)
    assert not ana.session._fetching.theirs
    assert not ana.session.waiting
    assert ana.say() is None


def asked(ledgers: list[Ledger]) -> tuple[End, Pull, Batch]:
    """Ben asked Ana for her ten events; what he asked, and her honest answer."""
    notes(ledgers[0], 10)
    ana, ben = End(ledgers[0]), End(ledgers[1])
    for _ in range(10):
        for one, two in ((ana, ben), (ben, ana)):
            data = one.say()
            if isinstance(ana.said[-1], Batch):
                return ben, ben.said[-1], ana.said[-1]  # type: ignore[return-value]
            if data is not None:
                two.session.receive(data, 0)
    raise AssertionError("no batch")


def test_a_forged_signature_ends_the_conversation_and_keeps_what_was_sound(
    ledgers: list[Ledger],
) -> None:
    ben, _, batch = asked(ledgers)
    events = messages.unpack(batch.events)
    events[6] = (bytes(64), events[6][1])
    with pytest.raises(Rejected, match="signature is not by author") as error:
        ben.session.receive(
            messages.encode(replace(batch, events=messages.pack(events))),
            0,
        )
    assert [event.seq for event in error.value.events] == [1, 2, 3, 4, 5, 6]
    assert ledgers[1].count() == 6


@pytest.mark.parametrize("lie", ["other author", "order", "past the end"])
def test_a_batch_with_events_that_were_not_asked_for_is_refused(
    ledgers: list[Ledger], lie: str
) -> None:
    ben, _, batch = asked(ledgers)
    events = messages.unpack(batch.events)
    last = batch.last
    if lie == "other author":
        notes(ledgers[2], 1)
        events += ledgers[2].page(ledgers[2].author, 0, 1, 1).envelopes
    elif lie == "order":
        events.reverse()
    else:
        last = 5
    lying = replace(batch, last=last, events=messages.pack(events))
    with pytest.raises(ProtocolError, match="not asked for"):
        ben.session.receive(messages.encode(lying), 0)
    assert ledgers[1].count() == 0


def test_a_batch_that_was_not_asked_for_is_ignored(ledgers: list[Ledger]) -> None:
    ben, _, batch = asked(ledgers)
    stray = replace(batch, after=3)
    assert ben.session.receive(messages.encode(stray), 0) == ()
    assert ledgers[1].count() == 0


def test_tips_of_events_that_do_not_exist_cost_a_few_questions(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 10)
    talk(End(ledgers[0]), End(ledgers[1]))
    ana, ben = End(ledgers[0]), End(ledgers[1])
    talk(ana, ben)
    row = Row(bytes.fromhex(ledgers[0].author), 10_000, bytes(32), 7)
    ben.session.receive(messages.encode(Heads((row,))), 0)
    talk(ana, ben, most=40)
    assert ben.kinds().count("Pull") < 5


def test_a_tail_about_another_segment_than_ours_is_no_harm(ledgers: list[Ledger]) -> None:
    notes(ledgers[0], 20)
    talk(End(ledgers[0]), End(ledgers[1]))
    ana, ben = End(ledgers[0]), End(ledgers[1])
    talk(ana, ben)
    notes(ledgers[0], 1)
    ana.session.poke([ledgers[0].author], eager=True)
    talk(ana, ben)
    tail = next(message for message in ana.said if isinstance(message, Tail))
    moved = Tail(tail.author, 77, tail.data)
    ben.session.receive(messages.encode(moved), 0)
    assert ledgers[1].count() == 21


def test_an_hour_of_clock_error_changes_nothing(ledgers: list[Ledger]) -> None:
    ledgers[0].append("note_added", "", {}, NOW + 3_600_000)
    ledgers[1].append("note_added", "", {}, NOW - 3_600_000)
    talk(End(ledgers[0]), End(ledgers[1]))
    assert [e.id for e in ledgers[0].ordered()] == [e.id for e in ledgers[1].ordered()]


def test_empty_batches_do_not_keep_an_author_from_other_neighbours(
    ledgers: list[Ledger],
) -> None:
    ben, _, batch = asked(ledgers)
    empty = replace(batch, last=5, more=True, events=messages.pack([]))
    ben.session.receive(messages.encode(empty), 0)
    assert ben.session._desk.claim(batch.author.hex(), Holder("another"), 0)
    assert not any(isinstance(messages.decode(said), Pull) for said in iter(ben.say, None))
