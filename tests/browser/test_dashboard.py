"""The dashboard as a person has it: a real Chromium, real daemons, two machines."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.browser.conftest import Complaints
from tests.mesh.conftest import Machine, make, up_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
TABS = {
    "fleet": "Devices",
    "plan": "Where it fits",
    "serve": "The address",
    "jobs": "Ended",
    "cost": "By day",
    "ledger": "Events",
}
NASTY = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
WIDTHS = (1280, 768, 360)
# A browser's connections to one place: as many pages must not lock the next one out.
CONNECTIONS = 6
PICTURES = os.environ.get("FLEET_PICTURES")  # a folder for pictures of every tab, to look at


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """Ana and Ben, linked; Ana has a job that failed, one that runs, and text that is markup."""
    maker = make(tmp_path_factory.mktemp("fleet"))
    ana, ben = up_all(next(maker), "ana ben")
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ana linked with ben")
    ana.note(NASTY)
    ana.ok("devices", "add", "attic", "--gpu", "RTX 4090", "--rate", "0.45/h")
    ana.run(
        "run", "--label", NASTY, "--", "sh", "-c", f"echo '{NASTY.replace(chr(39), '')}'; exit 3"
    )
    yield ana, ben
    next(maker, None)


def link(machine: Machine) -> str:
    return str(json.loads(machine.ok("dashboard", "-o", "json"))["url"])


def address(machine: Machine, tab: str = "fleet") -> str:
    return f"{machine.daemon.url}/dashboard/#{tab}"


def shown(page: Any, title: str) -> Any:
    """A part of a tab, once its answer is there."""
    part = page.get_by_role("region", name=title, exact=True)
    part.wait_for()
    part.get_by_text("asking…").wait_for(state="detached")
    return part


def test_every_tab_loads_at_every_width_in_light_and_dark(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints
) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices")
    assert "code" not in page.url
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            for tab, title in TABS.items():
                page.goto(address(pair[0], tab))
                shown(page, title)
                beyond = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, f"{tab} is {beyond} px wider than {width}"
                _picture(page, f"{tab}-{width}-{scheme}")
    assert page.title() == "Fleet Ledger"
    assert complaints == []


def _picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES, f"{name}.png"))


def test_a_link_works_once_and_the_door_says_so(
    pair: tuple[Machine, Machine], browser: Any, open_page: Open
) -> None:
    spent = link(pair[0])
    shown(open_page(spent), "Devices")
    stranger = browser.new_context().new_page()
    stranger.goto(spent)
    stranger.get_by_role("alert").get_by_text("used already").wait_for()
    stranger.context.close()


SHOWN = """async () => {
  const { age, band, bytes, count, money, percent, since, watts } = await import('./show.js');
  return [
    bytes(null), bytes(0), bytes(25769803776),
    money(null), money(0), money(12), money(-2500000), money(12345678901),
    percent(undefined), percent(0), watts(null),
    age(null), age(1999), age(5600), age(3 * 86400000),
    band(null), band({ p10: 94.41, p50: 118.9, p90: 1480.2 }),
    since(0), since(NaN), count(null),
  ];
}"""


def test_what_is_unknown_is_never_shown_as_nothing(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    unknown = "unknown"
    assert open_page(address(pair[0])).evaluate(SHOWN) == [
        *(unknown, "0 B", "24.0 GiB"),
        *(unknown, "$0", "$0.000000012", "-$0.0025", "$12.35"),
        *(unknown, "0 %", unknown),
        *("age unknown", "now", "5 s ago", "3 d ago"),
        *(unknown, "119 (94.4 – 1,480)"),
        *("age unknown", "age unknown", unknown),
    ]


def test_who_signs_out_sees_the_door_and_nothing_else(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_text("not signed in").wait_for()
    page.reload()
    page.get_by_text("not signed in").wait_for()


def test_markup_in_the_ledger_is_text(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints
) -> None:
    page = open_page(link(pair[0]))
    for tab, title in (("ledger", "Events"), ("jobs", "Ended")):
        page.goto(address(pair[0], tab))
        assert NASTY[:60] in shown(page, title).inner_text()
    shown(page, "Ended").get_by_role("button", name="Output").first.click()
    page.locator("pre.log").get_by_text("<script>").wait_for()
    assert page.title() == "Fleet Ledger"
    assert complaints == []


def test_a_job_appears_runs_and_is_cancelled_without_a_reload(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    ana, _ = pair
    page = open_page(link(ana))
    page.goto(address(ana, "jobs"))
    shown(page, "Running and waiting")
    ana.ok("run", "--detach", "--label", "longest", "--", "sh", "-c", "echo begun; sleep 600")
    row = page.get_by_role("row").filter(has_text="longest")
    row.get_by_text("running").wait_for()
    row.get_by_role("button", name="Output").click()
    page.locator("pre.log").get_by_text("begun").wait_for()
    row.get_by_role("button", name="Cancel").click()
    row.get_by_text("cancelled", exact=True).wait_for()


def test_the_plan_follows_the_sliders_and_the_newest_wins(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints
) -> None:
    page = open_page(link(pair[0]))
    page.goto(address(pair[0], "plan"))
    part = shown(page, "Where it fits")
    part.get_by_text("context 8192, batch 1.").wait_for()
    context, batch = page.get_by_label("context"), page.get_by_label("batch")
    for _ in range(4):
        context.press("ArrowRight")
    for _ in range(7):
        batch.press("ArrowRight")
    part.get_by_text("Why not elsewhere").wait_for()
    part.get_by_text("missing").first.wait_for()
    context.press("Home")
    batch.press("Home")
    part.get_by_text("context 1024, batch 1.").wait_for()
    page.get_by_label("model").fill("no-such-model")
    part.get_by_role("status").wait_for()
    assert part.get_by_role("row").count() == 0
    assert all("404" in one or "400" in one for one in complaints), complaints


def test_a_verify_says_what_it_checked(pair: tuple[Machine, Machine], open_page: Open) -> None:
    page = open_page(link(pair[0]))
    page.goto(address(pair[0], "ledger"))
    page.get_by_role("button", name="Verify").click()
    page.get_by_text("events are as they were signed").wait_for()


def test_as_many_pages_as_a_browser_has_connections_and_more_all_load(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    pages = [open_page(link(pair[0]))]
    shown(pages[0], "Devices")
    pages += [open_page(address(pair[0])) for _ in range(CONNECTIONS + 1)]
    for page in pages:
        live = shown(page, "Devices").get_by_text("measured").first
        live.wait_for()  # the live picture, though one page alone holds the stream


def test_a_hidden_page_holds_no_stream_and_a_shown_one_does_again(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices").get_by_text("measured").first.wait_for()
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable:"
    hide += " true}); document.dispatchEvent(new Event('visibilitychange')); }"
    with page.expect_event("requestfailed", lambda one: "/v1/telemetry" in one.url):
        page.evaluate(hide, arg=True)
    with page.expect_request(lambda one: "/v1/telemetry" in one.url):
        page.evaluate(hide, arg=False)


def test_the_keyboard_goes_from_tab_to_tab(pair: tuple[Machine, Machine], open_page: Open) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    shown(page, "Where it fits")
    current = page.get_by_role("link", name="Plan")
    assert current.get_attribute("aria-current") == "page"


def test_a_peer_that_is_silent_delays_nothing_and_is_shown_as_silent(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    ana, ben = pair
    frozen = psutil.Process(ben.pid)
    frozen.suspend()
    try:
        page = open_page(link(ana))
        for tab, title in TABS.items():
            page.goto(address(ana, tab))
            shown(page, title)
        page.goto(address(ana))
        shown(page, "Devices").get_by_text("silent").first.wait_for(timeout=60_000)
        _picture(page, "silent")
    finally:
        frozen.resume()


def test_a_daemon_that_is_gone_leaves_what_was_seen_and_a_banner(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    ana, _ = pair
    page = open_page(link(ana))
    before = shown(page, "Devices").get_by_role("listitem").count()
    ana.stop(signal.SIGTERM)
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    old = re.compile(r"read \d+ s ago, measured")
    page.get_by_role("region", name="Devices").get_by_text(old).first.wait_for()
    _picture(page, "gone")
    assert page.get_by_role("region", name="Devices").get_by_role("listitem").count() == before
