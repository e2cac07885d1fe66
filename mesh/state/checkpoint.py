"""A State as bytes and back: what a reader starts from instead of folding the whole ledger."""

import msgspec

from mesh.state.fold import KEEP_ENDED, State

# Raise it with every change to how events are folded: an older snapshot is then not used.
FOLD_VERSION = 5


class _Snapshot(msgspec.Struct, array_like=True):
    version: int
    keep_ended: int
    state: msgspec.Raw


def pack(state: State) -> bytes:
    """The snapshot of a state that is not stale."""
    assert not state.stale, "a stale state must be folded again before it is kept"
    encode = msgspec.msgpack.encode
    return encode(_Snapshot(FOLD_VERSION, state.keep_ended, msgspec.Raw(encode(state))))


def unpack(blob: bytes, keep_ended: int = KEEP_ENDED) -> State | None:
    """The state a snapshot holds; None when another version made it, or it is damaged."""
    try:
        found = msgspec.msgpack.decode(blob, type=_Snapshot)
        if (found.version, found.keep_ended) != (FOLD_VERSION, keep_ended):
            return None
        return msgspec.msgpack.decode(found.state, type=State)
    except msgspec.MsgspecError:
        return None
