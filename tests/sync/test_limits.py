"""Each bound on what a neighbour sends has a case that fails where the bound is not checked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from automerge.core import ROOT, Document, ScalarType

from mesh.ledger import codec, gate, signing
from mesh.ledger.codec import MAX_EVENT_BYTES
from mesh.ledger.document import Segment
from mesh.ledger.event import Event
from mesh.sync import messages
from mesh.sync.archive import Envelope
from mesh.sync.messages import (
    BATCH_EVENTS,
    MAX_BATCH_BYTES,
    MAX_BATCH_EVENTS,
    MAX_MESSAGE_BYTES,
    Batch,
    Heads,
    Hello,
    MessageError,
    Pull,
    Row,
    Tail,
)
from mesh.sync.session import ProtocolError, Rejected
from tests.sync.fleets import Peer, Signer
from tests.sync.sessions import End, notes, talk
from tests.sync.test_decoders import said


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    made = [Peer(tmp_path / name) for name in ("ana", "ben")]
    for one in made:
        one.trust(made)
    yield made
    for one in made:
        one.ledger.close()


def asking(peer: Peer, author: str, seq: int) -> End:
    """An end that has just asked a neighbour for an author's events from the first on."""
    end = peer.end()
    end.session.receive(messages.encode(Hello(2, bytes(32), 0, bytes(32))), 0)
    row = Row(bytes.fromhex(author), seq, bytes(32), 0)
    end.session.receive(messages.encode(Heads((row,))), 0)
    while end.say() is not None:
        pass
    assert end.said[-1] == Pull(bytes.fromhex(author), 0)
    return end


def batch(author: str, *events: Envelope, last: int) -> bytes:
    made = Batch(
        author=bytes.fromhex(author), after=0, last=last, more=False, events=messages.pack(events)
    )
    return messages.encode(made)


def test_a_removed_authors_event_does_not_come_in_under_anothers_name(peers: list[Peer]) -> None:
    ana, _ = peers
    member, removed = Signer(1), Signer(2)
    ana.members.add(member.author)
    end = asking(ana, member.author, 1)
    with pytest.raises(ProtocolError, match="not asked for"):
        end.session.receive(batch(member.author, removed.say("back again"), last=1), 0)
    assert ana.ledger.count() == 0


def test_nor_as_a_change_in_anothers_document(peers: list[Peer]) -> None:
    ana, _ = peers
    member, removed = Signer(1), Signer(2)
    ana.members.add(member.author)
    first = member.say("first")
    ana.ledger.take_in([first])
    removed.say("one")
    sig, body = removed.say("two")  # at the seq where the member's next event belongs
    base = _document(member, [(1, *first)])
    lie = _document(member, [(1, *first), (2, sig, body)])
    data = said(lie, Segment(member.author, base.save()))
    end = ana.end()
    end.session.receive(messages.encode(Hello(2, bytes(32), 0, bytes(32))), 0)
    with pytest.raises(ProtocolError, match="another event than it says"):
        end.session.receive(messages.encode(Tail(bytes.fromhex(member.author), 0, data)), 0)
    assert ana.ledger.count() == 1


def test_nor_a_members_own_under_another_number(peers: list[Peer]) -> None:
    ana, _ = peers
    member = Signer(1)
    ana.members.add(member.author)
    first, second, third = member.say("first"), member.say("second"), member.say("third")
    ana.ledger.take_in([first])
    base = _document(member, [(1, *first)])
    for lie in ([(1, *first), (2, *third)], [(1, *first), (3, *second)]):
        data = said(_document(member, lie), Segment(member.author, base.save()))
        end = ana.end()
        end.session.receive(messages.encode(Hello(2, bytes(32), 0, bytes(32))), 0)
        with pytest.raises(ProtocolError, match="another event than it says"):
            end.session.receive(messages.encode(Tail(bytes.fromhex(member.author), 0, data)), 0)
        assert ana.ledger.count() == 1


def _document(author: Signer, events: list[tuple[int, bytes, bytes]]) -> Document:
    made = Document(bytes.fromhex(author.author))
    for seq, sig, body in events:
        with made.transaction() as change:
            change.put(ROOT, str(seq), ScalarType.Bytes, sig + body)
    return made


def test_a_message_over_four_mebibytes_is_not_looked_at() -> None:
    def of(size: int) -> bytes:
        events = bytes(size)
        return messages.encode(Batch(author=bytes(32), after=0, last=0, more=False, events=events))

    around = len(of(1 << 17)) - (1 << 17)
    largest = of(MAX_MESSAGE_BYTES - around)
    assert len(largest) == MAX_MESSAGE_BYTES
    messages.decode(largest)
    with pytest.raises(MessageError, match="4194305 bytes, a message may have 4194304"):
        messages.decode(of(MAX_MESSAGE_BYTES - around + 1))


def test_an_event_over_64_kibibytes_is_no_event_whoever_signed_it(peers: list[Peer]) -> None:
    ana, _ = peers
    member, double = Signer(3), Signer(3)
    ana.members.add(member.author)
    first = member.say("first")
    double.say("first")
    small = double.say("x")[1]
    room = MAX_EVENT_BYTES - len(small)
    assert isinstance(gate.inspect(*member.say("x" * (room + 1))), Event)
    body = small.replace(b'"x"', b'"' + b"x" * (room + 2) + b'"')
    with pytest.raises(codec.DecodeError, match="65537 bytes, an event may have 65536"):
        codec.decode(body)
    end = asking(ana, member.author, 2)
    events = (first, (signing.seal(member.seed, body), body))
    with pytest.raises(Rejected, match="65537 bytes, an event may have 65536"):
        end.session.receive(batch(member.author, *events, last=2), 0)
    assert ana.ledger.count() == 1


def test_no_batch_of_ours_is_larger_than_a_neighbour_takes(peers: list[Peer]) -> None:
    ana, ben = peers
    notes(ana.ledger, 2 * BATCH_EVENTS + 1)
    large = Signer(4)
    ana.ledger.take_in([large.say(f"{number}" + "y" * 60_000) for number in range(60)])
    for one in peers:
        one.members.add(large.author)
    one, two = ana.end(), ben.end()
    talk(one, two)
    assert ben.ledger.count() == ana.ledger.count()
    batches = [made for made in one.said if isinstance(made, Batch)]
    assert len(batches) == 3 + 4
    for made in batches:
        assert len(messages.unpack(made.events)) <= BATCH_EVENTS


def test_any_number_of_events_at_one_seq_still_makes_a_batch_that_is_taken() -> None:
    many = [(bytes(64), bytes(10))] * (MAX_BATCH_EVENTS + 5)
    assert len(messages.unpack(messages.pack(messages.bounded(many)))) == MAX_BATCH_EVENTS
    large = [(bytes(64), bytes(MAX_EVENT_BYTES))] * 40
    kept = messages.bounded(large)
    assert 16 < len(kept) < 40
    assert sum(4 + 64 + len(body) for _, body in kept) <= MAX_BATCH_BYTES
    messages.unpack(messages.pack(kept))
    assert messages.bounded(large[:3]) == large[:3]
