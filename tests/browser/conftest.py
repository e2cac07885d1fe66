"""A real Chromium in front of real daemons. scripts/test-browser brings both together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

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
