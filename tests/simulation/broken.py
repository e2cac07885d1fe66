"""Deliberately broken variants: a simulation that does not catch them proves nothing."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final
from unittest import mock

from mesh.edge.store.writer import Writer
from mesh.ledger import changes, document, gate, signing
from tests.simulation.disk import Disk, EarlyDisk

READ, HEAR = changes.read_message, document.Segment.hear


def _sound(_: ExitStack) -> type[Disk]:
    return Disk


def _gate_skips_signature(stack: ExitStack) -> type[Disk]:
    stack.enter_context(mock.patch.object(signing, "verify", return_value=True))
    return Disk


def _store_acknowledges_early(_: ExitStack) -> type[Disk]:
    return EarlyDisk


def _session_trusts_foreign_actor(stack: ExitStack) -> type[Disk]:
    """Takes any change of a sync message into the document, whoever made it."""

    def read(data: bytes, author: bytes) -> list[changes.Put]:
        try:
            return READ(data, author)
        except changes.ChangeError:
            return []

    def hear(self: document.Segment, talk: document.Talk, data: bytes, _: object) -> bool:
        return HEAR(self, talk, data, [])

    stack.enter_context(mock.patch.object(changes, "read_message", read))
    stack.enter_context(mock.patch.object(document.Segment, "hear", hear))
    return Disk


def _merge_drops_branch(stack: ExitStack) -> type[Disk]:
    """Keeps whichever branch of a fork came first and drops the other."""

    def keep(self: Writer, new: gate.Fork, sig: bytes, body: bytes) -> None:
        return

    stack.enter_context(mock.patch.object(Writer, "_keep_branch", keep))
    return Disk


VARIANTS: Final[dict[str, Callable[[ExitStack], type[Disk]]]] = {
    "": _sound,
    "gate-skips-signature": _gate_skips_signature,
    "store-acknowledges-early": _store_acknowledges_early,
    "session-trusts-foreign-actor": _session_trusts_foreign_actor,
    "merge-drops-branch": _merge_drops_branch,
}
# Caught so soon that every run of the tests can see it.
WITHIN_A_FEW: Final = ("gate-skips-signature", "store-acknowledges-early")
