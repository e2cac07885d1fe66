"""The account behind the stand-in: its machines, its stock, and what is left to spend."""

from __future__ import annotations

import random
from typing import Any

from tests.emulators.machines import BOOT, HOUR, Machine, Machines, S
from tests.emulators.runpod import pods, stock

LAG_MS = 60 * S  # how old what a listing shows may be
END_MS = 4 * S  # a deleted pod is seen for so long at most
HIDDEN_MS = (5 * S, 100 * S)


class Account:
    """`free`: (type, cloud) -> how many are left, against the stock. `balance_nusd`: before what
    was spent. `late_ms`: for so long a charge is not shown yet."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.machines = Machines(dice, from_create=True, dead_man=True, billed_dead=True)
        self.free: dict[tuple[str, str], int] = {}
        self.balance_nusd = 1_000 * stock.USD
        self.late_ms = 0
        self.ssh_keys: list[str] = []

    def make(self, now: int, body: dict[str, Any], fault: str, by: str) -> Machine | None:
        """None where there is no room, or no count was given: its default of 1 does not work."""
        cloud, wanted = body.get("cloud", "SECURE"), body.get("gpu", {})
        gpu, count = stock.BY_ID.get(wanted.get("id", "")), wanted.get("count", 0)
        if fault == "no_capacity" or gpu is None or not count:
            return None
        at = stock.CLOUDS.index(cloud)
        if count > gpu.most[at] or stock.free_of(gpu, cloud, self.free) < count:
            return None
        dear = 12 if fault == "price_higher" else 10
        kept = body.get("mounts", {}).get("persistent", {}).get("size", 0)
        beside = stock.disk_rate(body.get("disk", 0)) + stock.disk_rate(kept)
        life, lease = pods.dead_man(body.get("args", ""))
        made = self.machines.make(
            body["name"],
            now,
            price=gpu.price[at] * count * dear // 10 + beside,
            storage=2 * stock.disk_rate(kept),
            by=by,
            ttl=life,
            lease=lease,
            hang=self.dice.choice(tuple(BOOT)) if fault == "hang" else "",
        )
        made.extra = _extra(body, gpu, count, cloud, beside)
        return made

    def hide(self, now: int) -> None:
        """One of ours is missing from listings for a while, though it runs."""
        live = [
            one
            for one in self.machines.all.values()
            if one.ended is None and one.by != "person"
            and max(one.hidden[1], one.created + LAG_MS) < now - 75 * S
        ]  # fmt: skip
        if live:
            self.dice.choice(live).hidden = (now, now + self.dice.randint(*HIDDEN_MS))

    def end(self, now: int, one: Machine, fault: str) -> None:
        """Soon, if it is not ignored."""
        if fault != "ignored":
            self.machines.at(
                now + self.dice.randint(0, END_MS), lambda t: self.machines.end(one, t)
            )
        self.machines.advance(now)

    def left(self, now: int) -> int:
        spent = sum(one.meter(now) for one in self.machines.all.values())
        return self.balance_nusd - spent // HOUR

    def add_cluster_pod(self, label: str, now: int) -> Machine:
        """A member of a cluster that the account's person made: hidden from a plain listing."""
        disk = stock.disk_rate(20)
        price = stock.GPUS[0].price[0] + disk
        one = self.machines.make(label, now, price=price, storage=0, by="person")
        one.line[-1] = (now, "up", price)
        body = {"image": "a-person/training", "disk": 20}
        one.extra = _extra(body, stock.GPUS[0], 1, "SECURE", disk)
        one.extra["cluster"] = {"id": "cluster_1", "rank": 0}
        return one


def _extra(
    body: dict[str, Any], gpu: stock.Gpu, count: int, cloud: str, beside: int
) -> dict[str, Any]:
    """What a pod's own shape needs. `beside`: its disks, of what is charged while it runs."""
    return {
        "image": body.get("image", ""),
        "args": body.get("args", ""),
        "disk": body.get("disk", 0),
        "ports": body.get("ports", []),
        "env": body.get("env", {}),
        "mounts": body.get("mounts", {}),
        "gpu_id": gpu.id,
        "count": count,
        "cloud": cloud,
        "centre": gpu.centres[0] if cloud == "SECURE" else "EU-SE-1",
        "beside": beside,
    }
