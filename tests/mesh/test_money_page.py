"""docs/how-to/money.md as somebody types it: each of its commands, in its order."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mesh.conftest import ROOT, Machine, Maker, up_all
from tests.support.pages import typed as lines_to_type
from tests.support.waiting import wait_until

PAGE = (ROOT / "docs" / "how-to" / "money.md").read_text()
QUESTIONS = 10


def commands() -> list[str]:
    """Those of the fenced blocks, without their comments."""
    return [one.text for one in lines_to_type("docs/how-to/money.md")]


@pytest.fixture
def ana(machines: Maker) -> Machine:
    """A peer with a device on which something ran."""
    (one,) = up_all(machines, "ana")
    one.ok("run", "--", "true")
    return one


def device(ana: Machine) -> str:
    return str(ana.get("/v1/devices")["devices"][0]["device_id"])


def typed(ana: Machine, line: str, folder: Path) -> str:
    """What a command of the page says; its `rig` is this machine's device."""
    words = shlex.split(line)[1:]
    filled = {"rig": device(ana), "EVENT": str(ana.get("/v1/rates")["said"][0]["seq"])}
    done = subprocess.run(
        [sys.executable, "-m", "mesh", *(filled.get(word, word) for word in words)],
        env=ana.env,
        cwd=folder,
        input="y\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def test_ten_questions_are_answered(ana: Machine, tmp_path: Path) -> None:
    asked = commands()[:QUESTIONS]
    assert [line for line in PAGE.splitlines() if re.search(r"# 10\.", line)]
    ana.ok("rates", "set", device(ana), "--price", "1600", "--bought", "2026-01-15")
    said = {}
    for line in asked:
        if "rates" in line:
            continue
        said[line.split()[1], *line.split()[2:4]] = typed(ana, line, tmp_path)
    assert "2026" in said["cost", "--by", "month"]
    assert "█ used" in said["cost", "--by", "day"]
    assert device(ana) in said["cost", "--by", "device"]
    assert "ana" in said["cost", "--by", "user"]
    assert "true" in said["cost", "--by", "model"]
    assert {"used", "idle"} <= set(said["cost", "--by", "kind"].split())
    assert "BilledCost" in said["cost", "-o", "focus"]
    assert "$" in said["compare", "qwen3-8b", "--tokens-per-day"]


def test_every_command_of_the_page_runs_in_its_order(ana: Machine, tmp_path: Path) -> None:
    ana.ok("rates", "set", device(ana), "--watts", "65")
    for line in commands():
        typed(ana, line, tmp_path)
    (row,) = [one for one in ana.get("/v1/rates")["devices"] if one["device_id"] == device(ana)]
    assert (row["watts_mw"], row["idle_mw"], row["tariff"]) == (450_000, 20_000, "home")


def test_what_nobody_priced_is_unknown_until_somebody_says_what_it_cost(ana: Machine) -> None:
    def asked() -> dict[str, object]:
        found: dict[str, object] = json.loads(ana.ok("cost", "--by", "kind", "-o", "json"))
        return found

    before = asked()
    assert before["unknown_ms"] != 0
    assert device(ana) in ana.ok("rates", "-o", "json")
    words = ("--price", "1600", "--bought", "2026-01-01", "--watts", "65", "--idle-watts", "9")
    ana.ok("rates", "tariff", "home", "0.30", "--from", "2026-01-01")
    ana.ok("rates", "set", device(ana), *words, "--tariff", "home", "--from", "2026-01-01")
    wait_until(lambda: asked()["total_nusd"], "the bill with the price")
    after = asked()
    parts = [after[name] or 0 for name in ("total_cost_nusd", "idle_nusd", "unknown_nusd")]
    assert sum(parts) == after["total_nusd"]  # type: ignore[arg-type]
    assert after["total_cost_nusd"] > 0  # type: ignore[operator]
    groups = after["groups"]
    assert isinstance(groups, list)
    assert sum(one["total_nusd"] or 0 for one in groups) == after["total_nusd"]


def jobs_of(one: Machine) -> dict[str, object]:
    """What each job cost, as one peer has it."""
    groups = json.loads(one.ok("cost", "--by", "job", "-o", "json"))["groups"]
    return {row["job"]: row["total_cost_nusd"] for row in groups if row["jobs"]}


def test_every_peer_of_a_fleet_has_the_same_bill_and_each_tells_what_its_own_devices_cost(
    machines: Maker,
) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    for one in (ana, ben):
        words = ("--price", "1600", "--bought", "2026-01-01", "--watts", "65")
        one.ok("rates", "set", own_device(one), *words)
        one.ok("run", "--", "true")
    wait_until(lambda: len(jobs_of(ana)) == 2 and jobs_of(ana) == jobs_of(ben), "one bill")
    assert all(isinstance(cost, int) and cost > 0 for cost in jobs_of(ana).values())
    refused = ana.run("rates", "set", own_device(ben), "--price", "1", "--bought", "2026-01-01")
    assert refused.code != 0
    assert "its owner alone says what it costs" in refused.err
    users = json.loads(ben.ok("cost", "--by", "user", "-o", "json"))["groups"]
    assert {"ana", "ben"} <= {row["user"] for row in users}


def own_device(one: Machine) -> str:
    """The id of a peer's own processor."""
    rows = one.get("/v1/devices")["devices"]
    me = one.ok("id").split()[0]
    return next(row["device_id"] for row in rows if row["device_id"].startswith(prefix_of(me)))


def prefix_of(peer: str) -> str:
    return f"dev-{peer.replace('-', '')[:10].lower()}"
