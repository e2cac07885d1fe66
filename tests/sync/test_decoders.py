"""Whatever bytes a neighbour sends: one named refusal, bounded memory, never anything else."""

import os
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from automerge.core import ROOT, Document, Message, ScalarType, SyncState
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.edge.store.ledger import Ledger
from mesh.ledger import changes
from mesh.ledger.changes import ChangeError, read_message
from mesh.ledger.codec import MAX_EVENT_BYTES
from mesh.ledger.document import Segment, Talk
from mesh.sync import messages
from mesh.sync.desk import Desk
from mesh.sync.messages import Batch, Heads, Hello, MessageError, Pull, Row, Tail
from mesh.sync.session import ProtocolError, Session
from tests.sync.sessions import End, everyone, notes, talk

AUTHOR = bytes(range(32))
SIG = bytes(64)


def segment(*bodies: bytes) -> Segment:
    made = Segment(AUTHOR.hex())
    made.extend([(seq, SIG, body) for seq, body in enumerate(bodies, 1)])
    return made


def said(ours: Document | Segment, theirs: Segment) -> bytes:
    """The message with which `ours` brings `theirs` up to date."""
    document = Document.load(ours.save())
    other = Document.load(theirs.save())
    one, two = SyncState(), SyncState()
    data = b""
    while (message := document.generate_sync_message(one)) is not None:
        data = bytes(message.encode())
        if b"\x85\x6f\x4a\x83" in data:
            return data
        other.receive_sync_message(two, Message.decode(data))
        reply = other.generate_sync_message(two)
        if reply is not None:
            document.receive_sync_message(one, Message.decode(bytes(reply.encode())))
    return data


def refusal(error: Exception) -> None:
    """A refusal is one line."""
    assert "\n" not in str(error)


def peak(do: Callable[[], object]) -> int:
    """The most memory `do` had at once, in bytes of Python's own."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_honest_message_is_read_as_the_events_it_carries() -> None:
    bodies = [b"one", b"two" * 200, os.urandom(5000)]
    puts = read_message(said(segment(*bodies), segment(b"one")), AUTHOR)
    assert [(put.seq, put.sig, put.body) for put in puts] == [
        (2, SIG, bodies[1]),
        (3, SIG, bodies[2]),
    ]


def test_a_heard_message_brings_the_document_to_the_same_heads() -> None:
    ours, theirs = segment(b"a", b"b", b"c"), segment(b"a")
    data = said(ours, theirs)
    puts = read_message(data, AUTHOR)
    theirs.extend([(put.seq, put.sig, put.body) for put in puts])
    assert theirs.hear(Talk(), data, [put.hash for put in puts])
    assert theirs.save() == ours.save()


def test_a_change_not_taken_in_before_is_not_heard() -> None:
    ours, theirs = segment(b"a", b"b"), segment(b"a")
    data = said(ours, theirs)
    assert not theirs.hear(Talk(), data, [put.hash for put in read_message(data, AUTHOR)])
    assert theirs.events() == {1: (SIG, b"a")}


Lie = Callable[[Document], None]


def _edit(document: Document, do: Callable[[object], None]) -> None:
    with document.transaction() as change:
        do(change)


LIES: dict[str, Lie] = {
    "delete": lambda d: _edit(d, lambda c: c.delete(ROOT, "1")),
    "overwrite": lambda d: _edit(d, lambda c: c.put(ROOT, "1", ScalarType.Bytes, b"x" * 80)),
    "two keys": lambda d: _edit(
        d, lambda c: [c.put(ROOT, k, ScalarType.Bytes, b"x" * 80) for k in ("3", "4")]
    ),
    "text": lambda d: _edit(d, lambda c: c.put(ROOT, "3", ScalarType.Str, "x" * 80)),
    "stray key": lambda d: _edit(d, lambda c: c.put(ROOT, "x3", ScalarType.Bytes, b"x" * 80)),
    "long key": lambda d: _edit(d, lambda c: c.put(ROOT, "1" * 40, ScalarType.Bytes, b"x" * 80)),
    "nothing": lambda d: _edit(d, lambda c: c.put(ROOT, "3", ScalarType.Null, None)),
}


@pytest.mark.parametrize("lie", sorted(LIES))
@pytest.mark.parametrize("actor", [AUTHOR, b"\x07" * 32, b"\x07"])
def test_a_change_that_is_not_one_event_of_the_author_is_refused(lie: str, actor: bytes) -> None:
    base = segment(b"a", b"b")
    document = Document.load(base.save())
    document.set_actor(actor)
    LIES[lie](document)
    with pytest.raises(ChangeError):
        read_message(said(document, base), AUTHOR)


def test_somebody_elses_put_is_refused_and_the_authors_own_is_read() -> None:
    base = segment(b"a")
    for actor, fine in ((AUTHOR, True), (b"\x07" * 32, False)):
        document = Document.load(base.save())
        document.set_actor(actor)
        _edit(document, lambda c: c.put(ROOT, "2", ScalarType.Bytes, SIG + b"body"))
        data = said(document, base)
        if fine:
            assert [put.seq for put in read_message(data, AUTHOR)] == [2]
        else:
            with pytest.raises(ChangeError, match="somebody else"):
                read_message(data, AUTHOR)


@given(st.binary(max_size=300))
def test_garbage_is_a_change_error(data: bytes) -> None:
    for bytes_ in (data, b"\x42" + data, b"\x43\x00\x00\x00\x01" + data):
        try:
            read_message(bytes_, AUTHOR)
        except ChangeError as error:
            refusal(error)


HONEST = said(segment(b"a", b"b" * 300, b"c"), segment(b"a"))


@given(st.data())
def test_a_damaged_message_is_refused_or_carries_the_same_events(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(HONEST) - 1))
    changed = bytearray(HONEST)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        puts = read_message(bytes(changed[: data.draw(st.integers(at, len(HONEST)))]), AUTHOR)
    except ChangeError:
        return
    assert {put.body for put in puts} <= {b"b" * 300, b"c"}


def leb128(value: int) -> bytes:
    return changes._leb128(value)


@pytest.mark.parametrize(
    "data",
    [
        b"\x43" + leb128(2**40),  # heads without end
        b"\x43\x00\x00" + leb128(2**40),  # filters without end
        b"\x43\x00\x00\x01\x00\x08" + leb128(2**31) + leb128(10) + leb128(7),  # a huge filter
        b"\x43\x00\x00\x01\x00\x06\x01\x0a" + leb128(2**27),  # a filter asked for ever
        b"\x43\x00\x00\x00" + leb128(2**40),  # changes without end
        b"\x43\x00\x00\x00\x01" + leb128(2**50),  # a change of a petabyte
        b"\x43" + b"\x80" * 5000,  # a number without end
    ],
)
def test_a_claim_beyond_bounds_is_refused_before_anything_is_made_of_it(data: bytes) -> None:
    def read() -> None:
        with pytest.raises(ChangeError):
            read_message(data, AUTHOR)

    assert peak(read) < 1_000_000


def chunk(kind: int, content: bytes) -> bytes:
    inner = b"\x85\x6f\x4a\x83" + bytes(4) + bytes([kind]) + leb128(len(content)) + content
    return b"\x43\x00\x00\x00\x01" + leb128(len(inner)) + inner


def test_a_change_that_unpacks_to_gigabytes_is_refused_small() -> None:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = squeezer.compress(bytes(60_000_000)) + squeezer.flush()
    assert len(bomb) < MAX_EVENT_BYTES

    def read() -> None:
        with pytest.raises(ChangeError, match="more than"):
            read_message(chunk(2, bomb), AUTHOR)

    assert peak(read) < 1_000_000


def test_a_whole_document_in_place_of_changes_is_refused() -> None:
    with pytest.raises(ChangeError, match="a document where a change should be"):
        read_message(chunk(0, b"x" * 50), AUTHOR)


def test_a_batch_that_unpacks_to_more_than_a_batch_is_refused_small() -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)

    def read() -> None:
        with pytest.raises(MessageError, match="more than"):
            messages.unpack(bomb)

    assert peak(read) < 3 * messages.MAX_BATCH_BYTES


def test_a_batch_of_many_empty_events_is_refused() -> None:
    with pytest.raises(MessageError, match="more than 1017 events"):
        messages.unpack(messages.pack([(SIG, b"")] * 2000))


EVENTS = st.lists(st.tuples(st.binary(min_size=64, max_size=64), st.binary(max_size=400)))


@given(EVENTS)
def test_what_is_packed_is_unpacked(events: list[tuple[bytes, bytes]]) -> None:
    assert messages.unpack(messages.pack(events)) == events


KEYS = st.binary(min_size=32, max_size=32)
SEQS = st.integers(0, 2**53 - 1)
ROWS = st.builds(Row, KEYS, SEQS, KEYS, SEQS)
MESSAGES = st.one_of(
    st.builds(Hello, st.just(messages.PROTOCOL), KEYS, SEQS, KEYS),
    st.builds(Heads, st.lists(ROWS, max_size=5).map(tuple)),
    st.builds(Pull, KEYS, SEQS),
    st.builds(Batch, KEYS, SEQS, SEQS, st.booleans(), EVENTS.map(messages.pack) | st.binary()),
    st.builds(Tail, KEYS, SEQS, st.just(HONEST) | st.binary(max_size=100)),
)


@given(MESSAGES)
def test_a_message_comes_back_the_same(message: messages.Message) -> None:
    assert messages.decode(messages.encode(message)) == message


@given(st.binary(max_size=200))
def test_garbage_is_a_message_error(data: bytes) -> None:
    for read in (messages.decode, messages.unpack, messages.place_of):
        try:
            read(data)
        except MessageError as error:
            refusal(error)


def test_a_message_that_claims_a_billion_rows_is_refused_small() -> None:
    claim = b"\x92\x01\xdd\xff\xff\xff\xff"

    def read() -> None:
        with pytest.raises(MessageError):
            messages.decode(claim)
        with pytest.raises(MessageError):
            messages.decode(b"\x92" * 100_000)

    assert peak(read) < 1_000_000


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Nine events of our own and nine of another author."""
    home: Path = tmp_path_factory.mktemp("fuzz")
    with Ledger.open(home / "a") as ours, Ledger.open(home / "b") as other:
        notes(ours, 9)
        notes(other, 9)
        talk(End(ours), End(other))
        yield ours


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(MESSAGES.map(messages.encode), st.binary(max_size=50)), max_size=12))
def test_a_session_survives_any_talk_and_admits_nothing_of_it(
    ledger: Ledger, talk_of: list[bytes]
) -> None:
    session = Session(ledger, everyone, Desk())
    hello = messages.encode(Hello(messages.PROTOCOL, bytes(32), 0, bytes(32)))
    try:
        for data in [hello, *talk_of]:
            assert session.receive(data, 0) == ()
            for _ in range(3):
                session.outgoing(0)
    except ProtocolError as error:
        refusal(error)
    assert ledger.count() == 18


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_talk_about_real_authors_with_any_contents_admits_nothing(
    ledger: Ledger, data: st.DataObject
) -> None:
    authors = st.sampled_from([bytes.fromhex(author) for author in ledger.tips()])
    tips = st.integers(0, 30)
    about = st.one_of(
        st.builds(Heads, st.lists(st.builds(Row, authors, tips, KEYS, tips)).map(tuple)),
        st.builds(Pull, authors, tips),
        st.builds(Batch, authors, tips, tips, st.booleans(), EVENTS.map(messages.pack)),
        st.builds(Tail, authors, st.integers(0, 1), st.just(HONEST)),
    )
    session = Session(ledger, everyone, Desk())
    session.receive(messages.encode(Hello(messages.PROTOCOL, bytes(32), 0, bytes(32))), 0)
    try:
        for _ in range(data.draw(st.integers(0, 12))):
            assert session.receive(messages.encode(data.draw(about)), 0) == ()
            session.outgoing(0)
    except ProtocolError as error:
        refusal(error)
    assert ledger.count() == 18
    assert ledger.verify().findings == ()
