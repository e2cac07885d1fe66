"""Writes tests/interop/vectors.json with this program's own code; run it when the format grows.

PYTHONSAFEPATH=1 PYTHONPATH=$PWD .venv/bin/python tests/interop/make_vectors.py
"""

import json
from pathlib import Path
from typing import Any

from mesh.edge.transport import certificate
from mesh.ledger import codec, hlc, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.policy.words import words_of
from mesh.state.peer_id import peer_id

FILE = Path(__file__).with_name("vectors.json")
SEEDS = (bytes(range(32)), bytes([7]) * 32, bytes(32))
NOW = 1_790_000_000_007
AWKWARD = "".join(map(chr, range(0x20))) + '"\\/\x7f\x80\u2028\u2029\ufeffe\u0301é😀\uffff'
PAYLOADS: tuple[tuple[str, dict[str, object]], ...] = (
    ("note_added", {}),
    ("note_added", {"text": AWKWARD}),
    ("note_added", {"😀": 1, "\uffff": 2, "é": 3, "z": 4, "Z": 5, "": 6}),
    ("note_added", {"most": 2**53 - 1, "least": -(2**53 - 1), "no": None, "yes": [True, False]}),
    ("of a later peer", {"deep": [[[[[[[[[[[[[[]]]]]]]]]]]]]]}),
)
# A clock that went on, one that stands, one that ran back, a counter at its end, a first event.
CLOCKS: tuple[tuple[hlc.Stamp, int], ...] = (
    (hlc.Stamp(NOW, 0), NOW + 1),
    (hlc.Stamp(NOW, 0), NOW),
    (hlc.Stamp(NOW, 41), NOW - 86_400_000),
    (hlc.Stamp(NOW, hlc.MAX_COUNTER), NOW),
    (hlc.Stamp(0, 0), 1),
)


def key(seed: bytes) -> dict[str, object]:
    author = signing.author_of(seed)
    public, signature = bytes.fromhex(author), certificate.signature_of(seed)
    name = peer_id(author)
    return {
        "seed": seed.hex(),
        "author": author,
        "peer_id": name,
        "short_id": name.replace("-", "")[:10].lower(),
        "recovery_words": " ".join(words_of(seed)),
        "certificate_body": certificate.body_of(public).hex(),
        "certificate_signature": signature.hex(),
        "certificate": certificate.certificate(public, signature).hex(),
    }


def body_of(seed: bytes, seq: int, prev: str, event_type: str, payload: object) -> dict[str, Any]:
    stamp = hlc.Stamp(NOW, seq)
    return {
        "author": signing.author_of(seed),
        "device_id": "dev-é" if seq % 2 else "",
        "event_type": event_type,
        "hlc": hlc.render(stamp),
        "payload": payload,
        "prev": prev,
        "seq": seq,
        "timestamp": hlc.timestamp(stamp.ms),
        "v": 1,
    }


def events() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for seed in SEEDS[:2]:
        prev = NO_PREV
        for seq, (event_type, payload) in enumerate(PAYLOADS, 1):
            value = body_of(seed, seq, prev, event_type, payload)
            body = codec.encode(value)
            prev = ids.event_hash(body)
            found.append(
                {
                    "seed": seed.hex(),
                    "body": value,
                    "bytes": body.hex(),
                    "signature": signing.seal(seed, body).hex(),
                    "hash": prev,
                    "id": ids.event_id(prev),
                }
            )
    return found


def refused() -> list[dict[str, str]]:
    """Bytes a hair away from an event."""
    value = body_of(SEEDS[0], 1, NO_PREV, "note_added", {"n": 1})
    body = codec.encode(value)
    deep = json.dumps({**value, "payload": {"n": json.loads("[" * 15 + "]" * 15)}}, sort_keys=True)
    found = {
        "a space": body.replace(b'"seq":1', b'"seq": 1'),
        "a line end": body + b"\n",
        "keys in another order": b'{"v":1,' + body[1:-7] + b"}",
        "a key twice": body.replace(b'{"n":1}', b'{"n":1,"n":1}'),
        "a fraction": body.replace(b'{"n":1}', b'{"n":1.0}'),
        "an exponent": body.replace(b'{"n":1}', b'{"n":1e0}'),
        "minus zero": body.replace(b'{"n":1}', b'{"n":-0}'),
        "an integer of 2**53": body.replace(b'{"n":1}', b'{"n":9007199254740992}'),
        "an escape that is not needed": body.replace(b'"n"', b'"\\u006e"'),
        "an upper case escape": body.replace(b'{"n":1}', b'{"n":"\\u001F"}'),
        "a lone surrogate": body.replace(b'{"n":1}', b'{"n":"\\ud800"}'),
        "no UTF-8": body.replace(b'{"n":1}', b'{"n":"\xff"}'),
        "nested 17 deep": deep.replace(" ", "").encode(),
        "a field too many": codec.encode({**value, "x": 1}),
        "a field missing": codec.encode({k: v for k, v in value.items() if k != "device_id"}),
        "a boolean for a number": codec.encode({**value, "seq": True}),
        "seq 0": codec.encode({**value, "seq": 0}),
        "an author in upper case": codec.encode({**value, "author": str(value["author"]).upper()}),
        "no event type": codec.encode({**value, "event_type": ""}),
        "a name of 129 characters": codec.encode({**value, "device_id": "é" * 129}),
        "a clock of 12 digits": codec.encode({**value, "hlc": "179000000000-00001"}),
        "a clock filled up too far": codec.encode({**value, "hlc": f"0{value['hlc']}"}),
        "a time that is not the clock's": codec.encode(
            {**value, "timestamp": hlc.timestamp(NOW + 1)}
        ),
        "an array": b"[]",
        "nothing": b"",
    }
    return [{"why": why, "bytes": data.hex()} for why, data in found.items()]


def clocks() -> list[dict[str, object]]:
    return [
        {
            "last": hlc.render(last),
            "now_ms": now,
            "next": hlc.render(hlc.send(last, now)),
        }
        for last, now in CLOCKS
    ]


def text() -> str:
    found = {
        "keys": [key(seed) for seed in SEEDS],
        "events": events(),
        "refused": refused(),
        "clocks": clocks(),
    }
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
