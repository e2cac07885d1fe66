"""The dashboard in a real Chromium, before a daemon with 50 devices, 1,000 jobs, 100,000 events.

argv: [--home FOLDER] keeps the home there, made at the first run; [--hidden SECONDS] how long a tab
is hidden; [--only PART ...] of sliding, loads, tabs, seven, hidden, silent.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import mathcore
from mesh.api.errors import RequestError
from mesh.cli.client import need_daemon
from scripts.benchmarks.dashboard.chrome import TABS, Chrome, chromium_of, open_tab, usable
from scripts.benchmarks.dashboard.hidden import hidden
from scripts.benchmarks.dashboard.home import FEW, MANY, describe, fill
from scripts.benchmarks.dashboard.silent import silent
from scripts.benchmarks.dashboard.sliding import cpu_of, loop_watched, slide
from scripts.benchmarks.pair import Daemon

UNAVAILABLE: Final = 503
LOOK_S: Final = 1.0
TRIES: Final = 7
SEVEN: Final = 7
HIDDEN_S: Final = 60.0
STILL_MS: Final = 3000
SWITCH: Final = "(tab) => { location.hash = tab; return performance.now(); }"
PARTS: Final = ("sliding", "loads", "tabs", "seven", "hidden", "silent")


def main() -> None:
    asked = _asked()
    build = "compiled" if mathcore.COMPILED else "pure"
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as scratch:
        folder = Path(scratch)
        home = _home(asked.home, folder / "home")
        print(f"== the dashboard, mathcore {build}; load {os.getloadavg()[0]:.1f}", flush=True)
        daemon = Daemon(home, "bench")
        try:
            with chromium_of(home) as chrome:
                _with_browser(chrome, home, asked)
        finally:
            daemon.stop()
        if "silent" in asked.only:
            _silent(folder)


def _asked() -> Any:
    parser = argparse.ArgumentParser(prog="scripts/bench dashboard")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--hidden", type=float, default=HIDDEN_S)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    return parser.parse_args()


def _home(kept: Path | None, home: Path) -> Path:
    """A home to measure with: a copy of the one that is kept, so that each run begins alike."""
    if kept is None or not kept.exists():
        (kept or home).mkdir(parents=True)
        fill(kept or home)
    if kept is not None:
        shutil.copytree(kept, home)
    return home


def _with_browser(chrome: Chrome, home: Path, asked: Any) -> None:
    _wait_for_bills(need_daemon(home))
    describe(home, 0, FEW)
    if "sliding" in asked.only:
        _sliding(chrome, home, FEW)
    describe(home, FEW, MANY)
    if "sliding" in asked.only:
        _sliding(chrome, home, MANY)
    if "loads" in asked.only:
        _loads(chrome)
    if "tabs" in asked.only:
        _tabs(chrome)
    if "seven" in asked.only:
        _seven(chrome)
    if "hidden" in asked.only:
        _hidden(chrome, home, asked.hidden)


def _wait_for_bills(daemon: Any) -> None:
    """Those of a ledger that comes all at once are made first."""
    while True:
        try:
            daemon.get("/v1/cost?by=day")
            return
        except RequestError as error:
            if error.status != UNAVAILABLE:
                raise
        time.sleep(LOOK_S)


def _sliding(chrome: Chrome, home: Path, devices: int) -> None:
    with chrome.page("plan") as page, loop_watched(chrome.url) as loop:
        page.wait_for_timeout(STILL_MS)
    _say(f"{devices} devices, nobody slides: the daemon's loop", loop)
    for waits in (True, False):
        hand = "waits for the table" if waits else "drags, a move each 50 ms"
        with chrome.page("plan") as page:
            with cpu_of([need_daemon(home).pid], chrome.processes()) as spent:
                times = slide(page, waits=waits)
            _say(f"{devices} devices, hand {hand}", times)
            text = ", ".join(f"{ms / len(times):.0f} ms" for ms in spent)
            print(f"  CPU a move, of the daemon and of the browser: {text}")
            with loop_watched(chrome.url) as loop:
                slide(page, waits=waits)
        _say("  the daemon's loop meanwhile", loop)


def _loads(chrome: Chrome) -> None:
    weights: list[int] = []
    for tab in TABS:
        times = [_load(chrome, tab, weights) for _ in range(TRIES)]
        _say(f"{tab}: from navigation to usable", times)
    print(f"{'files of the page, as sent':<50}{max(weights) / 1000:8.0f} kB", flush=True)


def _load(chrome: Chrome, tab: str, weights: list[int]) -> float:
    """One load with nothing cached; notes what the page's files weighed on the wire."""
    with chrome.profile() as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        files: dict[str, int] = {}
        session.send("Network.enable")
        start = f"{chrome.url}/dashboard/"
        session.on("Network.responseReceived", lambda said: _note_file(files, said, start))
        session.on("Network.loadingFinished", lambda said: _note_size(files, said))
        took = open_tab(page, chrome, tab)
        weights.append(sum(files.values()))
    return took


def _note_file(files: dict[str, int], said: Any, start: str) -> None:
    if said["response"]["url"].startswith(start):
        files.setdefault(said["requestId"], 0)


def _note_size(files: dict[str, int], said: Any) -> None:
    if said["requestId"] in files:
        files[said["requestId"]] = int(said["encodedDataLength"])


def _tabs(chrome: Chrome) -> None:
    times: dict[str, list[float]] = {tab: [] for tab in TABS}
    with chrome.page("fleet") as page:
        for _ in range(TRIES):
            for tab in (*list(TABS)[1:], "fleet"):
                begun = page.evaluate(SWITCH, tab)
                times[tab].append(usable(page, tab) - begun)
    for tab, found in times.items():
        _say(f"{tab}: from another tab to usable", found)


def _seven(chrome: Chrome) -> None:
    with chrome.profile() as context:
        pages = [context.new_page() for _ in range(SEVEN)]
        times = [open_tab(page, chrome, "fleet") for page in pages]
        for page in pages:
            page.get_by_text("measured").first.wait_for()
        print(f"{'seven tabs: the seventh from navigation to usable':<50}{times[-1]:8.0f} ms")


def _hidden(chrome: Chrome, home: Path, seconds: float) -> None:
    found = hidden(chrome, home, seconds)
    what = f"hidden {found.seconds:.0f} s, {found.events} events: "
    print(f"{what + 'heap more':<50}{found.grown_bytes / 1e6:8.2f} MB")
    print(f"{what + 'up to date in':<50}{found.shown_ms:8.0f} ms", flush=True)


def _silent(folder: Path) -> None:
    for what, seen in zip(("all three answer", "one is stopped"), silent(folder), strict=True):
        _say(f"{what}: the third is live on the page after", seen.loaded)
        _say(f"{what}: between two pictures", seen.gaps)
        _say(f"{what}: age of the third's figures", seen.ages)


def _say(what: str, times: Sequence[float]) -> None:
    """Median, 95th percentile, worst."""
    found = sorted(times)
    p95 = found[max(0, math.ceil(0.95 * len(found)) - 1)]
    line = f"{statistics.median(found):8.0f} ms, p95 {p95:.0f}, worst {found[-1]:.0f}"
    print(f"{what:<50}{line}  ({len(found)}, load {os.getloadavg()[0]:.1f})", flush=True)


if __name__ == "__main__":
    main()
