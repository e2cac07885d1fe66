"""An asyncio loop without a clock or threads: time jumps to the next timer, one number decides all.

Among callbacks that are ready any may be next, so the order in which tasks meet is part of the
seed. What the code gives to an executor runs as a step of its own, some virtual time later, and its
result arrives later still: a commit and what follows it can be parted, as by a real thread.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

# More callbacks than any schedule needs (a few ten thousand): beyond it something spins.
MAX_STEPS = 3_000_000
# Whose tasks these are: every task and every call of an executor inherits it.
OWNER: ContextVar[object] = ContextVar("owner", default=None)


class Spins(AssertionError):
    """Callbacks without end: the code under test never comes to rest."""


class Worker(Executor):
    """One simulated thread: first come, first served, each call when the one before has ended."""

    def __init__(self, rng: random.Random, slow_s: float = 0.002) -> None:
        self.rng = rng
        self.slow_s = slow_s
        self.closed = False
        self.busy = False
        self.queue: deque[Call] = deque()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        self.closed = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `run_in_executor`, for those who don't wait for it."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self, partial(fn, *args, **kwargs))

    def pause(self) -> float:
        """How long a call waits or works; now and then very long."""
        late = self.rng.random() < 0.03
        return self.rng.random() * self.slow_s * (50 if late else 1)


@dataclass(slots=True)
class Call:
    """What somebody gave to an executor, with the context it was given in."""

    found: asyncio.Future[Any]
    do: Callable[[], Any]
    context: Context


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks in virtual time. `on_escape` is told of whatever a call of an executor raised
    that is no ordinary exception (a simulated power cut), with its owner."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.steps = 0
        self.tasks: dict[asyncio.Task[Any], object] = {}  # alive, with their owners, oldest first
        self.on_escape: Callable[[object, BaseException], None] = _raise
        self.set_task_factory(_tasks_of)
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._made = 0

    def time(self) -> float:
        return self._now

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def tasks_of(self, owner: object) -> list[asyncio.Task[Any]]:
        """An owner's tasks that have not ended, oldest first."""
        return [task for task, whose in self.tasks.items() if whose is owner and not task.done()]

    def run_in_executor(
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """As the real one: a call still waiting can be cancelled, one that began goes on."""
        worker = executor if isinstance(executor, Worker) else Worker(self.rng, 0.02)
        if worker.closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        found: asyncio.Future[Any] = self.create_future()
        worker.queue.append(Call(found, partial(func, *args), copy_context()))
        if not worker.busy:
            worker.busy = True
            self.call_later(worker.pause(), self._begin, worker)
        return found

    def _begin(self, worker: Worker) -> None:
        """Carry out the next call that nobody cancelled while it waited."""
        while worker.queue:
            call = worker.queue.popleft()
            if call.found.done():
                continue
            try:
                result, error = call.context.run(call.do), None
            except Exception as caught:
                result, error = None, caught
            except BaseException as caught:
                self.on_escape(call.context.get(OWNER), caught)
                return
            self.call_later(worker.pause(), self._deliver, worker, call.found, result, error)
            return
        worker.busy = False

    def _deliver(
        self, worker: Worker, found: asyncio.Future[Any], result: object, error: Exception | None
    ) -> None:
        if not found.done():
            if error is None:
                found.set_result(result)
            else:
                found.set_exception(error)
        if worker.queue:
            self.call_later(worker.pause(), self._begin, worker)
        else:
            worker.busy = False

    def _run_once(self) -> None:
        """One callback: any of those that are ready, else the next timer."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Spins(f"{MAX_STEPS} callbacks within {self._now:.0f} virtual seconds")
        ready, timers = self._ready, self._timers  # type: ignore[attr-defined]
        while timers and (not ready or timers[0][0] <= self._now):
            when, _, timer = heapq.heappop(timers)
            if not timer._cancelled:
                self._now = max(self._now, when)
                ready.append(timer)
        if not ready:
            raise Spins("every task waits for something that will never happen")
        at = self.rng.randrange(len(ready)) if len(ready) > 1 else 0
        handle = ready[at]
        del ready[at]
        if not handle._cancelled:
            handle._run()

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There is no other thread to wake us."""

    def _timer_handle_cancelled(self, handle: object) -> None:
        """Cancelled timers are dropped when their time comes."""


def _tasks_of(
    loop: asyncio.AbstractEventLoop, coroutine: Generator[Any, None, Any], **named: Any
) -> asyncio.Task[Any]:
    assert isinstance(loop, VirtualLoop)
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **named)
    context = named.get("context")
    loop.tasks[task] = context[OWNER] if context and OWNER in context else OWNER.get()
    task.add_done_callback(loop.tasks.pop)
    return task


def _raise(_: object, error: BaseException) -> None:
    raise error
