"""What pages share: one live stream, connections, and no more rows than are looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.pages import address, go, link, shown
from tests.mesh.conftest import Machine

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
Pair = tuple[Machine, Machine]
LIVE = "/v1/dashboard/live"
WINDOW, PAGE = 200, 50  # as tabs/ledger.js has them
BEST = 10  # as tabs/plan.js has it
HEARD_MS = 10_000  # a page looks by itself after 15 s: what it shows before that it was told
# As a hand moves: `a` is on its way, `b` is overtaken, `slow` is given up for `d`, `e` for nothing.
NEWEST = """async () => {
  const { newest } = await import('./api.js');
  const [asked, said] = [[], []];
  let arrive = null;
  const ask = (question, signal) => new Promise((resolve, reject) => {
    asked.push(question);
    signal.addEventListener('abort', () => reject(new Error(`${question} was given up`)));
    arrive = async () => (resolve(question), await new Promise((wake) => setTimeout(wake)));
  });
  const take = newest(ask, (value) => said.push(value), (error) => said.push(error.message));
  take('a'), take('b'), take('c');
  await arrive();
  await arrive();
  take('slow', { slow: true }), take('d');
  await new Promise((wake) => setTimeout(wake));
  await arrive();
  take('e'), take(null);
  await arrive();
  return [asked, said];
}"""
JOINED = """async () => {
  const { joined } = await import('./tabs/ledger.js');
  const rows = (...cursors) => cursors.map((cursor) => ({ cursor }));
  const found = [[rows(9, 8), rows(8, 7, 6)], [rows(9, 8), rows(6, 5)], [[], rows(2)]];
  return found.map(([newer, older]) => joined(newer, older).map((row) => row.cursor));
}"""


def test_pages_share_one_stream_and_another_takes_over_from_one_that_closes(
    pair: Pair, open_page: Open
) -> None:
    first = open_page(link(pair[0]))
    shown(first, "Devices").get_by_text("measured").first.wait_for()
    asked: list[str] = []
    first.context.on("request", lambda one: asked.append(one.url))
    others = [open_page(address(pair[0])) for _ in range(2)]
    for page in others:
        shown(page, "Devices").get_by_text("measured").first.wait_for()
    assert not [url for url in asked if LIVE in url]
    with first.context.expect_event("request", lambda one: LIVE in one.url):
        first.close()


def test_a_question_that_was_overtaken_is_not_asked_and_a_slow_one_given_up(
    pair: Pair, open_page: Open
) -> None:
    asked, said = open_page(address(pair[0])).evaluate(NEWEST)
    assert asked == ["a", "c", "slow", "d", "e"]
    assert said == ["a", "c", "d"]


def test_while_a_slider_moves_nothing_is_planned_that_takes_long(
    pair: Pair, open_page: Open
) -> None:
    page = open_page(link(pair[0]))
    with page.expect_request(lambda one: (one.post_data_json or {}).get("sets") is True):
        go(page, pair[0], "plan")  # whose first question settles as any other
    asked: list[Any] = []

    def note(request: Any) -> None:
        if request.url.endswith("/v1/plan"):
            asked.append(request.post_data_json)

    page.on("request", note)
    with page.expect_request(lambda one: (one.post_data_json or {}).get("sets") is True):
        page.get_by_label("context").press("ArrowRight")
    assert [(one["sets"], one["ways_out"]) for one in asked] == [(False, False), (True, True)]


def test_the_best_places_are_drawn_and_the_others_where_somebody_asks(
    six: dict[str, Machine], open_page: Open
) -> None:
    eve = six["eve"]
    for number in range(BEST + 1):
        eve.post("/v1/devices", name=f"many-{number}", gpu="RTX 4090", rate="0.45/h")
    page = open_page(link(eve))
    part = go(page, eve, "plan")
    rows = part.get_by_role("table", name="Devices it fits on").get_by_role("row")
    rows.nth(BEST).wait_for()
    assert rows.count() == 1 + BEST  # its headings are a row
    part.get_by_role("button", name=re.compile("^[0-9]+ more$")).first.click()
    rows.nth(BEST + 1).wait_for()


def test_no_more_events_are_on_the_page_than_its_window_and_the_newest_come_back(
    six: dict[str, Machine], open_page: Open
) -> None:
    ana = six["eve"]
    for number in range(WINDOW + PAGE):
        ana.note(f"one of many {number}.")
    page = open_page(link(ana))
    part = go(page, ana, "ledger")
    rows, newest = part.locator("ol.events > li"), f"one of many {WINDOW + PAGE - 1}."
    part.get_by_text(newest).wait_for()
    for pages in range(1, WINDOW // PAGE):
        part.get_by_role("button", name="Older").click()
        rows.nth(PAGE * (pages + 1) - 1).wait_for()
    part.get_by_role("button", name="Older").click()
    part.get_by_role("button", name="Newest").wait_for()
    assert rows.count() == WINDOW
    assert part.get_by_text(newest).count() == 0
    part.get_by_role("button", name="Newest").click()
    part.get_by_text(newest).wait_for()
    assert page.evaluate(JOINED) == [[9, 8, 7, 6], [9, 8], [2]]


def test_outputs_on_many_pages_leave_connections_for_the_rest(pair: Pair, open_page: Open) -> None:
    ana, _ = pair
    job = ana.post("/v1/jobs", command=["sh", "-c", "echo begun; sleep 600"], label="on all pages")
    pages = [open_page(link(ana))]
    shown(pages[0], "Devices")
    pages += [open_page(address(ana, "jobs")) for _ in range(7)]
    for page in pages:
        go(page, ana, "jobs")
        row = page.get_by_role("row").filter(has_text="on all pages")
        row.get_by_role("button", name="Details").click()
        page.get_by_role("region", name=re.compile("^Files of ")).wait_for()
    for page in pages:
        go(page, ana, "ledger")
        go(page, ana, "jobs")
    ana.post(f"/v1/jobs/{job['job_id']}/cancel")
    ended = pages[-1].get_by_role("row").filter(has_text="on all pages")
    ended.get_by_text("cancelled", exact=True).wait_for(timeout=HEARD_MS)
