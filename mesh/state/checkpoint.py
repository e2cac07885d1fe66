"""A State as bytes and back: what a reader starts from instead of folding the whole ledger."""

import hashlib

import msgspec

from mesh.state.state import KEEP_ENDED, State
from mesh.state.trust.verdicts import Cut

# Raise it with every change to how events are folded: an older snapshot is then not used.
FOLD_VERSION = 23
DIGEST_BYTES = 32


class _Snapshot(msgspec.Struct, array_like=True):
    version: int
    keep_ended: int
    state: msgspec.Raw


def pack(state: State) -> bytes:
    """The snapshot of a state that has nothing to fold again."""
    assert not state.changed, "what is to be folded again must not be kept"
    assert not state.stale, "what is to be folded again must not be kept"
    encode = msgspec.msgpack.encode
    return encode(_Snapshot(FOLD_VERSION, state.keep_ended, msgspec.Raw(encode(state))))


def unpack(blob: bytes, keep_ended: int = KEEP_ENDED) -> State | None:
    """The state a snapshot holds; None when another version made it, or it is damaged.

    Also where it does not cover exactly the events it says: cursors count from 1.
    """
    try:
        found = msgspec.msgpack.decode(blob, type=_Snapshot)
        if (found.version, found.keep_ended) != (FOLD_VERSION, keep_ended):
            return None
        state = msgspec.msgpack.decode(found.state, type=State)
    except msgspec.MsgspecError:
        return None
    state.members.judge()  # what comes after the snapshot is compared with these verdicts
    return state if state.cursor == state.event_count else None


def digest(state: State) -> bytes:
    """32 bytes, equal for states that say the same, whatever came in which order.

    What is believed, not what is merely kept: peers may hold different leftovers of a removed one.
    """
    believed = {
        "devices": sorted(state.devices.items()),
        "upkeep": sorted(
            (one, state.drained(one), state.reserved(one, 0)) for one in state.devices
        ),
        "market": list(state.market.latest().items()),
        "keys": sorted(state.keys.items()),
        "services": sorted(state.services.items()),
        "usage": list(state.usage.items()),
        "rentals": state.rentals.believed(),
        "books": state.books.believed(),
        "budgets": state.budgets.believed(),
        "jobs": sorted(state.jobs.items()),
        "ended": sorted(one for each in state.ended.values() for one in each),
        "retired": [
            (author, one.ids.every(), sorted(one.plain.items()), one.counts)
            for author, one in sorted(state.retired.homes.items())
        ],
        "totals": sorted(state.totals.items()),
        "counts": (state.note_count, state.skipped_count),
        "peers": [(*_peer(state, author),) for author in sorted(state.members.judge().grants)],
        "fleet": (state.members.root, state.members.founding, state.members.recovery),
    }
    encoded = msgspec.json.encode(believed, order="sorted")
    return hashlib.blake2b(encoded, digest_size=DIGEST_BYTES).digest()


def _peer(state: State, author: str) -> tuple[str, str, list[tuple[str, list[Cut]]]]:
    given = state.members.judge().grants[author]
    grants = sorted((one.statement.hash, sorted(set(one.cuts))) for one in given)
    return author, state.members.name(author), grants
