"""Plays one seed: the real modules, with small limits, keys and clocks that cost nothing."""

import tempfile
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from mesh.edge import replication
from mesh.edge.store import state
from mesh.edge.store.sealed import pack
from mesh.ledger import document, gate, ids, record, signing
from mesh.state import members
from mesh.sync import messages, wants
from mesh.sync.session import Session
from tests.simulation import keys
from tests.simulation.broken import VARIANTS
from tests.simulation.disk import SimLedger
from tests.simulation.report import Played
from tests.simulation.world import World

# Small, so that a schedule of seconds seals segments and pages through batches.
SMALL: dict[tuple[object, str], int] = {
    (document, "SEGMENT_EVENTS"): 8,
    (pack, "SEGMENT_EVENTS"): 8,
    (wants, "TAIL_EVENTS"): 4,
    (messages, "BATCH_EVENTS"): 5,
    (wants, "FIRST_STEP_BACK"): 2,
    (state, "AUTHOR_EVENTS"): 12,
    (members, "MAX_WAITING"): 5,
}


def play(seed: int, name: str = "", played: Played | None = None) -> World:
    """Run one schedule; Broken when it fails. `played` is told what it came to, either way."""
    with ExitStack() as stack:
        disk_type = VARIANTS[name](stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_fast())))
        world = World(seed, disk_type, folder)
        for (module, constant), value in SMALL.items():
            stack.enter_context(mock.patch.object(module, constant, value))
        _simulated(stack, world)
        try:
            world.run()
        finally:
            if played is not None:
                played.virtual_s = world.virtual_s
                played.hits, played.taken = world.steps.hits, world.steps.taken
    return world


def _simulated(stack: ExitStack, world: World) -> None:
    """Keys and clocks that cost nothing; the honest are remembered by what they sign."""

    def seal(seed: bytes, body: bytes) -> bytes:
        world.signed.add(ids.event_hash(body))
        return keys.seal(seed, body)

    def now_ns() -> int:
        return int(world.loop.time() * 1e9)

    if signing.verify is VERIFY:  # unless a broken variant has its own
        stack.enter_context(mock.patch.object(signing, "verify", keys.verify))
    stack.enter_context(mock.patch.object(signing, "seal", seal))
    clock = SimpleNamespace(
        monotonic_ns=now_ns, time_ns=now_ns, monotonic=world.loop.time, sleep=_say_nothing
    )
    parse = lru_cache(maxsize=None)(record.parse_record)  # the same bytes are read again and again
    for module in (record, gate):
        stack.enter_context(mock.patch.object(module, "parse_record", parse))
    for module in (replication, state):
        stack.enter_context(mock.patch.object(module, "time", clock, create=True))
    stack.enter_context(mock.patch.object(replication, "print", _say_nothing, create=True))
    stack.enter_context(mock.patch.object(replication, "Session", _session))


def _session(archive: SimLedger, *args: Any, **named: Any) -> Session:
    """A session of the kind its peer has: some lie."""
    return archive.speaks(archive, *args, **named)


def _say_nothing(*_: object, **__: object) -> None:
    return


def _fast() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


VERIFY = signing.verify
