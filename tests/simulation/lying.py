"""Sessions that lie in every way a message allows; peers must survive them."""

import random
from collections.abc import Callable

from automerge.core import ROOT, Document, Message, ScalarType, SyncState

from mesh.ledger import document
from mesh.sync import messages
from mesh.sync.archive import Envelope
from mesh.sync.messages import Batch, Heads, Pull, Row, Tail
from mesh.sync.session import Session
from tests.simulation import pen
from tests.simulation.keys import INVENTED, identity

OTHER = identity(999)


class LyingSession(Session):
    """Speaks the protocol, and now and then something else."""

    rng: random.Random
    who = OTHER  # whose key it holds
    extra: Callable[[], list[Envelope]]  # events of its own beside those in its ledger

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
        match self.rng.randrange(8):
            case 0:
                events.append(self._forged(author))
            case 1 if events:
                del events[self.rng.randrange(len(events))]
            case 2:
                self.rng.shuffle(events)
            case 3 if events:
                at = self.rng.randrange(len(events))
                sig, body = events[at]
                events[at] = (sig, body.replace(b"note", b"nota", 1)[: len(body)])
            case 4:
                events.append(self._strangers())
            case 5 | 6 if author == self.who.author:
                events += self.extra()
                events.sort(key=lambda one: messages.place_of(one[1]).seq)
        return Batch(
            pull.author,
            pull.after,
            max(found.last, pull.after + len(events)),
            found.more,
            messages.pack(events),
        )

    def _strangers(self) -> Envelope:
        """The first event of a key that nobody let in."""
        who = identity(INVENTED + self.rng.randrange(500))
        return pen.sign(who, pen.GENESIS, 0, "note_added", {"text": "hello"})[0]

    def _forged(self, author: str) -> Envelope:
        """Somebody's next event, signed by the liar or by nobody."""
        at = pen.places(self._archive, author)[-1]
        note: dict[str, object] = {"text": "forged"}
        (sig, body), _ = pen.sign_as(author, self.who, at, 0, "note_added", note)
        return (bytes(64) if self.rng.random() < 0.3 else sig), body

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
                    sig, body = self._forged(author)
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
