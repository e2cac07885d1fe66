"""A fleet of three of which one is stopped where it stands: how old the third's figures are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from mesh.cli.client import need_daemon
from scripts.benchmarks.dashboard.chrome import chromium_of
from scripts.benchmarks.pair import Daemon

PICTURES: Final = 15
TRIES: Final = 5
PATIENCE_S: Final = 60.0
# The live figure of a device by the name of its peer.
LIVE: Final = """(name) => new Promise((resolve) => {
  const look = () => [...document.querySelectorAll('section[aria-label="Devices"] li')].some(
    (card) => card.textContent.includes(`of ${name} `) && card.textContent.includes("measured"))
    ? resolve(performance.now()) : setTimeout(look, 4);
  look();
})"""


@contextmanager
def three(folder: Path) -> Iterator[tuple[Daemon, Daemon, Daemon]]:
    """Ana, who watches, Ben and Cid, linked."""
    made: list[Daemon] = []
    try:
        for name in ("ana", "ben", "cid"):
            made.append(Daemon(folder / name, name))
            if made[1:]:
                code = made[0].post("/v1/invites", role="runner")["code"]
                made[-1].post("/v1/join", code=code, name=name)
        _wait_until_live(made[0])
        ana, ben, cid = made
        yield ana, ben, cid
    finally:
        for one in made:
            one.stop()


def _wait_until_live(ana: Daemon) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        rows = need_daemon(ana.home).get("/v1/telemetry?peer=all&once=1")["peers"]
        if len(rows) == 3 and all(row["state"] == "live" and row["devices"] for row in rows):
            return
        if time.monotonic() > until:
            raise SystemExit(f"not linked after {PATIENCE_S:.0f} s: {rows}")
        time.sleep(0.2)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What ana sees of cid: milliseconds from the navigation until it is live on her page, between
    two pictures of the fleet, and how old its figures are in each."""

    loaded: list[float]
    gaps: list[float]
    ages: list[float]


def silent(folder: Path) -> tuple[Seen, Seen]:
    """While all answer, and while ben is stopped where it stands."""
    with three(folder) as (ana, ben, _):
        before = _seen(ana)
        ben.process.suspend()
        try:
            return before, _seen(ana)
        finally:
            ben.process.resume()


def _seen(ana: Daemon) -> Seen:
    loaded = []
    with chromium_of(ana.home) as chrome:
        for _ in range(TRIES):
            with chrome.profile() as context:
                page = context.new_page()
                page.goto(chrome.address("fleet"))
                loaded.append(float(page.evaluate(LIVE, "cid")))
    gaps, ages = _pictures(ana)
    return Seen(loaded=loaded, gaps=gaps, ages=ages)


def _pictures(ana: Daemon) -> tuple[list[float], list[float]]:
    came: list[float] = []
    ages: list[float] = []
    for _, said in need_daemon(ana.home).stream("/v1/telemetry?peer=all"):
        came.append(time.perf_counter() * 1000)
        ages.append(float(_age_ms(said, "cid")))
        if len(came) > PICTURES:
            break
    return [after - before for before, after in zip(came, came[1:], strict=False)], ages


def _age_ms(picture: Any, name: str) -> int:
    row = next(one for one in picture["peers"] if one["name"] == name)
    return int(row["age_ms"])
