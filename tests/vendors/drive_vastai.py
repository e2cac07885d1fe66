"""Vast.ai's own SDK against our stand-in: every call that a rental takes, and what both sides hold
afterwards."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.emulators.machines import HOUR, Machine
from tests.emulators.server import Server
from tests.emulators.vastai import VastEmulator
from tests.vendors.talk import HERE, Report, Vendor, vendor

MINUTE = 60_000
LABEL = "fl-m1-j1e1a1x-6ab14990"


class Drive:
    """One account, the client before it, and what it made so far."""

    def __init__(self, server: Server, emulator: VastEmulator, sdk: Vendor) -> None:
        self.server, self.emulator, self.sdk = server, emulator, sdk
        self.made: list[int] = []

    def machine(self, number: int) -> Machine:
        return self.emulator.machines.all[f"{number:07d}"]

    def passes(self, ms: int) -> None:
        self.server.skew_ms += ms

    def status(self, number: int) -> str:
        return self.machine(number).status(self.server.now())

    def last(self) -> tuple[str, str]:
        asked = self.server.seen[-1]
        return asked.method, asked.path

    # -- offers

    async def offers(self) -> str:
        found = await self.sdk.call("search_offers", "gpu_name=RTX_4090 num_gpus=1", order="dph")
        assert self.last() == ("POST", "/api/v0/bundles/")
        body: Any = self.server.seen[-1].body
        assert isinstance(body["num_gpus"]["eq"], str), "operands come as texts"
        assert [(one["gpu_name"], one["gpu_ram"]) for one in found] == [
            ("RTX 4090", 24564),
            ("RTX 4090", 49140),
        ]
        return f"{len(found)} offers"

    async def offers_by_memory(self) -> str:
        found = await self.sdk.call("search_offers", "gpu_ram>=40 num_gpus>1 dph<10", order="dph-")
        assert {one["num_gpus"] > 1 and one["dph_total"] < 10 for one in found} == {True}
        assert [one["gpu_name"] for one in found] == ["A100 SXM4"]
        return str(self.server.seen[-1].body)[:60]

    async def offers_to_bid_for(self) -> str:
        found = await self.sdk.call("search_offers", "num_gpus=1", type="bid", storage=10.0)
        assert all(one["dph_base"] == one["min_bid"] for one in found)
        return f"{len(found)} offers"

    async def offers_anew(self) -> str:
        found = await self.sdk.call("search_offers_new", "num_gpus=8")
        assert self.last() == ("PUT", "/api/v0/search/asks/")
        assert [one["id"] for one in found] == [1004]
        return "by /search/asks/"

    # -- made and shown

    async def create(self) -> str:
        made = await self.sdk.call(
            "create_instance", 1001, image="img", disk=20, label=LABEL, onstart_cmd="echo",
            ssh=True, direct=True, env={"-p 8000:8000": "1"},
        )  # fmt: skip
        number = made["new_contract"]
        self.made.append(number)
        one = self.machine(number)
        body: Any = self.server.seen[-1].body
        assert body["runtype"] == "ssh_direc ssh_proxy"
        assert (one.label, one.spot, one.host_id) == (LABEL, False, "501")
        assert one.storage == round(0.15 * 20 / 720 * 1e9)
        assert one.price == 389_600_000 + one.storage
        return f"contract {number}"

    async def show(self) -> str:
        self.passes(10 * MINUTE)
        row = await self.sdk.call("show_instance", self.made[0])
        assert row["actual_status"] == "running"
        assert row["label"] == LABEL
        assert row["extra_env"] == {"-p 8000:8000": "1"}
        assert row["ports"]["22/tcp"][0]["HostPort"].isdigit()
        assert row["dph_total"] * 1e9 == self.machine(self.made[0]).price
        return f"${row['dph_total']}/h"

    async def show_nothing(self) -> str:
        assert await self.sdk.call("show_instance", 424242) is None
        return "null"

    async def bid(self) -> str:
        made = await self.sdk.call(
            "create_instance", 1003, image="img", disk=8, label="bid", price=0.15, ssh=True
        )
        self.made.append(made["new_contract"])
        assert self.machine(self.made[-1]).spot
        return f"contract {self.made[-1]}"

    async def bid_too_low(self) -> str:
        before = set(self.emulator.machines.all)
        words = await self.sdk.fails("create_instance", 1003, image="img", disk=8, price=0.01)
        (left,) = set(self.emulator.machines.all) - before
        assert self.emulator.machines.all[left].status(self.server.now()) == "stopped"
        self.made.append(int(left))
        return words[:40]

    async def several(self) -> str:
        made = await self.sdk.call("create_instances", [1005, 1006], image="img", disk=8)
        assert self.last() == ("POST", "/api/v0/asks/bulk/")
        self.made += [one["new_contract"] for one in made["results"]]
        return f"{len(made['results'])} contracts"

    async def no_such_offer(self) -> str:
        before = len(self.emulator.machines.all)
        words = await self.sdk.fails("create_instance", 5, image="img", disk=8)
        assert len(self.emulator.machines.all) == before
        return words[:40]

    async def pages(self) -> str:
        self.emulator.page_size = 2
        before = self.server.counted["list"]
        rows = await self.sdk.call("show_instances")
        asked = self.server.counted["list"] - before
        assert [row["id"] for row in rows] == sorted(self.made)
        assert asked == 3, f"{asked} pages for {len(rows)} machines"
        first = await self.sdk.call("show_instances_v1", {"limit": 25, "select_filters": {}})
        assert (first["total_instances"], first["instances_found"]) == (5, 2)
        return f"{len(rows)} machines on {asked} pages"

    async def by_label(self) -> str:
        filters = {"label": {"eq": LABEL}}
        found = await self.sdk.call("show_instances_v1", {"select_filters": filters})
        assert [row["id"] for row in found["instances"]] == [self.made[0]]
        return LABEL

    # -- changed

    async def stop_and_start(self) -> str:
        number = self.made[0]
        await self.sdk.call("stop_instance", number)
        assert self.status(number) == "stopped"
        assert self.machine(number).rate(self.server.now()) == self.machine(number).storage
        await self.sdk.call("start_instance", number)
        assert self.status(number) == "up"
        await self.sdk.call("stop_instances", self.made[:2])
        assert {self.status(one) for one in self.made[:2]} == {"stopped"}
        await self.sdk.call("start_instances", self.made[:2])
        return "one and several"

    async def label(self) -> str:
        await self.sdk.call("label_instance", self.made[1], "renamed")
        assert self.machine(self.made[1]).label == "renamed"
        return "renamed"

    async def change_bid(self) -> str:
        one = self.machine(self.made[1])
        await self.sdk.call("change_bid", self.made[1], price=0.2)
        assert one.price_at(self.server.now()) == 200_000_000 + one.storage
        await self.sdk.fails("change_bid", self.made[1], price=0.0001)
        return "$0.2/h"

    async def outbid(self) -> str:
        number = self.made[1]
        self.passes(10 * MINUTE)
        self.emulator.outbid(f"{number:07d}", self.server.now())
        row = await self.sdk.call("show_instance", number)
        words = [row[key] for key in ("actual_status", "cur_state", "intended_status")]
        assert words == ["stopped"] * 3
        return "/".join(words)

    async def rises(self) -> str:
        one = self.machine(self.made[0])
        before = one.price_at(self.server.now())
        self.emulator.ask_rise(one.id, before * 2)
        pending = await self.sdk.call("show_pending_price_increases")
        assert pending["count"] == 1
        await self.sdk.call("reject_price_increase", self.made[0])
        assert one.price_at(self.server.now()) == before
        await self.sdk.fails("reject_price_increase", self.made[0])
        self.emulator.ask_rise(one.id, before * 2)
        await self.sdk.call("accept_price_increase", self.made[0])
        assert one.price_at(self.server.now()) == before * 2
        return "one rejected, one accepted"

    # -- keys, account, the market

    async def keys(self) -> str:
        await self.sdk.call("create_ssh_key", "ssh-ed25519 AAAA person")
        assert [one["public_key"] for one in await self.sdk.call("show_ssh_keys")] == [
            "ssh-ed25519 AAAA person"
        ]
        await self.sdk.call("delete_ssh_key", 1)
        assert self.emulator.account.keys == {}
        return "created, shown, deleted"

    async def user(self) -> str:
        user = await self.sdk.call("show_user")
        assert self.last()[1].rstrip("/") == "/api/v0/users/current"
        assert 0 < user["credit"] < 100
        return f"${user['credit']}"

    # -- ended and charged

    async def destroy(self) -> str:
        self.passes(2 * HOUR)
        await self.sdk.call("destroy_instance", self.made[0])
        assert self.server.seen[-1].body == {}
        await self.sdk.call("destroy_instances", self.made[1:])
        self.passes(MINUTE)
        assert await self.sdk.call("show_instances") == []
        words = await self.sdk.fails("destroy_instance", self.made[0])
        assert "404" in words
        return words[:40]

    async def charges(self) -> str:
        now = self.server.now()
        end = now // 1000
        found = await self.sdk.call(
            "show_invoices_v1", charges=True, start_date=end - 2 * 86_400, end_date=end, limit=100
        )
        sums = {one["source"]: one["amount"] for one in found["results"]}
        assert set(sums) == {f"instance-{number}" for number in self.made}
        for number in self.made:
            invoice = self.emulator.invoice(f"{number:07d}", now)
            assert round(sums[f"instance-{number}"] * 1e9) == invoice
            assert abs(invoice - self.machine(number).meter(now) // HOUR) <= 500_000
        return f"{len(sums)} contracts, ${sum(sums.values()):.3f}"

    async def limited(self) -> str:
        self.server.faults += [("balance", "limited")]
        before = self.server.counted["balance"]
        await self.sdk.call("show_user")
        return f"asked {self.server.counted['balance'] - before} times"

    async def a_lost_create_is_sent_again(self) -> str:
        """The client's own remedy, and why ours has none."""
        before = len(self.emulator.machines.all)
        self.server.faults += [("create", "error_after")]
        await self.sdk.call("create_instance", 1006, image="img", disk=8, label="twice")
        made = len(self.emulator.machines.all) - before
        assert made == 2
        return f"one call, {made} machines"

    async def wrong_key(self) -> str:
        self.emulator.key = "another"
        words = await self.sdk.fails("show_instances")
        assert "404" in words
        return words[:40]


CHECKS = (
    ("offers are searched, with operands as texts", Drive.offers),
    ("offers are searched by memory, count and price", Drive.offers_by_memory),
    ("offers to bid for have the least bid as their price", Drive.offers_to_bid_for),
    ("offers are searched by the newer endpoint", Drive.offers_anew),
    ("a machine is created on demand", Drive.create),
    ("a machine is shown, up, with its port and price", Drive.show),
    ("no machine is shown as null", Drive.show_nothing),
    ("a machine is bid for", Drive.bid),
    ("a bid too low is an error, and leaves a stopped machine", Drive.bid_too_low),
    ("several machines are created at once", Drive.several),
    ("an offer that is none makes nothing", Drive.no_such_offer),
    ("all machines are listed, page by page", Drive.pages),
    ("machines are found by their label", Drive.by_label),
    ("machines are stopped and started", Drive.stop_and_start),
    ("a machine is labelled anew", Drive.label),
    ("a bid is changed", Drive.change_bid),
    ("an outbid machine is stopped in all its states", Drive.outbid),
    ("requests to pay more are shown, rejected, accepted", Drive.rises),
    ("ssh keys are kept", Drive.keys),
    ("the account is shown", Drive.user),
    ("machines are destroyed, and gone", Drive.destroy),
    ("charges are the meter's, rounded to $0.001", Drive.charges),
    ("a 429 is waited out by the client", Drive.limited),
    (
        "a create that fails afterwards is sent again by the client",
        Drive.a_lost_create_is_sent_again,
    ),
    ("a wrong key is a 404", Drive.wrong_key),
)


async def main(folder: Path) -> int:
    """The exit code."""
    report = Report()
    emulator = VastEmulator(random.Random(3), end_ms=0)
    command = [str(folder / "bin" / "python"), str(HERE / "client_vastai.py")]
    with tempfile.TemporaryDirectory() as home:
        async with Server(emulator) as server:
            environ = {"TEST_URL": server.url, "TEST_KEY": emulator.key}
            async with vendor("vastai", command, Path(home), environ) as sdk:
                drive = Drive(server, emulator, sdk)
                for what, check in CHECKS:
                    await report.run(what, lambda check=check: check(drive))
    return report.end("vastai")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]).absolute())))
