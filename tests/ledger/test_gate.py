"""Only whole, signed, linked events get past the gate."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger import chain, codec, gate, hlc, ids, signing
from mesh.ledger.event import NO_PREV, Event, order_key
from mesh.ledger.record import parse_record

ANA = bytes(range(32))
BEN = bytes(range(1, 33))
START_MS = 1_790_000_000_000
Gate = Callable[[bytes, bytes], gate.Admission]


def body_of(seed: bytes, at: int, after: str, **changes: object) -> bytes:
    """Canonical bytes of a sound note at seq `at`, some of its fields changed."""
    ms = START_MS + at
    fields: dict[str, object] = {
        "author": signing.author_of(seed),
        "device_id": "",
        "event_type": "note_added",
        "hlc": hlc.render(hlc.Stamp(ms, 0)),
        "payload": {"text": f"note {at}"},
        "prev": after,
        "seq": at,
        "timestamp": hlc.timestamp(ms),
        "v": 1,
    }
    return codec.encode(fields | changes)


def chain_of(seed: bytes, length: int, text: str = "note") -> list[tuple[bytes, bytes]]:
    """(sig, body) of seq 1 to `length`."""
    made: list[tuple[bytes, bytes]] = []
    prev = NO_PREV
    for seq in range(1, length + 1):
        body = body_of(seed, seq, prev, payload={"text": f"{text} {seq}"})
        made.append((signing.seal(seed, body), body))
        prev = ids.event_hash(body)
    return made


CHAIN = chain_of(ANA, 3)


def at(length: int) -> Gate:
    """The gate of a ledger that holds the first `length` events of Ana's chain."""
    hashes = [ids.event_hash(body) for _, body in CHAIN[:length]]
    head = chain.GENESIS
    if hashes:
        head = chain.Head(seq=length, hash=hashes[-1], stamp=hlc.Stamp(START_MS + length, 0))

    def kept_at(_: str, seq: int) -> dict[str, hlc.Stamp]:
        return {hashes[seq - 1]: hlc.Stamp(START_MS + seq, 0)} if 1 <= seq <= length else {}

    return lambda sig, body: gate.admit(sig, body, lambda _: head, kept_at)


def lets_forgery_in(admit: Gate) -> bool:
    """Whether a gate admits an event in Ana's name that Ben signed."""
    body = body_of(ANA, 1, NO_PREV)
    return isinstance(admit(signing.seal(BEN, body), body), gate.Accept)


def lets_gap_in(admit: Gate) -> bool:
    """Whether a gate that holds nothing admits an event whose predecessor is missing."""
    return isinstance(admit(*CHAIN[1]), gate.Accept)


def test_the_next_event_of_a_chain_is_admitted() -> None:
    outcome = at(1)(*CHAIN[1])
    assert isinstance(outcome, gate.Accept)
    assert outcome.event.seq == 2
    assert outcome.event.id == ids.event_id(ids.event_hash(CHAIN[1][1]))
    assert outcome.event.id.startswith("evt-")
    assert len(outcome.event.id) == 30


def test_an_event_that_is_here_already_is_known() -> None:
    assert isinstance(at(3)(*CHAIN[1]), gate.Known)


def test_a_forged_signature_is_rejected() -> None:
    assert not lets_forgery_in(at(0))


def test_a_gap_holds() -> None:
    outcome = at(0)(*CHAIN[1])
    assert isinstance(outcome, gate.Hold)
    assert "waits for seq 1" in outcome.reason
    assert not lets_gap_in(at(0))


def test_a_gate_without_signature_check_would_be_caught() -> None:
    def careless(sig: bytes, body: bytes) -> gate.Admission:
        event = parse_record(body, sig)
        assert isinstance(event, Event)
        return gate.Accept(event=event, hash=ids.event_hash(body))

    assert lets_forgery_in(careless)


def test_a_gate_that_ignores_the_chain_would_be_caught() -> None:
    def forgetful(sig: bytes, body: bytes) -> gate.Admission:
        event = gate.inspect(sig, body)
        assert isinstance(event, Event)
        return gate.Accept(event=event, hash=ids.event_hash(body))

    assert lets_gap_in(forgetful)


def test_a_second_event_at_the_same_seq_is_a_fork_by_name() -> None:
    body = body_of(ANA, 2, ids.event_hash(CHAIN[0][1]), payload={"text": "the other disk"})
    outcome = at(3)(signing.seal(ANA, body), body)
    assert isinstance(outcome, gate.Fork)
    assert outcome.reason.endswith("signed two different events at seq 2")
    assert signing.author_of(ANA)[:16] in outcome.reason


def test_a_link_to_an_event_not_here_waits_for_that_event() -> None:
    body = body_of(ANA, 3, "ab" * 32)
    outcome = at(2)(signing.seal(ANA, body), body)
    assert isinstance(outcome, gate.Hold)
    assert outcome.reason.startswith("waits for another event")
    assert outcome.reason.endswith("signed at seq 2")


def test_a_chain_may_fork_at_its_first_event() -> None:
    body = body_of(ANA, 1, NO_PREV, payload={"text": "the other disk"})
    assert isinstance(at(2)(signing.seal(ANA, body), body), gate.Fork)


def test_a_branch_whose_clock_does_not_rise_is_rejected() -> None:
    body = body_of(
        ANA,
        2,
        ids.event_hash(CHAIN[0][1]),
        hlc=hlc.render(hlc.Stamp(START_MS + 1, 0)),
        timestamp=hlc.timestamp(START_MS + 1),
    )
    outcome = at(3)(signing.seal(ANA, body), body)
    assert isinstance(outcome, gate.Reject)
    assert "clock does not rise" in outcome.reason


def test_an_unknown_event_type_is_kept() -> None:
    body = body_of(ANA, 1, NO_PREV, event_type="job_teleported", payload={"to": ["mars"]})
    assert isinstance(at(0)(signing.seal(ANA, body), body), gate.Accept)


def test_a_newer_version_may_carry_more_fields_and_ours_may_not() -> None:
    newer = body_of(ANA, 1, NO_PREV, v=2, colour="green")
    assert isinstance(at(0)(signing.seal(ANA, newer), newer), gate.Accept)
    ours = body_of(ANA, 1, NO_PREV, colour="green")
    assert at(0)(signing.seal(ANA, ours), ours) == gate.Reject(
        reason="field colour is not in version 1"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seq": 0}, "seq 0"),
        ({"seq": "1"}, "wrong type"),
        ({"v": True}, "integers"),
        ({"prev": "x" * 64}, "prev is not"),
        ({"author": "AB" * 32}, "author is not"),
        ({"hlc": "1-1"}, "clock stamp"),
        ({"timestamp": "2026-01-01"}, "different instants"),
        ({"event_type": ""}, "event_type has 0"),
        ({"payload": []}, "wrong type"),
        ({"prev": "ab" * 32}, "prev of zeros"),
        ({"device_id": "d" * 129}, "129 characters"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(changes: dict[str, object], says: str) -> None:
    body = body_of(ANA, 1, NO_PREV, **changes)
    outcome = at(0)(signing.seal(ANA, body), body)
    assert isinstance(outcome, gate.Reject)
    assert says in outcome.reason


def test_a_clock_that_goes_back_along_a_chain_is_rejected() -> None:
    body = body_of(
        ANA,
        2,
        ids.event_hash(CHAIN[0][1]),
        hlc=hlc.render(hlc.Stamp(START_MS, 0)),
        timestamp=hlc.timestamp(START_MS),
    )
    outcome = at(1)(signing.seal(ANA, body), body)
    assert isinstance(outcome, gate.Reject)
    assert "clock does not rise" in outcome.reason


@given(st.data())
def test_any_flipped_bit_of_body_or_signature_is_rejected(data: st.DataObject) -> None:
    sig, body = CHAIN[0]
    whole = bytearray(sig + body)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert isinstance(at(0)(bytes(whole[:64]), bytes(whole[64:])), gate.Reject)


@given(st.binary(max_size=80), st.binary(max_size=200))
def test_garbage_is_rejected_with_a_reason(sig: bytes, body: bytes) -> None:
    outcome = at(0)(sig, body)
    assert isinstance(outcome, gate.Reject)
    assert outcome.reason


def test_events_sort_by_clock_then_author_then_seq() -> None:
    made = [
        parse_record(
            body_of(seed, 1, NO_PREV, hlc=hlc.render(stamp), timestamp=hlc.timestamp(stamp.ms)), b""
        )
        for seed, stamp in ((ANA, hlc.Stamp(2, 0)), (BEN, hlc.Stamp(1, 10)), (ANA, hlc.Stamp(1, 9)))
    ]
    events = [event for event in made if isinstance(event, Event)]
    assert sorted(events, key=order_key) == events[::-1]
