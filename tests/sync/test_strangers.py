"""Strangers can neither stop nor fill honest peers, whatever a member passes on for them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.sync import messages
from mesh.sync.messages import Batch, Heads, Pull
from tests.sync.fleets import Peer, Signer, meet
from tests.sync.sessions import End, notes, talk


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    """Ana, Ben and a television that only views; all three are members."""
    made = [Peer(tmp_path / name) for name in ("ana", "ben", "tv")]
    for one in made:
        one.trust(made)
    yield made
    for one in made:
        one.ledger.close()


def flood(peer: Peer, count: int, events: int = 1) -> set[str]:
    """Events of keys that somebody made up, straight into a ledger."""
    keys = [Signer(1 + number) for number in range(count)]
    for start in range(0, count, 2000):
        group = keys[start : start + 2000]
        peer.ledger.take_in([key.say("spam") for key in group for _ in range(events)])
    return {key.author for key in keys}


def test_twelve_thousand_made_up_keys_at_a_viewer_stop_nobody(peers: list[Peer]) -> None:
    ana, ben, tv = peers
    flood(tv, 12_000)
    tv.everyone = True  # it runs a program of its own, that announces all it has
    notes(ana.ledger, 3)
    notes(ben.ledger, 1300)
    for one in (ana, ben):
        for _ in range(2):
            meet(tv, one)  # no ProtocolError on either side
    meet(ana, ben)
    assert ana.authors() == ben.authors() == {ana.author, ben.author}
    assert ana.ledger.count() == ben.ledger.count() == 1303
    assert ana.holds() == ben.holds()


def test_honest_peers_that_hold_strangers_from_an_earlier_life_still_agree(
    peers: list[Peer],
) -> None:
    ana, ben, _ = peers
    strangers = flood(ana, 300)
    notes(ana.ledger, 5)
    one, two = meet(ana, ben)
    assert ben.authors() == {ana.author}
    assert ana.holds() == ben.holds()
    assert strangers <= ana.authors()
    named = {row.author.hex() for said in one.said if isinstance(said, Heads) for row in said.rows}
    assert named == {ana.author}
    one, two = meet(ana, ben)
    assert one.kinds() == two.kinds() == ["Hello"]


def test_what_a_viewer_relays_of_invented_keys_is_neither_stored_nor_relayed(
    peers: list[Peer],
) -> None:
    ana, ben, tv = peers
    invented = flood(tv, 10, events=20)
    tv.everyone = True
    viewer, ours = meet(tv, ana)
    assert {author for author in ana.authors() if author in invented} == set()
    assert not any(isinstance(said, Pull) for said in ours.said)
    for author in sorted(invented):  # pushed without being asked
        page = tv.ledger.page(author, 0, 50, 1 << 20)
        events = messages.pack(page.envelopes)
        batch = Batch(
            author=bytes.fromhex(author), after=0, last=page.last, more=False, events=events
        )
        assert ours.session.receive(messages.encode(batch), 0) == ()
    meet(ana, ben)
    assert ben.authors() == set()
    assert viewer.session.tally.events_out == 0


def test_nobody_is_served_what_does_not_count_here(peers: list[Peer]) -> None:
    ana, ben, _ = peers
    (stranger,) = flood(ana, 1, events=3)
    one, two = ana.end(), ben.end()
    talk(one, two)
    pull = Pull(bytes.fromhex(stranger), 0)
    one.session.receive(messages.encode(pull), 0)
    answer = messages.decode(one.say() or b"")
    assert isinstance(answer, Batch)
    assert (answer.last, answer.more, messages.unpack(answer.events)) == (0, False, [])


def test_past_a_cut_off_nothing_is_served_and_the_rest_is(peers: list[Peer]) -> None:
    ana, ben, tv = peers
    notes(tv.ledger, 40)
    meet(tv, ana)
    limited = End(ana.ledger, lambda author, seq: seq <= 25)
    talk(limited, ben.end())
    assert ben.ledger.count() == 25
    limited.session.receive(messages.encode(Pull(bytes.fromhex(tv.author), 10)), 0)
    answer = messages.decode(limited.say() or b"")
    assert isinstance(answer, Batch)
    assert (answer.last, answer.more, len(messages.unpack(answer.events))) == (25, False, 15)
    limited.session.receive(messages.encode(Pull(bytes.fromhex(tv.author), 30)), 0)
    answer = messages.decode(limited.say() or b"")
    assert isinstance(answer, Batch)
    assert (answer.last, answer.more, messages.unpack(answer.events)) == (30, False, [])


@pytest.mark.parametrize("learns_first", ["we", "the neighbour", "both at once"])
def test_a_newcomers_events_come_once_both_know_it(
    peers: list[Peer], learns_first: str, tmp_path: Path
) -> None:
    ana, ben, _ = peers
    new = Signer(77)
    ben.ledger.take_in([new.say("hello"), new.say("again")])
    notes(ana.ledger, 2)
    one, two = meet(ana, ben)
    orders = {"we": [ana, ben], "the neighbour": [ben, ana], "both at once": []}
    for peer in orders[learns_first]:
        peer.members.add(new.author)
        (one if peer is ana else two).session.refresh()
        talk(one, two)
    if learns_first == "both at once":
        for peer, end in ((ana, one), (ben, two)):
            peer.members.add(new.author)
            end.session.refresh()
        talk(one, two)
    assert ana.ledger.count() == ben.ledger.count() == 4
    assert ana.holds() == ben.holds()


def test_what_was_ignored_is_named_again_when_only_we_learn_of_it(peers: list[Peer]) -> None:
    ana, ben, _ = peers
    new = Signer(78)
    ben.ledger.take_in([new.say("hello")])
    ben.members.add(new.author)  # the neighbour knows it, and named it to no avail
    one, two = meet(ana, ben)
    assert new.author not in ana.authors()
    ana.members.add(new.author)
    one.session.refresh()
    talk(one, two)
    assert new.author in ana.authors()


def test_who_is_no_member_any_more_is_forgotten(peers: list[Peer]) -> None:
    ana, ben, tv = peers
    notes(tv.ledger, 3)
    meet(tv, ben)
    one, two = meet(ana, ben)
    ana.members.discard(tv.author)
    one.session.refresh()
    talk(one, two)
    assert tv.author not in one.session._fetching.theirs


def test_who_says_who_belongs_is_fetched_first(peers: list[Peer]) -> None:
    ana, ben, _ = peers
    others = sorted((Signer(100 + number) for number in range(9)), key=lambda one: one.author)
    for one in others:
        ben.ledger.take_in([one.say("x")])
    ana.everyone = ben.everyone = True
    first = {others[7].author: 0, others[4].author: 1, others[2].author: 2}
    end = ana.end(rank=lambda author: first.get(author, 3))
    talk(end, ben.end())
    asked = [said.author.hex() for said in end.said if isinstance(said, Pull)]
    assert asked[:3] == [others[7].author, others[4].author, others[2].author]
    assert len(asked) == 9


def test_a_few_events_below_a_cut_off_come_within_the_conversation(peers: list[Peer]) -> None:
    ana, ben, tv = peers
    notes(tv.ledger, 2)
    meet(tv, ana)
    notes(tv.ledger, 6)
    meet(tv, ben)  # ben holds eight; then tv is removed, and five of them count
    ends = [End(one.ledger, lambda author, seq: seq <= 5) for one in (ana, ben)]
    talk(*ends)
    assert "Tail" in ends[0].kinds()  # to which ben's document has no answer
    assert ana.ledger.count() == 5
