"""What tests of the dashboard share: where its pages are, and when a part of one is there."""

import json
import os
from pathlib import Path
from typing import Any

from tests.mesh.conftest import Machine

TABS = {
    "fleet": "Devices",
    "plan": "Where it fits",
    "serve": "The address",
    "jobs": "Ended",
    "cost": "By day",
    "ledger": "Events",
}
NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PICTURES = os.environ.get("FLEET_PICTURES")  # a folder for pictures of every tab, to look at


def link(machine: Machine) -> str:
    """One that works once, as `fleet dashboard` prints it."""
    return str(machine.daemon.url) + str(machine.post("/v1/dashboard/codes")["path"])


def typed_link(machine: Machine) -> str:
    """The same, by the command line."""
    return str(json.loads(machine.ok("dashboard", "-o", "json"))["url"])


def address(machine: Machine, tab: str = "fleet") -> str:
    return f"{machine.daemon.url}/dashboard/#{tab}"


def shown(page: Any, title: str) -> Any:
    """A part of a tab, once its answer is there."""
    part = page.get_by_role("region", name=title, exact=True)
    part.wait_for()
    part.get_by_text("asking…").wait_for(state="detached")
    return part


def go(page: Any, machine: Machine, tab: str) -> Any:
    """To a tab; its first part."""
    page.goto(address(machine, tab))
    return shown(page, TABS[tab])


def picture(page: Any, name: str, *, whole: bool = False) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES, f"{name}.png"), full_page=whole)
