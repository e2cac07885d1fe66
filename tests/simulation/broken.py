"""Deliberately broken variants: a simulation that does not catch them proves nothing.

Each breaks one thing, as a careless change might. They name what they break as text, so that one
whose target is gone says so instead of passing.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import Any, Final
from unittest import mock

from mesh.edge.store.writer import Writer
from mesh.ledger import changes, document, gate
from tests.simulation import broken_trust
from tests.simulation.disk import Disk, EarlyDisk

READ, HEAR = changes.read_message, document.Segment.hear
Variant = Callable[[ExitStack], type[Disk]]


def patches(*targets: tuple[str, Any]) -> Variant:
    """A variant that puts other things where "module:Class.name" says."""

    def apply(stack: ExitStack) -> type[Disk]:
        for target, new in targets:
            module, _, path = target.partition(":")
            owner: Any = import_module(module)
            *classes, name = path.split(".")
            for one in classes:
                owner = getattr(owner, one)
            stack.enter_context(mock.patch.object(owner, name, new))
        return Disk

    return apply


def _sound(_: ExitStack) -> type[Disk]:
    return Disk


def _store_acknowledges_early(_: ExitStack) -> type[Disk]:
    return EarlyDisk


def _foreign_read(data: bytes, author: bytes) -> list[changes.Put]:
    try:
        return READ(data, author)
    except changes.ChangeError:
        return []


def _foreign_hear(self: document.Segment, talk: document.Talk, data: bytes, _: object) -> bool:
    return HEAR(self, talk, data, [])


def _no_branch(self: Writer, new: gate.Fork, sig: bytes, body: bytes) -> None:
    """Keeps whichever branch of a fork came first and drops the other."""


def _nothing(*_: object, **__: object) -> None:
    return


def _yes(*_: object, **__: object) -> bool:
    return True


# The live state


async def _fold_what_the_task_returned(self: Any, *fact: object) -> Any:
    from mesh.edge.store.state import fold_in

    event = await self._run(self._writer, self._append, *fact, self._now_ms())
    fold_in(self.state, self._ledger.last_cursor(), event, self._ledger.has)
    self._notice([event])
    return event


def _put_with_last_cursor(self: Any, cursor: int, blob: bytes) -> None:
    self._ledger.put_checkpoint(self._ledger.last_cursor(), blob)
    self._saving = False


def _load_unchecked(state: Any, cursor: int, last: int) -> bool:
    state.cursor = cursor
    return True


async def _unshielded(self: Any, work: Any) -> Any:
    return await work


def _swap_without_the_rest(self: Any, fresh: Any) -> None:
    fresh.cursor = max(fresh.cursor, self.state.cursor)
    self.state = fresh


def _tell_before_folding(self: Any) -> bool:
    from mesh.edge.store.state import fold_in

    found = self._ledger.committed(self.state.cursor)
    for cursor, event in found[-1:]:
        fold_in(self.state, cursor, event, self._ledger.has)
    if found:
        self._notice([event for _, event in found])
    return bool(found)


async def _no_demand(self: Any) -> None:
    return


# The sessions


def _keep_any(self: Any, author: str, who: Any, now: int, **_: object) -> bool:
    self.claim(author, who, now)
    return True


def _placed_of_any_author(self: Any, found: Sequence[Any], author: str, message: Any) -> list[Any]:
    return list(found)


def _admits_strangers(self: Any, author: str, seq: int) -> bool:
    return True


LIVE, SYNC = "mesh.edge.live:Live", "mesh.sync.session:Session"
STATE, WRITER = "mesh.edge.store.state", "mesh.edge.store.writer:Writer"

VARIANTS: Final[dict[str, Variant]] = {
    "": _sound,
    "gate-skips-signature": patches(("mesh.ledger.signing:verify", _yes)),
    "store-acknowledges-early": _store_acknowledges_early,
    "session-trusts-foreign-actor": patches(
        ("mesh.ledger.changes:read_message", _foreign_read),
        ("mesh.ledger.document:Segment.hear", _foreign_hear),
    ),
    "merge-drops-branch": patches((f"{WRITER}._keep_branch", _no_branch)),
    "memory-of-a-failed-commit-kept": patches((f"{WRITER}.forget", _nothing)),
    "folds-what-a-task-returned": patches((f"{LIVE}._emit", _fold_what_the_task_returned)),
    "snapshot-with-the-ledgers-cursor": patches(
        (f"{LIVE}._put", _put_with_last_cursor), (f"{STATE}:_covers", _load_unchecked)
    ),
    "commit-not-shielded": patches((f"{LIVE}._whole", _unshielded)),
    "refold-loses-what-came-meanwhile": patches((f"{LIVE}._swap", _swap_without_the_rest)),
    "folds-the-newest-only": patches((f"{LIVE}._fold_page", _tell_before_folding)),
    "stale-state-kept": patches((f"{LIVE}._mend_soon", _nothing)),
    "signs-before-hearing": patches(("mesh.edge.signing.voice:Voice.demand", _no_demand)),
    "strangers-admitted": patches(
        (f"{LIVE}.admits", _admits_strangers), (f"{SYNC}._admits", _admits_strangers)
    ),
    "drip-renews-a-claim": patches(("mesh.sync.desk:Desk.keep", _keep_any)),
    "batch-of-any-author": patches((f"{SYNC}._placed", _placed_of_any_author)),
    **{name: patches(*targets) for name, targets in broken_trust.VARIANTS.items()},
}
# Caught so soon that every run of the tests can see it.
WITHIN_A_FEW: Final = ("gate-skips-signature", "store-acknowledges-early")
