"""A member that lies in every way a message allows. What it signs for itself is its own affair."""

import random

from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from mesh.ledger import codec, document, hlc, ids, signing
from mesh.ledger.event import NO_PREV, Event
from mesh.ledger.record import parse_record
from mesh.sync import messages
from mesh.sync.messages import Batch, Heads, Pull, Row, Tail
from mesh.sync.session import Session
from tests.simulation.disk import identity
from tests.simulation.nodes import EPOCH_MS, Node

SEAL = signing.seal  # what the honest sign is recorded; this is not
OTHER = identity(999)


class LyingSession(Session):
    """Speaks the protocol, and now and then something else."""

    rng: random.Random
    node: Node

    def outgoing(self, now: int) -> bytes | None:
        data = super().outgoing(now)
        said: list[bytes] = self.__dict__.setdefault("said", [])
        if data is None or not self._greeted or self.rng.random() > 0.3:
            if data is not None:
                said.append(data)
            return data
        match self.rng.randrange(6):
            case 0:
                return self.rng.randbytes(self.rng.randrange(200))
            case 1:
                changed = bytearray(data)
                changed[self.rng.randrange(len(changed))] ^= 1 << self.rng.randrange(8)
                return bytes(changed)
            case 2:
                return bytes(messages.MAX_MESSAGE_BYTES + 1)
            case 3 if said:
                return self.rng.choice(said)
            case 4:
                return self._boast()
            case _:
                return self._tail() or data

    def _serve(self, pull: Pull) -> Batch:
        found = super()._serve(pull)
        events = messages.unpack(found.events)
        author = pull.author.hex()
        match self.rng.randrange(7):
            case 0:
                events.append(forged(self.node, author, pull.after, found.last))
            case 1 if events:
                del events[self.rng.randrange(len(events))]
            case 2:
                self.rng.shuffle(events)
            case 3 if events:
                at = self.rng.randrange(len(events))
                sig, body = events[at]
                events[at] = (sig, body.replace(b"note", b"nota", 1)[: len(body)])
            case 4:
                events += self.node.ledger.page(OTHER.author, 0, 5, 10_000).envelopes
            case 5 if author == self.node.who.author:
                events.append(self._fork(pull.after))
        return Batch(
            pull.author,
            pull.after,
            max(found.last, pull.after + len(events)),
            found.more,
            messages.pack(events),
        )

    def _fork(self, after: int) -> tuple[bytes, bytes]:
        """Another event at a seq that it signed already, one for each who asks."""
        prev, stamp = NO_PREV, hlc.ZERO
        for sig, body in self.node.ledger.page(
            self.node.who.author, max(0, after - 1), 1, 1
        ).envelopes:
            event = parse_record(body, sig)
            if after and isinstance(event, Event) and event.seq == after:
                prev, stamp = ids.event_hash(body), hlc.parse(event.hlc)
        return signed(
            self.node.who.seed,
            self.node.who.author,
            after + 1,
            prev,
            stamp.ms + 1 + self.rng.randrange(9),
            f"fork {self.rng.random()}",
        )

    def _boast(self) -> bytes:
        """Tips of events that are not."""
        author = bytes.fromhex(self.rng.choice(sorted(self._archive.tips()) or [OTHER.author]))
        fork = self.rng.choice([0, 0, 1, 5])
        row = Row(author, self.rng.randrange(1, 60), self.rng.randbytes(32), fork)
        return messages.encode(Heads((row,)))

    def _tail(self) -> bytes | None:
        """A sync message that deletes, overwrites, or carries somebody else's changes."""
        tips = sorted(self._archive.tips())
        if not tips:
            return None
        author = self.rng.choice(tips)
        opened = self._archive.segment(author)
        if opened is None:
            return None
        number, segment = opened
        actor = bytes.fromhex(self.rng.choice([author, OTHER.author]))
        copy = Document.load(segment.save())
        copy.set_actor(actor)
        seqs = sorted(segment.events())
        with copy.transaction() as change:
            match self.rng.randrange(4):
                case 0:
                    change.delete(ROOT, str(seqs[-1]))
                case 1:
                    change.put(ROOT, str(seqs[0]), ScalarType.Bytes, b"overwritten")
                case 2:
                    sig, body = forged(self.node, author, seqs[-1], seqs[-1])
                    change.put(ROOT, str(seqs[-1] + 1), ScalarType.Bytes, sig + body)
                case _:
                    change.put(ROOT, "stray", ScalarType.Int, 5)
        data = message_with(copy, segment)
        return messages.encode(Tail(bytes.fromhex(author), number, data))


def message_with(copy: Document, segment: document.Segment) -> bytes:
    """What `copy` would say to a peer that has the segment without its last change."""
    theirs = Document.load(segment.save())
    ours, other = SyncState(), SyncState()
    last = b""
    for _ in range(4):
        message = copy.generate_sync_message(ours)
        if message is None:
            break
        last = bytes(message.encode())
        theirs.receive_sync_message(other, Message.decode(last))
        reply = theirs.generate_sync_message(other)
        if reply is None:
            break
        copy.receive_sync_message(ours, Message.decode(bytes(reply.encode())))
        if len(last) > 250:
            return last
    return last


def forged(node: Node, author: str, after: int, last: int) -> tuple[bytes, bytes]:
    """An event in somebody's name that fits its chain, signed by the liar or by nobody."""
    tip = node.ledger.tips().get(author)
    prev = tip.hash if tip and not tip.fork else NO_PREV
    seq = (tip.seq if tip else 0) + 1
    sig, body = signed(node.who.seed, author, seq, prev, EPOCH_MS + 90_000_000, "forged")
    return (bytes(64) if node.rng.random() < 0.3 else sig), body


def signed(
    seed: bytes, author: str, seq: int, prev: str, ms: int, text: str
) -> tuple[bytes, bytes]:
    """An event with these fields, signed by `seed`."""
    body = codec.encode(
        {
            "author": author,
            "device_id": "",
            "event_type": "note_added",
            "hlc": hlc.render(hlc.Stamp(ms, 0)),
            "payload": {"text": text},
            "prev": prev,
            "seq": seq,
            "timestamp": hlc.timestamp(ms),
            "v": 1,
        }
    )
    return SEAL(seed, body), body


class Liar(Node):
    """A peer whose sessions lie."""

    honest_in_the_end = False

    def session(self) -> Session:
        made = LyingSession(self.ledger, self.admits, self.desk)
        made.rng, made.node = self.rng, self
        return made
