"""A machine is priced, rented, used and returned: a stand-in of the cloud, a real sshd, real
llama.cpp, the real daemon and command line."""

import getpass
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mesh.edge.clouds.service import fleet_name
from providers.rental.contract import LLAMACPP_IMAGE
from providers.rental.labels import label_of
from tests.emulators.hosting import Hosting
from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.renting import (
    PROVIDERS,
    Hours,
    all_ended,
    cloud,
    give_key,
    listed,
    rental_of,
    with_account,
)
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.waiting import wait_until

ROOT_ONLY = pytest.mark.skipif(
    getpass.getuser() != "root", reason="the clouds' machines are entered as root"
)
SHORT = ("--context", 256, "--tokens", 8)
HOUR_MS = 3_600_000


@pytest.fixture
def vast(tmp_path: Path) -> Iterator[Hosting]:
    with cloud(tmp_path, "vastai") as hosting:
        yield hosting


@pytest.fixture
def runpod(tmp_path: Path) -> Iterator[Hosting]:
    with cloud(tmp_path, "runpod") as hosting:
        yield hosting


@ROOT_ONLY
def test_a_machine_is_rented_runs_a_model_and_is_returned(
    machines: Maker, vast: Hosting, tmp_path: Path
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    row = json.loads(ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-o", "json"))
    (machine,) = vast.ours()
    assert (row["instance"], row["label"]) == (machine.id, machine.label)
    assert row["price_nusd"] == machine.price_at(vast.server.now())
    (device,) = row["devices"]
    done = ana.run("run", model, *SHORT, "--prompt", "hello", "--on", device)
    assert done.code == 0, done.err
    assert done.out.strip()
    ana.ok("return", row["host"])
    wait_until(lambda: all_ended(vast), "the machine to be returned")


@ROOT_ONLY
def test_a_job_gets_a_machine_for_itself_with_an_engine_where_it_is_a_model(
    machines: Maker, vast: Hosting, tmp_path: Path
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    rent = ("run", "--rent", "20GB..", "--max-price", "1")
    done = ana.run(*rent, model, *SHORT, "--prompt", "hello")
    assert done.code == 0, done.err
    assert done.out.strip()
    # This image has no engine, and a command needs none.
    seen = ana.run(*rent, "--image", "me/mine:1", "--", "sh", "-c", "echo out")
    assert "say --max-price" not in seen.err
    assert (seen.code, seen.out) == (0, "out\n"), seen.err
    assert "is being returned" in seen.err
    wait_until(lambda: all_ended(vast), "both machines to be returned")
    assert ana.get("/v1/ssh")["hosts"] == []
    images = [one.extra["image"] for one in vast.ours()]
    assert images == [LLAMACPP_IMAGE, "me/mine:1"]
    assert vast.server.counted["create"] == 2


@ROOT_ONLY
def test_a_pod_is_priced_rented_used_billed_and_returned(
    machines: Maker, runpod: Hosting, tmp_path: Path
) -> None:
    ana = with_account(machines, "ana", "runpod", runpod)
    model = write_tiny_gguf(tmp_path / "tiny.gguf")
    offers = json.loads(ana.ok("offers", "--provider", "runpod", "--gpu", "20GB..", "-o", "json"))
    least = offers["offers"][0]["hourly_nusd"]
    assert "runpod" in ana.ok("plan", model, *SHORT, "--cloud", "-o", "json")
    row = json.loads(ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-o", "json"))
    (pod,) = runpod.ours()
    assert (row["instance"], row["label"], row["provider"]) == (pod.id, pod.label, "runpod")
    assert row["quote_nusd"] == least
    assert row["price_nusd"] == pod.price_at(runpod.server.now())
    asked = ("run", model, *SHORT, "--prompt", "hello", "--on", row["host"], "-d")
    job = ana.ok(*asked).strip()
    assert "llama" in ana.ok("logs", "-f", job), "its engine's log comes home as it is written"
    assert ana.get(f"/v1/jobs/{job}")["status"] == "succeeded"
    assert ana.ok("logs", "--answer", job).strip()
    (bill,) = json.loads(ana.ok("rentals", row["request_id"], "-o", "json"))
    assert 0 < bill["cost_nusd"] <= bill["reserved_nusd"]
    assert "metered" in ana.ok("rentals", row["request_id"])
    ana.ok("return", row["request_id"])
    wait_until(lambda: all_ended(runpod), "the pod to be returned")
    wait_until(lambda: ana.get("/v1/ssh")["hosts"] == [], "its host to be forgotten")
    assert runpod.server.counted["create"] == 1
    # It is billed as a whole, by its own meter, and its devices not once more.
    report = json.loads(ana.ok("cost", "--by", "device", "-o", "json"))
    billed = {one["device"]: one for one in report["groups"]}
    assert [one for one in billed if row["host"] in one] == [row["host"]]
    whole = billed[row["host"]]
    assert whole["total_cost_nusd"] + whole["idle_nusd"] == whole["total_nusd"]
    assert 0 < whole["total_cost_nusd"] < whole["total_nusd"] <= bill["reserved_nusd"]
    assert (whole["jobs"], whole["unknown_ms"]) == (1, 0)


@ROOT_ONLY
def test_a_daemon_killed_before_the_reply_makes_no_second_machine_and_adopts_the_first(
    machines: Maker, vast: Hosting
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    vast.server.faults.append(("create", "lost_reply"))
    request_id = ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-d").strip()
    wait_until(lambda: vast.ours(), "the provider to make it")
    ana.stop(signal.SIGKILL)
    (machine,) = vast.ours()
    ana.up()
    row = wait_until(
        lambda: (one := rental_of(ana, request_id)) and one["state"] == "ready" and one,
        "the machine to be adopted and entered",
    )
    assert (row["instance"], row["label"]) == (machine.id, machine.label)
    assert (vast.server.counted["create"], len(vast.ours())) == (1, 1)
    assert "every machine with this fleet's labels is one that is wanted" in ana.ok("orphans")
    job = ana.ok("run", "--on", row["host"], "-d", "--", "sleep", "600").strip()
    wait_until(lambda: ana.get(f"/v1/jobs/{job}")["status"] == "running", "a job there")
    ana.ok("return", request_id)
    wait_until(lambda: all_ended(vast), "its return")
    ended = wait_until(
        lambda: (one := ana.get(f"/v1/jobs/{job}"))["status"] == "failed" and one,
        "the end of the job that ran there",
    )
    assert ended["reason"] == "interrupted"


@ROOT_ONLY
def test_a_second_peer_with_the_key_sees_an_orphan_and_ends_it(
    machines: Maker, vast: Hosting
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    give_key(machines("ben"), "vastai", vast)
    (ben,) = up_all(machines, "ben")
    ben.join(ana)
    # Alone both took the account: now one has it.
    ana.ok("clouds", "take", "vastai")
    row = json.loads(ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-o", "json"))
    (wanted,) = vast.ours()
    founder = next(one["key"] for one in ana.peers().values() if one["name"] == "ana")
    label = label_of(fleet_name(founder, founder), "lostx1x1xabcdefgh", vast.server.now() + HOUR_MS)
    orphan = vast.do(
        lambda: vast.emulator.machines.make(label, vast.server.now(), price=10**9, storage=10**7)
    )

    def seen() -> list[str]:
        return [one["instance"] for one in json.loads(ben.ok("orphans", "-o", "json"))["orphans"]]

    wait_until(lambda: listed(ben, "vastai"), "ben to see the account")
    wait_until(lambda: rental_of(ben, row["request_id"]), "ben to know what ana rents")
    # Who does not have the account lists it every five minutes; who has it, and something is open
    # there, every fifteen seconds.
    ben.ok("clouds", "take", "vastai")
    wait_until(lambda: orphan.id in seen(), "the orphan, by the name of the fleet", 150)
    assert seen() == [orphan.id], "what ana rents is none"
    assert "asked to end" in ben.ok("orphans", "--kill", "-y")
    wait_until(lambda: orphan.ended is not None, "the orphan's end")
    assert wanted.ended is None
    ana.ok("return", row["request_id"])
    wait_until(lambda: all_ended(vast), "the other's return")


@ROOT_ONLY
def test_a_key_that_was_replaced_returns_what_the_one_before_rented(
    machines: Maker, vast: Hosting
) -> None:
    ana = with_account(machines, "ana", "vastai", vast)
    row = json.loads(ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "-y", "-o", "json"))
    ana.ok("down")
    fresh = f"{vast.emulator.key}-replaced"
    vast.do(lambda: setattr(vast.emulator, "key", fresh))
    ana.env["VAST_API_KEY"] = fresh
    ana.up()
    wait_until(lambda: listed(ana, "vastai"), "the account to be listed with the new key")
    assert json.loads(ana.ok("orphans", "-o", "json"))["orphans"] == []
    ana.ok("return", row["host"])
    wait_until(lambda: all_ended(vast), "the machine to be returned")
    rows = ana.get("/v1/rentals?ended=1")["rentals"]
    assert [one["rental_id"] for one in rows] == [row["rental_id"]], "it is one, and costs once"


# Slow: real minutes until an absence is proved.


def proved(one: Machine, request_id: str) -> bool:
    row = rental_of(one, request_id)
    return row is not None and row["state"] == "absent"


def rent_and_return(one: Machine, hosting: Hosting, name: str) -> str:
    """A machine comes up and is returned; its request."""
    gpu = PROVIDERS[name].gpu
    request_id = one.ok("rent", "--gpu", gpu, "--for", "6h", "--cap", "50", "-y", "-d").strip()
    wait_until(
        lambda: (row := rental_of(one, request_id)) and row["state"] in ("ready", "running"),
        "its machine to be up",
        180,
    )
    one.ok("return", request_id)
    wait_until(lambda: all_ended(hosting), "its return", 180)
    wait_until(lambda: proved(one, request_id), "its absence to be proved", 400)
    return request_id


def check_meter(row: dict[str, int], exact_nusd: int) -> None:
    """The ledger's sum is right within what it says itself that may be missing or too much."""
    metered = row["metered_nusd"]
    less, more = row["metered_less_nusd"], row["metered_more_nusd"]
    assert metered + more + 1 >= exact_nusd, row
    assert metered - less - 1 <= exact_nusd, row


def check_minutes(row: dict[str, int], bill_nusd: int) -> None:
    """Whole minutes at its price; what the provider will bill, to the cent, is within the bounds
    that the receipt says."""
    assert row["invoiced_nusd"] is None
    assert row["metered_nusd"] * 60 % row["price_nusd"] == 0
    less, more = row["metered_less_nusd"], row["metered_more_nusd"]
    cent = 10_000_000
    assert row["metered_nusd"] - less - cent <= bill_nusd <= row["metered_nusd"] + more + cent


@pytest.mark.slow
@ROOT_ONLY
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_was_metered_is_what_the_provider_counts_and_charges(
    machines: Maker, tmp_path: Path, name: str
) -> None:
    with ExitStack() as stack:
        hosting = stack.enter_context(cloud(tmp_path, name))
        time = Hours(machines("ana"), hosting, tmp_path / "later")
        ana = with_account(machines, "ana", name, hosting)
        request_id = rent_and_return(ana, hosting, name)
        (machine,) = hosting.ours()
        row = rental_of(ana, request_id)
        check_meter(row, machine.meter(hosting.server.now()) // HOUR_MS)
        if name == "lambdalabs":
            check_minutes(row, hosting.emulator.invoice(machine.id, hosting.server.now()))
            assert "its provider tells no charges" in ana.ok("rentals", request_id)
            return
        # Charges are asked for each hour until two answers agree. An account that wants something
        # looks up each minute, and so sees that it is later.
        ana.ok("rent", "--gpu", "20GB..", "--for", "1h", "--max-price", "0.001", "-y", "-d")
        for n in (1, 2):
            time.go(hours=3)
            wait_until(
                lambda n=n: hosting.server.counted["charges"] >= n,
                "its charges to be asked for",
                400,
            )
        row = wait_until(
            lambda: (one := rental_of(ana, request_id))["invoiced_nusd"] is not None and one,
            "two answers that agree",
        )
        charged = hosting.emulator.invoice(machine.id, hosting.server.now())
        assert abs(row["invoiced_nusd"] - charged) <= row["invoice_step_nusd"]
        assert row["difference_nusd"] == row["invoiced_nusd"] - row["metered_nusd"]
        assert ana.ok("verify")
