"""Whoever sees little, or has no mouse: axe-core's rules, and every control by the keyboard."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.pages import TABS, go, link, shown
from tests.mesh.conftest import Machine

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
BAD = ("serious", "critical")
CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']"
# What a person with the Tab key is at: whether it shows, which control it is, and what.
AT = """(controls) => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  const at = [...document.querySelectorAll(controls)].indexOf(one);
  return [seen && one.matches(':focus-visible'), at, one.outerHTML.slice(0, 120)];
}"""
# Every control that can be used now.
USABLE = """(controls) => [...document.querySelectorAll(controls)].flatMap((one, at) =>
  !one.disabled && one.tabIndex >= 0 && one.checkVisibility() ? [at] : [])"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_tab(
    pair: tuple[Machine, Machine], open_page: Open, scheme: str
) -> None:
    axe = Path(os.environ["FLEET_AXE"]).read_text()
    page = open_page(link(pair[0]), color_scheme=scheme)
    shown(page, "Devices")
    for tab in TABS:
        go(page, pair[0], tab)
        _everything_opened(page, tab)
        page.evaluate(axe + ";undefined")
        found = page.evaluate("() => axe.run().then((said) => said.violations)")
        bad = [
            (one["id"], one["help"], [node["html"][:160] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in BAD
        ]
        assert not bad, f"{tab}, {scheme}: {bad}"


def _everything_opened(page: Any, tab: str) -> None:
    if tab == "plan":
        page.get_by_text("Limits").click()
        page.get_by_text("Memory by layer").click()
        page.get_by_role("img").first.wait_for()
    if tab == "jobs":
        page.get_by_role("button", name="Details").first.click()
        page.locator("pre.log").wait_for()


def test_the_door_has_nothing_serious_either(pair: tuple[Machine, Machine], browser: Any) -> None:
    page = browser.new_context().new_page()
    page.goto(f"{pair[0].daemon.url}/dashboard/")
    page.get_by_text("not signed in").wait_for()
    page.evaluate(Path(os.environ["FLEET_AXE"]).read_text() + ";undefined")
    found = page.evaluate("() => axe.run().then((said) => said.violations)")
    assert [one["id"] for one in found if one["impact"] in BAD] == []
    page.context.close()


@pytest.mark.parametrize("tab", list(TABS))
def test_every_control_is_met_by_the_tab_key_and_shows_that_it_is(
    pair: tuple[Machine, Machine], open_page: Open, tab: str
) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices")
    go(page, pair[0], tab)
    page.get_by_text("asking…").first.wait_for(state="detached")
    wanted = set(page.evaluate(USABLE, CONTROLS))
    met: set[int] = set()
    for _ in range(len(wanted) + 1):
        page.keyboard.press("Tab")
        seen, at, what = page.evaluate(AT, CONTROLS)
        if at >= 0:
            assert seen, f"{tab}: no focus is seen on {what}"
            met.add(at)
    assert wanted <= met, f"{tab}: {len(wanted - met)} controls are not met"
