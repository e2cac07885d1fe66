"""How fast the plan follows a slider, and what else the daemon can do meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.request import urlopen

import psutil

MOVES: Final = 144  # twice through every context at every batch
DRAG_MS: Final = 50  # between two moves of a hand that does not wait
LOOK_S: Final = 0.01  # between two looks at the daemon's loop

# Each move's milliseconds from the input event until the table shows its question, or, where the
# hand does not wait, one asked after it.
SLIDE: Final = """async ([moves, pause]) => {
  const part = document.querySelector('section[aria-label="Where it fits"]');
  const sliders = ["context", "batch"].map((name) => document.getElementById(`slider-${name}`));
  const contexts = 9, batches = 8, waiting = [], times = [];
  const asked = /context (\\d+), batch (\\d+)/;
  const shown = () => (part.textContent.match(asked) || []).slice(1).join();
  const settle = () => {
    const at = waiting.findLastIndex((one) => one.question === shown());
    for (const one of waiting.splice(0, at + 1)) {
      times.push(performance.now() - one.begun);
      one.done();
    }
  };
  const watcher = new MutationObserver(settle);
  watcher.observe(part, { subtree: true, childList: true, characterData: true });
  for (let move = 0; move < moves; move += 1) {
    const [lap, step] = [Math.floor(move / contexts), move % contexts];
    const at = [lap % 2 ? contexts - 1 - step : step, lap % batches];
    const question = [1024 * 2 ** at[0], 2 ** at[1]].join();
    const moved = sliders.filter((slider, n) => slider.value !== String(at[n]));
    if (!moved.length) continue;
    const begun = performance.now();
    const done = new Promise((resolve) => waiting.push({ question, begun, done: resolve }));
    for (const slider of moved) {
      slider.value = at[sliders.indexOf(slider)];
      slider.dispatchEvent(new Event("input", { bubbles: true }));
    }
    await (pause ? new Promise((wake) => setTimeout(wake, pause)) : done);
  }
  await Promise.all(waiting.map((one) => new Promise((resolve) => (one.done = resolve))));
  watcher.disconnect();
  return times;
}"""


def slide(page: Any, *, waits: bool) -> list[float]:
    """Milliseconds of each move: of a hand that waits for the table, or of one that does not."""
    found: list[float] = page.evaluate(SLIDE, [MOVES, 0 if waits else DRAG_MS])
    return found


@contextmanager
def cpu_of(*groups: Sequence[int]) -> Iterator[list[float]]:
    """CPU milliseconds that each group of processes uses, noted at the end: whatever else runs on
    this machine, they stay about the same."""
    found: list[float] = []
    before = [_cpu_ms(pids) for pids in groups]
    yield found
    found.extend(_cpu_ms(pids) - was for pids, was in zip(groups, before, strict=True))


def _cpu_ms(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return 1000.0 * sum(one.user + one.system for one in times)


@contextmanager
def loop_watched(url: str) -> Iterator[list[float]]:
    """Milliseconds that a question of no work takes meanwhile: how late the daemon's loop is."""
    found: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            begun = time.perf_counter()
            with urlopen(f"{url}/healthz") as reply:
                reply.read()
            found.append((time.perf_counter() - begun) * 1000)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
