"""Hashing whole models: at once where a peer waits for it, else slowly while nobody does."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, final

from mesh.edge.models.local import Here, LocalModels
from providers.base import ModelError
from providers.models.manifest import Manifest

# The first minutes after a start belong to the person at the machine.
FIRST_S: Final = 120.0
AGAIN_S: Final = 600.0  # between two looks for files that are not hashed yet
# As long as a chunk took, the disk rests: half of it stays for whoever needs it.
REST_SHARE: Final = 1.0
NICE: Final = 19  # the least of a processor, and on most disks of them too


class _Ended(Exception):
    """The daemon stops."""


@final
class Hashing:
    """Manifests by content id. `ask` never waits; `run` is the background, which stands still
    while `rests` says so.
    """

    def __init__(self, local: LocalModels) -> None:
        self._local: Final = local
        self._stop: Final = threading.Event()
        self._asked = ThreadPoolExecutor(1, thread_name_prefix="models-hash")
        self._done: dict[str, int] = {}  # bytes hashed, of models that somebody waits for
        self._wanted: Final = threading.Event()
        self.rests: Callable[[], bool] = lambda: False

    def ask(self, here: Here) -> Manifest | int:
        """The manifest of a model here, or how many bytes are hashed yet; blocks for a stat."""
        known = self._local.known.manifest_if_known(here.model.parts)
        if known is not None:
            return known
        if here.id not in self._done:
            self._done[here.id] = 0
            self._asked.submit(self._now, here)
        return self._done.get(here.id, 0)

    def _now(self, here: Here) -> None:
        self._wanted.set()
        try:
            self._local.manifest(here, lambda size: self._took(here.id, size))
        except (ModelError, OSError, _Ended):
            pass  # it is asked for again, and then read anew
        finally:
            self._done.pop(here.id, None)
            self._wanted.clear()
            self._local.forget()

    def _took(self, model_id: str, size: int) -> None:
        self._done[model_id] += size
        if self._stop.is_set():
            raise _Ended

    async def run(self) -> None:
        """Hash what is not hashed, a file at a time, for as long as the daemon lives."""
        thread = threading.Thread(target=self._slowly, name="models-idle", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stop.set()

    def _slowly(self) -> None:
        _least_priority()
        wait = FIRST_S
        while not self._stop.wait(wait):
            wait = AGAIN_S
            if self.rests():
                continue
            for here in self._local.all():
                if not here.identity.root:
                    with suppress(ModelError, OSError, _Ended):
                        self._rested = time.monotonic()
                        self._local.manifest(here, self._rest)
            self._local.known.prune()

    _rested = 0.0

    def _rest(self, size: int) -> None:
        """Rest as long as the chunk took; longer on battery, or while a peer waits for another."""
        spent = time.monotonic() - self._rested
        if self._stop.wait(spent * REST_SHARE) or self._stop.is_set():
            raise _Ended
        while self._wanted.is_set() or self.rests():
            if self._stop.wait(1.0):
                raise _Ended
        self._rested = time.monotonic()

    def close(self) -> None:
        """End both at the next chunk."""
        self._stop.set()
        self._asked.shutdown(wait=False, cancel_futures=True)


def _least_priority() -> None:
    """Of this thread alone, where the system has threads with a priority of their own."""
    if hasattr(os, "setpriority") and hasattr(threading, "get_native_id"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
