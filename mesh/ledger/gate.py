"""The gate: the only way an event gets into a ledger. Pure; every "no" has its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from mesh.ledger import chain, hlc, ids, signing
from mesh.ledger.event import Event
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
    """Not an event we keep."""

    reason: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Its author signed two histories: a copied disk or a restored backup."""

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
    sig: bytes, body: bytes, head_of: Callable[[str], chain.Head],
    hash_at: Callable[[str, int], str | None],
) -> Admission:
    """Judge an event against the chain we keep of its author."""
    event = inspect(sig, body)
    if isinstance(event, Reject):
        return event
    digest = ids.event_hash(body)
    head = head_of(event.author)
    link = chain.Link(
        seq=event.seq, hash=digest, prev=event.prev, stamp=hlc.parse(event.hlc)
    )
    stored = hash_at(event.author, event.seq) if event.seq <= head.seq else None
    match chain.judge(link, head, stored):
        case chain.Verdict.EXTENDS:
            return Accept(event=event, hash=digest)
        case chain.Verdict.KNOWN:
            return Known(event=event)
        case chain.Verdict.WAITS:
            reason = f"waits for seq {head.seq + 1} of author {event.author[:16]}"
            return Hold(event=event, hash=digest, reason=reason)
        case chain.Verdict.FORKS:
            seq = min(event.seq, head.seq)
            reason = f"author {event.author[:16]} signed two different events at seq {seq}"
            return Fork(event=event, hash=digest, reason=reason)
        case chain.Verdict.BREAKS:
            return Reject(reason=_break(link, head))


def _break(link: chain.Link, head: chain.Head) -> str:
    """Why a link that is next in line still does not fit."""
    if link.prev != head.hash:
        return "the first event of a chain must have a prev of zeros"
    return f"its clock does not rise: {hlc.render(link.stamp)} after {hlc.render(head.stamp)}"
