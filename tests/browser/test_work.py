"""Work from the page: a model served and talked with, jobs with their files, money, the ledger."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Complaints
from tests.browser.pages import go, link, picture, shown
from tests.mesh.conftest import Machine
from tests.support.scripted_gguf import write_scripted_gguf

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
PREDICTED = """async () => {
  const { predicted } = await import('./tabs/job.js');
  const waits = (p50, p90) => ({ standing: { start_p50_ms: p50, start_p90_ms: p90 } });
  const rows = [waits(120000, 300000), waits(120000, null), waits(null, null), { started_ms: 1 }];
  return rows.map(predicted);
}"""
# What the model says whatever it is asked, a token each.
SAYS = ("It runs ", "on your own ", "machine; ", "<img src=x onerror=alert(1)> ", "is text.")
SERVED_MS = 60_000  # a model is loaded by a program that starts first


def test_a_model_is_served_and_talked_with_from_the_page(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints, tmp_path: Path
) -> None:
    ana, _ = pair
    page = open_page(link(ana))
    go(page, ana, "serve")
    form = shown(page, "Serve a model")
    model = write_scripted_gguf(tmp_path / "talker.gguf", SAYS)
    form.get_by_label("model").fill(str(model))
    form.get_by_label("context").select_option("2048")
    form.get_by_role("button", name="Serve it").click()
    form.get_by_text("comes up when it is asked").wait_for(timeout=SERVED_MS)
    chat = shown(page, "Chat")
    chat.get_by_label("Say something").fill("hello <b>there</b>")
    chat.get_by_role("button", name="Send").click()
    chat.locator("li.user").get_by_text("hello <b>there</b>", exact=True).wait_for()
    answer = chat.locator("li.assistant div").get_by_text("".join(SAYS), exact=True)
    answer.wait_for(timeout=SERVED_MS)
    shown(page, "Servers").get_by_role("row").filter(has_text="ready").wait_for()
    picture(page, "chat", whole=True)
    chat.get_by_role("button", name="New talk").click(timeout=SERVED_MS)
    assert chat.locator("li.user").count() == 0
    kept = shown(page, "Models kept up").get_by_role("row").filter(has_text="talker")
    kept.get_by_role("button", name="End").click()
    kept.wait_for(state="detached")
    assert complaints == []
    for row in ana.get("/v1/jobs")["jobs"]:
        if row["status"] == "running":
            ana.post(f"/v1/jobs/{row['job_id']}/cancel")


def test_a_model_that_fits_nowhere_is_not_kept_up(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    page = open_page(link(pair[0]))
    go(page, pair[0], "serve")
    form = shown(page, "Serve a model")
    form.get_by_label("model").fill("no-such-model")
    form.get_by_role("button", name="Serve it").click()
    form.get_by_role("status").get_by_text("no-such-model").wait_for()
    assert pair[0].get("/v1/services")["services"] == []


@pytest.mark.parametrize("where", ["ana", "ben"])
def test_a_jobs_steps_and_files_are_there_and_a_file_is_saved(
    where: str,
    pair: tuple[Machine, Machine],
    open_page: Open,
    complaints: Complaints,
    tmp_path: Path,
) -> None:
    ana, _ = pair
    (tmp_path / "in.txt").write_text("given")
    name = "<img src=x onerror=alert(1)>.txt"
    command = ["sh", "-c", f"cat in.txt > '{name}'"]
    label = f"makes files at {where}"
    ana.post("/v1/jobs", command=command, workdir=str(tmp_path), label=label, on=where)
    page = open_page(link(ana))
    go(page, ana, "jobs")
    row = shown(page, "Ended").get_by_role("row").filter(has_text=label)
    row.get_by_role("button", name="Details").click()
    steps = page.get_by_role("region", name=re.compile("^Timeline of "))
    for step in ("submitted", "sent to a device", "started", "succeeded"):
        steps.get_by_text(step, exact=True).wait_for()
    files = page.get_by_role("region", name=re.compile("^Files of "))
    made = files.get_by_role("row").filter(has_text=name)
    picture(page, "job", whole=True)
    with page.expect_download() as saving:
        made.get_by_role("button", name="Save").click()
    assert Path(saving.value.path()).read_text() == "given"
    assert complaints == []


def test_a_job_that_waits_says_for_what_and_whether_its_start_is_known(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    ana, _ = pair
    mine = next(row["name"] for row in ana.get("/v1/devices")["devices"] if row["peer"] == "ana")
    sleeps = {"command": ["sleep", "600"], "on": mine}
    jobs = [ana.post("/v1/jobs", label=label, **sleeps)["job_id"] for label in ("holds", "waits")]
    page = open_page(link(ana))
    go(page, ana, "jobs")
    row = shown(page, "Running and waiting").get_by_role("row").filter(has_text="waits")
    row.get_by_text(f"{jobs[0]} runs on").wait_for()
    row.get_by_text("when it starts is not known").wait_for()  # nobody knows how long a sleep takes
    assert page.evaluate(PREDICTED) == [
        "should start in 2 min, nine of ten times within 5 min; predicted",
        "should start in 2 min; predicted",
        "when it starts is not known",
        "",
    ]
    shown(page, "When they ran").get_by_role("img").wait_for()
    picture(page, "waiting", whole=True)
    for job_id in reversed(jobs):
        ana.post(f"/v1/jobs/{job_id}/cancel")
    page.get_by_text("No job runs or waits").wait_for()


def test_what_was_spent_is_told_by_job_key_and_model_beside_what_things_cost(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    page = open_page(link(pair[0]))
    go(page, pair[0], "cost")
    for key in ("owned, used", "cloud, used", "idle", "not watched"):
        shown(page, "By day").get_by_role("figure").get_by_text(key, exact=True).wait_for()
    for by in ("job", "key", "model"):
        page.get_by_label("add up by").select_option(by)
        part = shown(page, f"By {by}")
        part.get_by_text("(idle)").wait_for()
    shown(page, "Budgets").get_by_text("$0 held of $50.00").wait_for()
    shown(page, "Prices").get_by_text("$1600.00 over 60 months").wait_for()
    shown(page, "Price history").get_by_text("1600 USD, 60 months").wait_for()


def test_a_plan_shows_memory_by_term_and_layer_and_obeys_its_limits(
    pair: tuple[Machine, Machine], open_page: Open, complaints: Complaints
) -> None:
    page = open_page(link(pair[0]))
    part = go(page, pair[0], "plan")
    part.get_by_text("per million written").wait_for()
    part.locator(".memory").first.get_by_text("weights").wait_for()
    part.get_by_text("Memory by layer").click()
    part.get_by_role("img", name="Memory of each of 32 layers").wait_for()
    picture(page, "layers", whole=True)
    question = page.get_by_role("region", name="Question")
    question.get_by_text("Limits").click()
    question.get_by_label("at least").press("End")
    part.get_by_text("It fits on no device as asked").wait_for()
    assert complaints == []


def test_the_ledger_is_verified_and_exported_from_the_page(
    pair: tuple[Machine, Machine], open_page: Open
) -> None:
    ana, _ = pair
    page = open_page(link(ana))
    go(page, ana, "ledger")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Export").click()
    lines = Path(saving.value.path()).read_text().splitlines()
    assert len(lines) == len(set(lines)) >= 10
    assert all('"sig":' in line for line in lines)
    assert not list(ana.home.glob(".export-*"))
