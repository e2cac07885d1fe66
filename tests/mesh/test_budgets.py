"""Budgets with real daemons: money is granted, held, refused with what is missing, and settled."""

import getpass
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.api.errors import RequestError
from tests.emulators.hosting import Hosting
from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.renting import all_ended, cloud, rental_of, with_account
from tests.support.waiting import wait_until

ROOT_ONLY = pytest.mark.skipif(
    getpass.getuser() != "root", reason="the clouds' machines are entered as root"
)
RENT = {"gpu": "20GB..", "life": "1h", "idle": "0"}


@pytest.fixture
def vast(tmp_path: Path) -> Iterator[Hosting]:
    with cloud(tmp_path, "vastai") as hosting:
        yield hosting


def row(one: Machine, name: str = "fleet per month") -> dict[str, Any]:
    rows = {found["name"]: found for found in one.get("/v1/budgets")["budgets"]}
    return dict(rows.get(name, {}))


def waits_for(one: Machine, job_id: str) -> str:
    return str(one.get(f"/v1/jobs/{job_id}")["waiting"])


def status(one: Machine, job_id: str) -> str:
    return str(one.get(f"/v1/jobs/{job_id}")["status"])


def test_money_is_granted_between_peers_and_only_its_owner_sets_it(machines: Maker) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    wait_until(ana.sees("ben", "online"), "ben at ana")
    wait_until(ben.sees("ana", "online"), "ana at ben")
    ana.ok("budget", "set", "50", "--per", "month")
    wait_until(lambda: row(ben).get("cap_nusd") == 50 * 10**9, "the cap at ben")
    assert row(ben)["free_nusd"] == 0
    said = ana.ok("budget", "grant", "ben", "10", "--periods", "2")
    assert "ben may spend $10.00 of the budget fleet per month, each " in said
    wait_until(lambda: row(ben)["free_nusd"] == 10 * 10**9, "the grant at ben")
    wait_until(lambda: row(ana)["under_way_nusd"] == 0, "ben's receipt at ana")
    assert row(ana)["free_nusd"] == 40 * 10**9
    refused = ben.run("budget", "set", "70")
    assert refused.code == 106
    assert "need the role admin" in refused.err
    missing = ana.run("budget", "grant", "ben", "45")
    assert missing.code == 3
    assert "$5.00 are missing" in missing.err
    shown = json.loads(ana.ok("budget", "show", "-o", "json"))["budgets"]
    assert [one["owner"] for one in shown] == ["ana"]


def test_owned_work_stops_with_the_money_where_the_budget_says_so_then_goes_on(
    machines: Maker,
) -> None:
    (ana,) = up_all(machines, "ana")
    ana.ok("budget", "set", "0", "--owned", "stop")
    job = ana.ok("run", "-d", "--", "true").strip()
    wait_until(lambda: "is used up" in waits_for(ana, job), "the reason")
    assert "nothing starts on owned devices" in waits_for(ana, job)
    assert status(ana, job) == "pending"
    ana.ok("budget", "set", "0", "--owned", "cloud")
    wait_until(lambda: status(ana, job) == "succeeded", "the job to go on")


@ROOT_ONLY
def test_a_machine_is_refused_with_what_is_missing_then_held_for_through_a_kill_and_settled(
    machines: Maker, vast: Hosting
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    ana.ok("budget", "set", "0.01", "--provider", "vastai")
    name = "provider vastai per month"
    refused = ana.run("rent", "--gpu", "20GB..", "--for", "1h", "-y")
    assert refused.code == 3
    assert "the budget provider vastai per month has $0.0100 left" in refused.err
    assert "are missing" in refused.err
    assert ana.get("/v1/rentals")["requests"] == []
    with pytest.raises(RequestError, match="are missing"):
        ana.post("/v1/rentals", **RENT)
    ana.ok("budget", "set", "5", "--provider", "vastai")
    request = ana.post("/v1/rentals", **RENT)["request_id"]
    wait_until(
        lambda: (rental_of(ana, request) or {}).get("state") in ("ready", "running"), "the machine"
    )
    held = row(ana, name)["held_nusd"]
    assert held == rental_of(ana, request)["reserved_nusd"]
    assert row(ana, name)["open_holds"] == 1
    ana.stop(signal.SIGKILL)
    ana.up()
    wait_until(lambda: row(ana, name).get("held_nusd") == held, "what the killed process held")
    ana.ok("return", request)
    wait_until(lambda: all_ended(vast), "the machine to be returned")
    wait_until(lambda: row(ana, name)["open_holds"] == 0, "the hold to be settled", 240)
    done = row(ana, name)
    assert done["spent_nusd"] == rental_of(ana, request)["cost_nusd"] > 0
    assert done["held_nusd"] == 0
    assert vast.server.counted["create"] == 1
