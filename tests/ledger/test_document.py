"""A segment carries an author's bytes and nothing else."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger.document import DocumentError, Segment, segment_of

AUTHOR = "ab" * 32
SIG = bytes(range(64))


def test_changes_laid_end_to_end_are_the_segment() -> None:
    live = Segment(AUTHOR)
    changes = b"".join(live.append(seq, SIG, b"body %d" % seq) for seq in range(1, 51))
    again = Segment(AUTHOR, changes)
    assert again.events() == {seq: (SIG, b"body %d" % seq) for seq in range(1, 51)}
    assert Segment(AUTHOR, live.save()).events() == again.events()


def test_every_peer_builds_the_same_bytes() -> None:
    one, two = Segment(AUTHOR), Segment(AUTHOR)
    first = one.append(1, SIG, b"x")
    assert two.append(1, SIG, b"x") == first
    assert Segment(AUTHOR, first).append(2, SIG, b"y") == one.append(2, SIG, b"y")


def test_a_seq_is_written_once() -> None:
    live = Segment(AUTHOR)
    live.append(1, SIG, b"x")
    with pytest.raises(DocumentError, match="seq 1 is already"):
        live.append(1, SIG, b"y")
    assert live.events() == {1: (SIG, b"x")}


def test_a_change_by_somebody_else_is_refused() -> None:
    change = Segment("cd" * 32).append(1, SIG, b"x")
    with pytest.raises(DocumentError, match="somebody else"):
        Segment(AUTHOR, change)


@given(st.binary(min_size=1, max_size=300))
def test_garbage_is_a_document_error(data: bytes) -> None:
    with pytest.raises(DocumentError, match="not a segment"):
        Segment(AUTHOR, data)


def test_a_cut_or_changed_document_is_a_document_error() -> None:
    live = Segment(AUTHOR)
    for seq in range(1, 4):
        live.append(seq, SIG, os.urandom(100))
    saved = live.save()
    for broken in (saved[:-1], saved[:30] + bytes([saved[30] ^ 1]) + saved[31:]):
        with pytest.raises(DocumentError):
            Segment(AUTHOR, broken)


def test_a_thousand_events_make_a_segment() -> None:
    assert (segment_of(1), segment_of(1000), segment_of(1001)) == (0, 0, 1)
