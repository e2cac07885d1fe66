"""A real Chromium in front of real daemons. scripts/test-browser brings both together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.browser.pages import NASTY
from tests.mesh.conftest import Machine, make, up_all
from tests.support.waiting import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str:
    """Where one is: FLEET_CHROMIUM, else the first on the path."""
    found = os.environ.get("FLEET_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    assert found, "no Chromium: install one, or name it in FLEET_CHROMIUM"
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """A Chromium in processes of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root can't have Chromium's sandbox; the pages are ours.
        started = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched() as started:
        yield started


class Complaints(list[str]):
    """What a page said that a person would find in its console, and what it asked elsewhere."""

    def watch(self, page: Any) -> None:
        page.on("console", lambda said: self._console(said))
        page.on("pageerror", lambda error: self.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('policy: '"
            " + e.violatedDirective + ' ' + e.blockedURI))"
        )

    def _console(self, said: Any) -> None:
        if said.type in ("error", "warning"):
            self.append(f"{said.type}: {said.text} ({said.location.get('url')})")

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:")):
            self.append(f"asked elsewhere: {url}")


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def open_page(browser: Any, complaints: Complaints) -> Iterator[Callable[..., Any]]:
    """Opens pages of one browser profile, each watched."""
    context = browser.new_context()

    def open_one(url: str = "about:blank", **media: Any) -> Any:
        page = context.new_page()
        complaints.watch(page)
        if media:
            page.emulate_media(**media)
        page.goto(url)
        return page

    yield open_one
    context.close()


@pytest.fixture(scope="session")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Machine]]:
    """Every machine there is here, by name, started side by side: ana, ben, and four alone."""
    maker = make(tmp_path_factory.mktemp("fleet"))
    made = up_all(next(maker), "ana ben cid dee eve fay")
    yield {one.name: one for one in made}
    next(maker, None)


@pytest.fixture(scope="session")
def pair(six: dict[str, Machine]) -> tuple[Machine, Machine]:
    """Ana and Ben, linked; Ana has jobs that ended, money said, and text that is markup."""
    ana, ben = six["ana"], six["ben"]
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ana linked with ben")
    ana.note(NASTY)
    ana.post("/v1/devices", name="attic", gpu="RTX 4090", rate="0.45/h")
    mine = next(row["name"] for row in ana.get("/v1/devices")["devices"] if row["peer"] == "ana")
    said = {"price": "1600", "bought": "2026-01-15", "months": "60", "watts": "450"}
    ana.post("/v1/rates/rate", device=mine, idle_watts="20", **said)
    ana.post("/v1/budgets", amount="50", per="month")
    colours = f"echo '{NASTY.replace(chr(39), '')}'; printf '\\033[31mred\\033[0m'; exit 3"
    for label, command in ((NASTY, colours), ("good", "true")):
        ana.post("/v1/jobs", command=["sh", "-c", command], label=label)
    wait_until(lambda: not ana.get("/v1/status")["running"], "both jobs end")
    return ana, ben
