"""Events as a crook signs them: any number, any predecessor, any time, with a key it holds."""

from dataclasses import dataclass

from mesh.edge.identity import Identity
from mesh.edge.store.ledger import Ledger
from mesh.ledger import codec, hlc, ids
from mesh.ledger.event import NO_PREV
from mesh.sync.archive import Envelope
from tests.simulation import keys

PAST_MS = 1_000  # the first second of 1970
FUTURE_MS = 4_102_444_800_000  # 2100


@dataclass(frozen=True)
class Place:
    """An event of a chain: what the next one names as its predecessor."""

    seq: int = 0
    hash: str = NO_PREV
    ms: int = 0


GENESIS = Place()


def sign(
    who: Identity,
    after: Place,
    ms: int,
    kind: str,
    payload: dict[str, object],
    device: str = "",
    *,
    v: int = 1,
) -> tuple[Envelope, Place]:
    """An event after a place, at `ms` or just after the one before; and its own place."""
    return sign_as(who.author, who, after, ms, kind, payload, device, v=v)


def sign_as(
    author: str,
    who: Identity,
    after: Place,
    ms: int,
    kind: str,
    payload: dict[str, object],
    device: str = "",
    *,
    v: int = 1,
) -> tuple[Envelope, Place]:
    """The same in anybody's name."""
    ms = max(ms, after.ms + 1)
    body = codec.encode(
        {
            "author": author,
            "device_id": device,
            "event_type": kind,
            "hlc": hlc.render(hlc.Stamp(ms, 0)),
            "payload": payload,
            "prev": after.hash,
            "seq": after.seq + 1,
            "timestamp": hlc.timestamp(ms),
            "v": v,
        }
    )
    return (keys.seal(who.seed, body), body), Place(after.seq + 1, ids.event_hash(body), ms)


def places(ledger: Ledger, author: str) -> list[Place]:
    """All places of an author's chain in a ledger, by number; the beginning first."""
    found = [GENESIS]
    for _, body in ledger.page(author, 0, 10_000, 1 << 30).envelopes:
        said = codec.decode(body)
        stamp = hlc.parse(str(said["hlc"]))
        seq = said["seq"]
        assert isinstance(seq, int)
        found.append(Place(seq, ids.event_hash(body), stamp.ms))
    return found
