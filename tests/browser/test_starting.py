"""What a browser shows of a daemon that lifts an old ledger: how far it is, then the fleet."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mesh.edge.store.care.lift import LIFTS
from tests.browser.conftest import Complaints
from tests.mesh.test_starting import EVENTS, Held, held, template

pytestmark = pytest.mark.browser
__all__ = ["held", "template"]  # fixtures


def test_the_page_shows_how_far_it_is_and_becomes_the_dashboard_by_itself(
    held: Held, open_page: Callable[..., Any], complaints: Complaints
) -> None:
    held.begin(LIFTS, 2048)
    link = json.loads(held.ok("dashboard", "-o", "json"))["url"]
    page = open_page(link)
    page.get_by_text(f"starting: {LIFTS}, 2,048 of {EVENTS:,} events").wait_for()
    bar = page.get_by_role("progressbar")
    assert (bar.get_attribute("value"), bar.get_attribute("max")) == ("2048", str(EVENTS))
    held.go()
    page.get_by_role("tablist", name="Parts of the dashboard").wait_for(timeout=60_000)
    page.get_by_role("heading", name="Fleet", exact=True).wait_for(state="attached")
    assert page.get_by_role("progressbar").count() == 0
    # Chromium tells of every answer that is no success, and of a line that ends as the API changes.
    told = [one for one in complaints if "503" not in one and "net::ERR_" not in one]
    assert told == []
