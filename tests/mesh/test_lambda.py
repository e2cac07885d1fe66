"""Lambda Cloud for real: its stand-in's machines are virtual ones with an address and an sshd of
their own, entered as ubuntu; the daemon, the command line, OpenSSH and llama.cpp are real."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers.lambdalabs.listing import LOGIN
from providers.rental.labels import label_of
from tests.emulators.hosting import Hosting, wheel_of
from tests.emulators.virtual import NoMachines, VirtualMachine
from tests.mesh.conftest import Machine, Maker
from tests.mesh.renting import Hours, all_ended, cloud, rental_of, with_account
from tests.mesh.test_clouds_page import PAGE
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

SHORT = ("--context", 256, "--tokens", 8)
NAME = "lambdalabs"
RENT = ("rent", "--gpu", "20GB..", "-y")
# pip finds wheels where its machine's settings say.
INSTALL = "python3 -m venv ~/venv && ~/venv/bin/pip install xllamacpp"


@pytest.fixture(scope="module", autouse=True)
def there_are_machines(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("virtual")
    one = VirtualMachine(folder / "one", login="", user_data="", packages=folder)
    try:
        one.start()
    except NoMachines as error:
        pytest.skip(f"no virtual machines here: {error}")
    finally:
        one.stop()


@pytest.fixture
def lam(tmp_path: Path) -> Iterator[Hosting]:
    with cloud(tmp_path, NAME) as hosting:
        yield hosting


def virtual(hosting: Hosting) -> VirtualMachine:
    """Its only machine."""
    (one,) = hosting.virtual.values()
    return one


def known(one: Machine, request_id: str) -> bool:
    row = rental_of(one, request_id)
    return row is not None and row["instance"] is not None


def over(one: Machine, request_id: str) -> str:
    """Why its first machine was returned; "" while it was not."""
    rows = one.get("/v1/rentals?ended=1")["rentals"]
    mine = [row for row in rows if row["request_id"] == request_id]
    first = min(mine, key=lambda row: row["made_ms"], default=None)
    return str(first["why"]) if first and first["state"].startswith("terminating") else ""


def test_a_virtual_machine_is_priced_rented_used_billed_and_returned(
    machines: Maker, lam: Hosting, tmp_path: Path
) -> None:
    wheel_of("xllamacpp", lam.packages)
    ana = with_account(machines, "ana", NAME, lam)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    offers = json.loads(ana.ok("offers", "--provider", NAME, "--gpu", "20GB..", "-o", "json"))
    least = offers["offers"][0]["hourly_nusd"]
    assert NAME in ana.ok("plan", model, *SHORT, "--cloud", "-o", "json")
    # What it has no engine for is not rented for.
    no = ana.run("run", "--rent", "20GB..", "--max-price", "2", model, "--prompt", "hello")
    assert "no engine" in no.err
    assert "--setup COMMAND" in no.err
    assert lam.server.counted["create"] == 0

    assert f"| `{INSTALL}` |" in PAGE
    rented = ana.run(*RENT, "--for", "1h", "--setup", INSTALL, "-o", "json")
    assert rented.code == 0, rented.err
    assert "can't end themselves" in rented.err
    row = json.loads(rented.out)
    (one,) = lam.ours()
    assert (row["instance"], row["label"], row["provider"]) == (one.id, one.label, NAME)
    assert row["quote_nusd"] == row["price_nusd"] == least == one.price_at(lam.server.now())
    (host,) = ana.get("/v1/ssh")["hosts"]
    assert host["destination"] == f"{LOGIN}@{virtual(lam).address}"
    check_nobody_else_gets_in(ana, lam, row)

    # It is ready once the engine is there, which its setup installed.
    assert virtual(lam).run("ls", f"/home/{LOGIN}/venv/bin/pip").returncode == 0
    job = ana.ok("run", model, *SHORT, "--prompt", "hello", "--on", row["host"], "-d").strip()
    assert "llama" in ana.ok("logs", "-f", job), "its engine's log comes home as it is written"
    assert ana.get(f"/v1/jobs/{job}")["status"] == "succeeded"
    assert ana.ok("logs", "--answer", job).strip()

    (bill,) = json.loads(ana.ok("rentals", row["request_id"], "-o", "json"))
    assert 0 < bill["cost_nusd"] <= bill["reserved_nusd"]
    assert bill["billed_step_ms"] == 60_000
    ana.ok("return", row["request_id"])
    wait_until(lambda: all_ended(lam), "the machine to be returned")
    wait_until(lambda: ana.get("/v1/ssh")["hosts"] == [], "its host to be forgotten")
    assert lam.server.counted["create"] == 1
    key = lam.emulator.key.encode()
    files = [path for path in ana.home.rglob("*") if path.is_file()]
    assert [path for path in files if key in path.read_bytes()] == []
    report = json.loads(ana.ok("cost", "--by", "device", "-o", "json"))
    whole = {each["device"]: each for each in report["groups"]}[row["host"]]
    assert 0 < whole["total_cost_nusd"] < whole["total_nusd"] <= bill["reserved_nusd"]


def check_nobody_else_gets_in(ana: Machine, lam: Hosting, row: dict[str, Any]) -> None:
    """Its own user alone, by the key of this rental alone; and no key of the account is there."""
    one, login = virtual(lam), ana.home / "rentals" / row["rental_id"] / "login"
    ssh = ["ssh", "-F", "none", "-i", str(login), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    for user, code in ((LOGIN, 0), ("root", 255)):
        asked = [*ssh, f"{user}@{one.address}", "true"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
    assert "Permission denied (publickey)" in done.stderr, "no password is asked for"
    assert one.booted
    secrets = (lam.emulator.key, login.read_text().splitlines()[-2])
    for secret in secrets:
        found = one.run("grep", "-rlsF", secret, "/etc", "/home", "/root", "/tmp", "/run", "/var")
        assert found.stdout == ""
        said = one.run("sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline")
        assert secret not in said.stdout


def test_a_machine_is_rented_for_a_model_made_ready_used_and_returned(
    machines: Maker, lam: Hosting, tmp_path: Path
) -> None:
    wheel_of("xllamacpp", lam.packages)
    ana = with_account(machines, "ana", NAME, lam)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    words = ("run", "--rent", "20GB..", "--max-price", "2", "--setup", INSTALL)
    done = ana.run(*words, model, *SHORT, "--prompt", "hello")
    assert done.code == 0, done.err
    assert done.out.strip()
    wait_until(lambda: all_ended(lam), "the machine to be returned")
    assert lam.server.counted["create"] == 1


def test_a_setup_that_fails_ends_the_request_and_no_other_machine_is_rented(
    machines: Maker, lam: Hosting
) -> None:
    ana = with_account(machines, "ana", NAME, lam)
    done = ana.run(*RENT, "--for", "1h", "--setup", "printf 'no %s' wheel >&2; exit 3")
    assert done.code != 0
    assert "fleet logs --daemon says how" in done.err
    assert "setup of lambda-" in ana.ok("logs", "--daemon")
    assert "no wheel" in ana.ok("logs", "--daemon")
    wait_until(lambda: all_ended(lam), "the machine to be returned")
    assert lam.server.counted["create"] == 1
    assert "no wheel" not in ana.ok("events", "-n", 200, "-o", "json")


def test_a_lost_reply_to_a_launch_makes_no_second_machine_and_the_first_is_entered(
    machines: Maker, lam: Hosting
) -> None:
    ana = with_account(machines, "ana", NAME, lam)
    lam.server.faults.append(("create", "lost_reply"))
    request_id = ana.ok(*RENT, "--for", "1h", "-d").strip()
    wait_until(lambda: lam.ours(), "the provider to make it")
    ana.stop(signal.SIGKILL)
    ana.up()
    row = wait_until(
        lambda: (one := rental_of(ana, request_id)) and one["state"] == "ready" and one,
        "the machine to be adopted and entered",
        120,
    )
    (one,) = lam.ours()
    assert (row["instance"], row["label"]) == (one.id, one.label)
    assert (lam.server.counted["create"], len(lam.virtual)) == (1, 1)
    assert ana.ok("run", "--on", row["host"], "--", "id", "-un") == f"{LOGIN}\n"
    check_an_orphan_is_seen_and_ended(ana, lam)
    assert one.ended is None
    ana.ok("return", request_id)
    wait_until(lambda: all_ended(lam), "its return")
    assert lam.virtual == {}


def check_an_orphan_is_seen_and_ended(ana: Machine, lam: Hosting) -> None:
    (ours,) = lam.ours()
    now, fleet = lam.server.now(), ours.label.split("-")[1]
    label = label_of(fleet, "lostx1x1xabcdefgh", now + 3_600_000)
    lost = lam.do(lambda: lam.emulator.machines.make(label, now, price=10**9, storage=0))

    def seen() -> list[str]:
        return [one["instance"] for one in json.loads(ana.ok("orphans", "-o", "json"))["orphans"]]

    wait_until(lambda: seen() == [lost.id], "the orphan, and nothing that is wanted", 60)
    assert "asked to end" in ana.ok("orphans", "--kill", "-y")
    wait_until(lambda: lost.ended is not None, "the orphan's end", 60)


@pytest.mark.slow
def test_a_machine_that_never_boots_is_returned_for_that_and_another_offer_taken(
    machines: Maker, lam: Hosting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.emulators.lambdalabs.HANGS", ("image",))
    time = Hours(machines("ana"), lam, tmp_path / "later")
    ana = with_account(machines, "ana", NAME, lam)
    lam.server.faults.append(("create", "hang"))
    request_id = ana.ok(*RENT, "--for", "6h", "--cap", "50", "-d").strip()
    wait_until(lambda: lam.ours() and known(ana, request_id), "its machine to be made", 60)
    time.go(hours=1)
    why = wait_until(lambda: over(ana, request_id), "its return", 120)
    assert why == "budget_image"
    row = wait_until(
        lambda: (one := rental_of(ana, request_id)) and one["state"] == "ready" and one,
        "another to be up",
        180,
    )
    first, second = lam.ours()
    assert (first.ended is None, row["instance"]) == (False, second.id)
    assert (first.extra["region"], second.extra["region"]) == ("us-east-1", "us-west-1")
    ana.ok("return", request_id)
    wait_until(lambda: all_ended(lam), "its return")


@pytest.mark.slow
def test_a_machine_that_shows_another_host_key_is_not_entered_and_a_person_is_told(
    machines: Maker, lam: Hosting, tmp_path: Path
) -> None:
    lam.spoil = lambda user_data: "#!/bin/sh\n"  # it keeps the key of its own
    time = Hours(machines("ana"), lam, tmp_path / "later")
    ana = with_account(machines, "ana", NAME, lam)
    request_id = ana.ok(*RENT, "--for", "6h", "--cap", "50", "-d").strip()
    status = lambda: [one["status"] for one in ana.get("/v1/ssh")["hosts"]]  # noqa: E731
    wait_until(lambda: status() == ["key_changed"], "its key to be refused", 120)
    one = virtual(lam)
    time.go(hours=1)
    wait_until(lambda: over(ana, request_id) == "host_key", "its return", 120)
    assert "host_key" in [alarm["why"] for alarm in ana.get("/v1/rentals")["alarms"]]
    assert "it showed another host key" in ana.ok("rentals", "-a")
    assert one.run("ls", "-A", f"/home/{LOGIN}").stdout.split() == [
        ".bash_logout", ".bashrc", ".profile", ".ssh",
    ]  # fmt: skip
    ana.ok("return", request_id)
    wait_until(lambda: all_ended(lam), "its return", 120)
