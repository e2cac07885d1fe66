"""A tab that is hidden while the ledger grows: what it keeps, and how soon it is up to date."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from mesh.cli.client import need_daemon
from scripts.benchmarks.dashboard.chrome import Chrome

EVENTS: Final = 3_000  # what ten minutes of a busy fleet bring, five a second
# Until the newest event is shown, from the moment the tab is.
SHOW: Final = """([newest]) => new Promise((resolve) => {
  const begun = performance.now();
  const look = () => document.querySelector("ol.events > li")?.textContent.includes(newest)
    ? resolve(performance.now() - begun) : setTimeout(look, 4);
  hide(false);
  look();
})"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """What came of it."""

    events: int
    seconds: float
    grown_bytes: int
    shown_ms: float


def hidden(chrome: Chrome, home: Path, seconds: float) -> Hidden:
    """Hide the ledger's tab for so long, while `EVENTS` events come evenly."""
    daemon = need_daemon(home)
    with chrome.page("ledger") as page:
        before = _heap_bytes(page)
        page.evaluate("hide(true)")
        begun = time.perf_counter()
        for number in range(EVENTS):
            daemon.post("/v1/notes", {"text": f"while hidden {number:05}."})
            time.sleep(max(0.0, begun + seconds * (number + 1) / EVENTS - time.perf_counter()))
        took = time.perf_counter() - begun
        grown = _heap_bytes(page) - before
        shown = page.evaluate(SHOW, [f"while hidden {EVENTS - 1:05}."])
    return Hidden(events=EVENTS, seconds=took, grown_bytes=grown, shown_ms=shown)


def _heap_bytes(page: Any) -> int:
    """What the page's scripts hold, once nothing is left to collect."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return int(next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize"))
