"""Events signed by hand."""

from mesh.ledger import codec, hlc, ids, signing

NOW = 1_790_000_000_000
CYD = bytes(range(7, 39))


def signed(seq: int, prev: str, text: str) -> tuple[bytes, bytes]:
    """An event of Cyd's."""
    body = codec.encode(
        {
            "author": signing.author_of(CYD),
            "device_id": "",
            "event_type": "note_added",
            "hlc": hlc.render(hlc.Stamp(NOW + seq, 0)),
            "payload": {"text": text},
            "prev": prev,
            "seq": seq,
            "timestamp": hlc.timestamp(NOW + seq),
            "v": 1,
        }
    )
    return signing.seal(CYD, body), body


def line(start: int, count: int, prev: str, text: str) -> list[tuple[bytes, bytes]]:
    """Consecutive events of Cyd's, the first at `start`."""
    made: list[tuple[bytes, bytes]] = []
    for seq in range(start, start + count):
        made.append(signed(seq, prev, text))
        prev = ids.event_hash(made[-1][1])
    return made
