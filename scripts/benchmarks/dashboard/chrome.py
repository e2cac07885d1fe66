"""A real Chromium, signed in at a daemon, and the helpers that pages of a measurement get.

Playwright lies in build/browser (scripts/browser), so that the venv has none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from tests.browser.conftest import launched

# until(selector, count): milliseconds since the navigation began, once so many are there and the
# main thread has nothing to do. hide(yes): as a browser does when another tab is chosen.
HELPERS: Final = """
globalThis.until = (selector, count) => new Promise((resolve) => {
  const look = () => {
    if (document.querySelectorAll(selector).length < count) return void setTimeout(look, 4);
    requestIdleCallback(() => resolve(performance.now()));
  };
  look();
});
globalThis.hide = (yes) => {
  for (const [name, value] of [["hidden", yes], ["visibilityState", yes ? "hidden" : "visible"]])
    Object.defineProperty(document, name, { value, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
# What makes each tab usable: so many of these are shown.
TABS: Final = {
    "fleet": ('section[aria-label="Devices"] li', 50),
    "plan": ('section[aria-label="Where it fits"] tbody tr', 5),
    "serve": ('section[aria-label="The address"] code', 1),
    "jobs": ('section[aria-label="Running and waiting"] tbody tr', 20),
    "cost": ('section[aria-label="By day"] dl', 1),
    "ledger": ("ol.events > li", 20),
}


@final
class Chrome:
    """One browser profile, signed in at the daemon of `home`."""

    def __init__(self, browser: Any, home: Path) -> None:
        self._browser, self._home = browser, home
        self.url = str(json.loads((home / "daemon.json").read_text())["url"])
        self._state = self._sign_in()

    def _sign_in(self) -> Any:
        words = [sys.executable, "-m", "mesh", "dashboard", "-o", "json"]
        env = os.environ | {"FLEET_HOME": str(self._home)}
        said = json.loads(subprocess.run(words, env=env, check=True, capture_output=True).stdout)
        context = self._browser.new_context()
        page = context.new_page()
        page.goto(said["url"])
        page.get_by_role("tablist").wait_for()
        state = context.storage_state()
        context.close()
        return state

    def processes(self) -> list[int]:
        """Those of the browser, all that draws included."""
        session = self._browser.new_browser_cdp_session()
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return [int(one["id"]) for one in found]

    def address(self, tab: str) -> str:
        return f"{self.url}/dashboard/#{tab}"

    @contextmanager
    def profile(self) -> Iterator[Any]:
        """A profile that is signed in and has nothing in its cache."""
        context = self._browser.new_context(storage_state=self._state)
        context.add_init_script(HELPERS)
        try:
            yield context
        finally:
            context.close()

    @contextmanager
    def page(self, tab: str) -> Iterator[Any]:
        """One page of such a profile that shows a tab, usable."""
        with self.profile() as context:
            page = context.new_page()
            open_tab(page, self, tab)
            yield page


def open_tab(page: Any, chrome: Chrome, tab: str) -> float:
    """Milliseconds from the navigation until the tab is usable."""
    page.goto(chrome.address(tab))
    return usable(page, tab)


def usable(page: Any, tab: str) -> float:
    """Milliseconds since the page's navigation began, once the tab is usable."""
    return float(page.evaluate("([selector, count]) => until(selector, count)", list(TABS[tab])))


@contextmanager
def chromium_of(home: Path) -> Iterator[Chrome]:
    """A browser of its own process."""
    with launched() as browser:
        yield Chrome(browser, home)
