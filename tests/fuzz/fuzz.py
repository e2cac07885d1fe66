"""Feeds damaged messages to every decoder of the sync that a neighbour reaches. argv: minutes.

Each input is a valid one with a few bytes changed, cut, doubled or spliced. A decoder may return or
raise its own refusal; anything else, or a process beyond MEMORY_BYTES, is a finding.
"""

import random
import resource
import sys
import time
import traceback
import zlib
from collections.abc import Callable

from mesh.ledger import changes, codec, gate, signing
from mesh.ledger.document import DocumentError, Segment, Talk
from mesh.ledger.event import NO_PREV, Event
from mesh.sync import messages
from mesh.sync.messages import Batch, Heads, Hello, Pull, Row, Tail

MEMORY_BYTES = 512 << 20  # the interpreter and its libraries take 60 MB of it
SEED = bytes(range(32))
AUTHOR = signing.author_of(SEED)

Decoder = Callable[[bytes], object]


def body(seq: int) -> bytes:
    """A sound event's bytes."""
    return codec.encode(
        {
            "author": AUTHOR,
            "device_id": "d",
            "event_type": "note_added",
            "hlc": "1790000000000-00000",
            "payload": {"text": "x" * (seq % 400)},
            "prev": NO_PREV,
            "seq": seq,
            "timestamp": "2026-09-21T14:13:20.000Z",
            "v": 1,
        }
    )


def corpus() -> list[bytes]:
    """Valid inputs of every kind, from small to large."""
    key = bytes.fromhex(AUTHOR)
    events = [(signing.seal(SEED, body(seq)), body(seq)) for seq in range(1, 20)]
    said = tails(key, events)
    batch = messages.pack(events)
    found = [
        Hello(messages.PROTOCOL, key, 0, key),
        Pull(key, 5),
        Heads(tuple(Row(key, i, key, 0) for i in range(9))),
        Batch(author=key, after=0, last=19, more=True, events=batch),
        *(Tail(key, 0, data) for data in said),
    ]
    return [*(messages.encode(one) for one in found), *said, batch, body(3), events[2][0] + body(3)]


def tails(key: bytes, events: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The sync messages by which a peer with all events brings one with three up to date."""
    ours, theirs = Segment(AUTHOR), Segment(AUTHOR)
    rows = [(seq, *one) for seq, one in enumerate(events, 1)]
    ours.extend(rows)
    theirs.extend(rows[:3])
    one, two = Talk(), Talk()
    found: list[bytes] = []
    for _ in range(4):
        data = ours.say(one)
        if data is not None:
            found.append(data)
            puts = changes.read_message(data, key)
            theirs.extend([(put.seq, put.sig, put.body) for put in puts])
            theirs.hear(two, data, [put.hash for put in puts])
        reply = theirs.say(two)
        if reply is not None:
            found.append(reply)
            ours.hear(one, reply, [])
    return found


def deflated(data: bytes) -> bytes:
    """As a batch: what the decompressor lets through must be bounded too."""
    return zlib.compress(data, 1)


def mutate(rng: random.Random, pool: list[bytes]) -> bytes:
    """A valid input, damaged in one to four places."""
    data = bytearray(rng.choice(pool))
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
            case 2:
                del data[at:]
            case 3:
                data[at:at] = b"\xff" * rng.randrange(1, 10)
            case 4:
                other = rng.choice(pool)
                data[at:] = other[rng.randrange(len(other)) :]
            case _:
                data[at:at] = data[at : at + rng.randrange(64)]
    return bytes(data)


def inspect(data: bytes) -> object:
    """The gate's look at one event: a value in any case."""
    found = gate.inspect(data[:64], data[64:])
    assert isinstance(found, Event | gate.Reject)
    return found


def automerge(data: bytes) -> object:
    """What gets past our reader must not hurt Automerge either, whether or not it is sound."""
    changes.read_message(data, bytes.fromhex(AUTHOR))
    talk = Talk()
    HOLDER.hear(talk, data, [])
    HOLDER.say(talk)
    HOLDER.events()
    return talk


HOLDER = Segment(AUTHOR)
HOLDER.extend([(seq, bytes(64), body(seq)) for seq in range(1, 4)])
Refusal = type[Exception] | tuple[type[Exception], ...]
DECODERS: dict[str, tuple[Decoder, Refusal]] = {
    "message": (messages.decode, messages.MessageError),
    "batch": (messages.unpack, messages.MessageError),
    "batch, well packed": (lambda data: messages.unpack(deflated(data)), messages.MessageError),
    "place": (messages.place_of, messages.MessageError),
    "sync message": (
        lambda data: changes.read_message(data, bytes.fromhex(AUTHOR)),
        changes.ChangeError,
    ),
    "event body": (codec.decode, codec.DecodeError),
    "envelope": (inspect, ()),
    "automerge": (automerge, (changes.ChangeError, DocumentError)),
}


def main(minutes: float, seed: int) -> int:
    """0 when nothing was found."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    rng, pool = random.Random(seed), corpus()
    end = time.monotonic() + 60 * minutes
    count = read = 0
    while time.monotonic() < end:
        data = mutate(rng, pool)
        for name, (decode, refusal) in DECODERS.items():
            count += 1
            try:
                decode(data)
                read += 1
            except refusal:
                continue
            except BaseException:  # a panic in Rust is no Exception
                traceback.print_exc()
                print(f"FAIL {name}, seed {seed}: {data.hex()}")
                return 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{count:,} inputs in {minutes:g} min, seed {seed}: {read:,} read, the others refused;")
    print(f"no crash, at most {peak} MiB")
    return 0


if __name__ == "__main__":
    length = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    sys.exit(main(length, int(sys.argv[2]) if len(sys.argv) > 2 else 0))
