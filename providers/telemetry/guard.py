"""A call that may hang is made by one thread, and never a second time while it does.

A driver in trouble keeps whoever asks in the kernel for minutes, where nothing can end it. So
nobody waits longer than a moment: who asks meanwhile hears that the last question is still open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

Said = TypeVar("Said")

# A driver answers in milliseconds. One that has not after this is called unresponsive.
HUNG_S: Final = 5.0
# How long one look waits: the other sources' readings must not be late.
PATIENCE_S: Final = 0.5


class Slow(Exception):
    """The question has no answer yet, and that says nothing so far."""


@final
class Hung(Slow):
    """It has had none for HUNG_S."""


@final
class Guard(Generic[Said]):
    """Asks `question` in a thread of its own, one at a time."""

    def __init__(
        self, question: Callable[[], Said], name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._question = question
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()  # of those who ask
        self._asked_s: float | None = None  # since when a question is open
        self._done = threading.Event()
        self._answer: Said | None = None
        self._error: BaseException | None = None
        self.started = 0  # questions ever put

    def ask(self, patience_s: float = PATIENCE_S) -> Said:
        """The answer; Slow where there is none within `patience_s`, Hung after HUNG_S.

        An answer that comes late is given to whoever asks next. What the question raises, this
        raises.
        """
        with self._lock:
            if self._asked_s is None:
                self._put()
            asked_s = self._asked_s
            assert asked_s is not None
            if not self._done.wait(patience_s):
                open_s = self._clock() - asked_s
                raise Hung(self._name) if open_s >= HUNG_S else Slow(self._name)
            self._asked_s = None
            answer, error = self._answer, self._error
            self._answer = self._error = None
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]

    def _put(self) -> None:
        self._asked_s = self._clock()
        self._done.clear()
        self.started += 1
        # A daemon thread: one that hangs must not keep this program from ending.
        threading.Thread(target=self._run, name=f"ask {self._name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._question()
        except BaseException as error:  # noqa: BLE001  it is raised where somebody asked
            self._error = error
        finally:
            self._done.set()
