"""The gate: the only way an event gets into a ledger. Pure; every "no" has its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from mesh.ledger import chain, hlc, ids, signing
from mesh.ledger.event import NO_PREV, Event
from mesh.ledger.record import Fault, parse_record


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Signed, well formed, and next in its author's chain."""

    event: Event
    hash: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """We have exactly this event already."""

    event: Event


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Sound, but a predecessor is missing."""

    event: Event
    hash: str
    reason: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Not an event we keep; `full` when that is for want of room here and not its own fault."""

    reason: str
    full: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Sound, but its author signed two histories: a copied disk or a restored backup.

    It is kept like any other; the author is named, and writes no more once it knows.
    """

    event: Event
    hash: str
    reason: str


Admission = Accept | Known | Hold | Reject | Fork


def inspect(sig: bytes, body: bytes) -> Event | Reject:
    """Everything that can be said of one event alone: size, bytes, fields, signature."""
    event = parse_record(body, sig)
    if isinstance(event, Fault):
        return Reject(reason=event.text)
    if not signing.verify(event.author, sig, body):
        return Reject(reason=f"the signature is not by author {event.author[:16]}")
    return event


def admit(
    sig: bytes,
    body: bytes,
    head_of: Callable[[str], chain.Head],
    kept_at: Callable[[str, int], Mapping[str, hlc.Stamp]],
) -> Admission:
    """Judge an event against what we keep of its author.

    `kept_at(author, seq)` gives every hash kept at a seq, more than one where branches run.
    """
    event = inspect(sig, body)
    if isinstance(event, Reject):
        return event
    digest = ids.event_hash(body)
    head = head_of(event.author)
    stamp = hlc.parse(event.hlc)
    link = chain.Link(seq=event.seq, hash=digest, prev=event.prev, stamp=stamp)
    here: Mapping[str, hlc.Stamp] = {}
    before: Mapping[str, hlc.Stamp] = {}
    if event.seq != head.seq + 1 or event.prev != head.hash:
        here, before = kept_at(event.author, event.seq), kept_at(event.author, event.seq - 1)
    match chain.judge(link, head, here, before):
        case chain.Verdict.EXTENDS:
            return Accept(event=event, hash=digest)
        case chain.Verdict.KNOWN:
            return Known(event=event)
        case chain.Verdict.WAITS:
            return Hold(event=event, hash=digest, reason=_wait(event, head))
        case chain.Verdict.FORKS:
            reason = f"author {event.author[:16]} signed two different events at seq {event.seq}"
            if not here:
                reason = f"author {event.author[:16]} signed two histories; seq {event.seq} is on"
                reason += " the other one"
            return Fork(event=event, hash=digest, reason=reason)
        case chain.Verdict.BREAKS:
            return Reject(reason=_break(link, before.get(link.prev, head.stamp)))


def _wait(event: Event, head: chain.Head) -> str:
    """What a link waits for: a seq, or the other event that its author signed at a seq."""
    if event.seq > head.seq + 1:
        return f"waits for seq {head.seq + 1} of author {event.author[:16]}"
    return f"waits for another event that author {event.author[:16]} signed at seq {event.seq - 1}"


def _break(link: chain.Link, before: hlc.Stamp) -> str:
    """Why a link that is next in line still does not fit."""
    if link.seq == 1 and link.prev != NO_PREV:
        return "the first event of a chain must have a prev of zeros"
    return f"its clock does not rise: {hlc.render(link.stamp)} after {hlc.render(before)}"
