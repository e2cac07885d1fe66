"""Who belongs, from the page: a machine that asks is let in, an invite brings one in."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.edge.store.ledger import Ledger
from tests.browser.conftest import Complaints
from tests.browser.pages import go, link, picture, shown
from tests.mesh.conftest import Machine

pytestmark = pytest.mark.browser

Open = Callable[..., Any]
Six = dict[str, Machine]
ASKING = "Asking to be let in"
# As the page asks, without its buttons: its session with a power it has not.
TRIES = """async ([path, body]) => {
  const { post } = await import('./api.js');
  try { await post(path, body); return ''; } catch (error) { return error.code; }
}"""


def test_a_machine_that_asks_is_let_in_once_its_id_was_compared(
    pair: tuple[Machine, Machine], six: Six, open_page: Open, complaints: Complaints
) -> None:
    ana, _ = pair
    cid = six["cid"]
    place = f"127.0.0.1:{ana.get('/v1/doctor')['pairing_port']}"
    assert cid.post("/v1/join", code=place)["state"] == "pending"
    page = open_page(link(ana))
    asker = shown(page, ASKING).get_by_role("listitem").filter(has_text="cid")
    asker.get_by_text(cid.get("/v1/status")["peer_id"], exact=True).wait_for()
    let_in = asker.get_by_role("button", name="Let in cid")
    assert let_in.is_disabled()  # nobody looked at the id yet
    picture(page, "people", whole=True)
    asker.get_by_label("role").select_option("viewer")
    asker.get_by_label("same id").check()
    let_in.click()
    asker.wait_for(state="detached")
    row = shown(page, "Peers").get_by_role("row").filter(has_text="cid")
    row.get_by_text("viewer").wait_for()
    assert cid.post("/v1/join", code=place)["role"] == "viewer"
    row.get_by_text("online").wait_for()
    assert complaints == []
    _a_viewers_page_decides_nothing(cid, open_page)
    cid.stop()
    row.get_by_text("offline").wait_for()  # a lost peer is seen without a reload


def _a_viewers_page_decides_nothing(viewer: Machine, open_page: Open) -> None:
    page = open_page(link(viewer))
    shown(page, ASKING)
    page.get_by_text("Only an admin decides who belongs").wait_for()
    for path in ("/v1/invites", "/v1/peers/cid/accept", "/v1/services", "/v1/dashboard/chat"):
        assert page.evaluate(TRIES, [path, {}]) in ("WrongRole", "NotSynced"), path


def test_an_invite_brings_a_machine_in_whose_fork_and_removal_are_seen(
    pair: tuple[Machine, Machine], six: Six, open_page: Open, tmp_path: Path
) -> None:
    ana, _ = pair
    page = open_page(link(ana))
    form = shown(page, "Invite a machine")
    form.get_by_label("role").select_option("member")
    form.get_by_role("button", name="Make an invite").click()
    said = form.locator("code.address").inner_text()
    dee = six["dee"]
    assert (
        dee.post("/v1/join", code=said.removeprefix("fleet join "), name="dee")["role"] == "member"
    )
    shown(page, "Peers").get_by_role("row").filter(has_text="dee").get_by_text("member").wait_for()
    assert page.evaluate(TRIES, ["/v1/invites", {"role": "admin"}]) == "NotForPages"
    kept = _two_histories(dee, ana, tmp_path)
    go(page, ana, "ledger")
    row = shown(page, "Forks and removed peers").get_by_role("row").filter(has_text="dee")
    row.get_by_text("signed two histories").wait_for()
    ana.post("/v1/peers/dee/remove", keep=kept)
    row.get_by_text("was put out of the fleet").wait_for()


def _two_histories(forked: Machine, judge: Machine, folder: Path) -> str:
    """A member's home is copied and both go on; the judge hears of both, the second is the fork.
    The last event of the first."""
    forked.stop()
    copied = Path(shutil.copytree(forked.home, folder / "copied"))
    made = []
    for home in (forked.home, copied):
        with Ledger.open(home) as ledger:
            made.append(ledger.append("note_added", "", {"text": f"from {home.name}"}, 0).id)
            ledger.export(folder / f"{home.name}.jsonl")
        judge.run("import", folder / f"{home.name}.jsonl")
    return made[0]


def test_a_machine_without_a_fleet_founds_none_from_its_page(six: Six, open_page: Open) -> None:
    alone = six["eve"]
    page = open_page(link(alone))
    shown(page, "Invite a machine").get_by_text("recovery words").wait_for()
    assert page.evaluate(TRIES, ["/v1/invites", {}]) == "NotForPages"
    go(page, alone, "serve")
    tries = {"spec": {"model": "m", "env": {"A": "b"}}}
    assert page.evaluate(TRIES, ["/v1/services", tries]) == "NotForPages"
