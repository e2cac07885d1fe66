"""The dashboard as a person has it: a real Chromium, real daemons, two machines."""

import re
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from mesh.edge.store.ledger import Ledger
from tests.browser.conftest import Complaints
from tests.browser.pages import NASTY, TABS, address, link, picture, shown, typed_link
from tests.mesh.conftest import Machine
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
WIDTHS = (1280, 768, 360)
LIVE = "/v1/dashboard/live"
# A browser's connections to one place: as many pages must not lock the next one out.
CONNECTIONS = 6


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
                part = shown(page, title)
                if tab == "fleet":
                    part.get_by_text("health ok").first.wait_for()  # the live picture is there
                beyond = page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
                assert beyond <= 0, f"{tab} is {beyond} px wider than {width}"
                picture(page, f"{tab}-{width}-{scheme}", whole=True)
    assert page.title() == "Fleet Ledger"
    assert complaints == []


def test_a_link_works_once_and_the_door_says_so(
    pair: tuple[Machine, Machine], browser: Any, open_page: Open
) -> None:
    spent = typed_link(pair[0])
    shown(open_page(spent), "Devices")
    stranger = browser.new_context().new_page()
    stranger.goto(spent)
    stranger.get_by_role("alert").get_by_text("used already").wait_for()
    stranger.context.close()


SHOWN = """async () => {
  const { age, band, bytes, count, instant, money, percent, plain, since, watts } =
    await import('./show.js');
  return [
    bytes(null), bytes(0), bytes(25769803776),
    money(null), money(0), money(12), money(-2500000), money(12345678901), money(999900000),
    percent(undefined), percent(0), watts(null),
    age(null), age(1999), age(5600), age(3 * 86400000),
    band(null), band({ p10: 94.41, p50: 118.9, p90: 1480.2 }),
    since(0), since(NaN), count(null), count(1234567),
    instant(0), instant(NaN), instant(1e300), instant(1.7e12) === new Date(1.7e12).toLocaleString(),
    plain('\\u001b[1;31mred\\u001b[0m \\u001b]0;title\\u0007a\\u001b]0;no end\\n'
      + 'b\\r\\nc\\rd\\u202ee\\u0000'),
  ];
}"""


def test_what_is_unknown_is_never_nothing_and_text_is_text(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    unknown = "unknown"
    assert open_page(address(pair[0])).evaluate(SHOWN) == [
        *(unknown, "0 B", "24.0 GiB"),
        *(unknown, "$0", "$0.000000012", "-$0.0025", "$12.35", "$1"),
        *(unknown, "0 %", unknown),
        *("age unknown", "now", "5 s ago", "3 d ago"),
        *(unknown, "119 (94.4 – 1,480)"),
        *("age unknown", "age unknown", unknown, "1,234,567"),
        *(unknown, unknown, unknown, True),
        "red a\ufffd]0;no end\nb\nc\nd\ufffde\ufffd",
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


def test_markup_of_other_peers_is_text(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints
) -> None:
    ana, ben = pair
    device = _signed_by_a_liar(ben)
    wait_until(
        lambda: device in {one["device_id"] for one in ana.get("/v1/devices")["devices"]},
        "ana hears of the device",
    )
    page = open_page(link(ana))
    for tab, title in (
        ("ledger", "Events"),
        ("fleet", "Devices"),
        ("plan", "Where it fits"),
        ("cost", "Prices"),
        ("jobs", "Ended"),
    ):
        page.goto(address(ana, tab))
        shown(page, title).get_by_text("<img src=x").first.wait_for()
    ended = shown(page, "Ended").get_by_role("row").filter(has_text="<img")
    ended.get_by_role("button", name="Details").click()
    log = page.locator("pre.log")
    log.get_by_text("<script>").wait_for()
    assert log.inner_text().endswith("red")  # what turns a terminal red turns nothing here
    ben.post(f"/v1/devices/{device}/remove")
    assert page.title() == "Fleet Ledger"
    assert complaints == []


def _signed_by_a_liar(member: Machine) -> str:
    """A device whose name no daemon of ours takes: its member's own program signed it."""
    device = "dev-liar"
    honest = member.post("/v1/devices", name="honest", gpu="RTX 4090")
    said = honest["payload"]
    member.post(f"/v1/devices/{honest['device_id']}/remove")
    member.stop()
    with Ledger.open(member.home) as ledger:
        ledger.append("device_registered", device, {**said, "name": NASTY + "\033[31m\u202e"}, 0)
    member.up()
    return device


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
    row.get_by_role("button", name="Details").click()
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
    with page.expect_event("requestfailed", lambda one: LIVE in one.url):
        page.evaluate(hide, arg=True)
    with page.expect_request(lambda one: LIVE in one.url):
        page.evaluate(hide, arg=False)


def test_the_keyboard_goes_from_tab_to_tab(pair: tuple[Machine, Machine], open_page: Open) -> None:
    page = open_page(link(pair[0]))
    shown(page, "Devices")
    page.keyboard.press("Tab")
    for key, tab in (("ArrowRight", "Plan"), ("End", "Ledger"), ("ArrowRight", "Fleet")):
        page.keyboard.press(key)
        page.get_by_role("tab", name=tab, selected=True).wait_for()
        assert page.evaluate("() => document.activeElement.textContent") == tab
        page.get_by_role("tabpanel", name=tab).wait_for()
    assert page.get_by_role("tab", selected=True).count() == 1


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
        picture(page, "silent")
    finally:
        frozen.resume()


def test_a_page_without_a_live_picture_shows_what_was_said_and_its_age(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    page = open_page()
    page.route(f"**{LIVE}", lambda route: route.abort())
    page.goto(link(pair[0]))
    page.get_by_role("alert").get_by_text("what you see is from").wait_for()
    card = shown(page, "Devices").get_by_role("listitem").first
    card.get_by_text(re.compile(r"said (now|\d+ .*ago), ")).wait_for()
    card.get_by_text("health unknown: no live reading").wait_for()


def test_a_daemon_that_is_gone_leaves_what_was_seen_and_a_banner(
    six: dict[str, Machine], open_page: Open
) -> None:
    ana = six["fay"]
    page = open_page(link(ana))
    devices = shown(page, "Devices")
    measured = devices.get_by_text(re.compile(r"read .*, measured")).first
    measured.wait_for()  # the stream's first picture comes after the answer to the first question
    before = devices.get_by_role("listitem").count()
    ana.stop(signal.SIGTERM)
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    devices.get_by_text(re.compile(r"read \d+ s ago, measured")).first.wait_for()
    picture(page, "gone")
    assert devices.get_by_role("listitem").count() == before
