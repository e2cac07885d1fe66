"""What Vast.ai's stand-in answers about an account: charges, balance, keys, requests to pay more,
and the market's figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from providers.rental.contract import Reply
from tests.emulators.base import Asked
from tests.emulators.machines import HOUR, Machine, Machines
from tests.emulators.vast_shapes import (
    DAY,
    NANO,
    asked_json,
    charge_row,
    done,
    problem,
    read_token,
    token_of,
)
from tests.emulators.vast_stock import Host

MAX_CHARGES = 500
PAID_IN = 100 * NANO


@dataclass(kw_only=True)
class Account:
    """Everything of an account but its machines."""

    machines: Machines
    hosts: Sequence[Host]
    late_ms: int = 0  # what happened in the last so many ms is not charged yet
    keys: dict[int, str] = field(default_factory=dict)
    rises: dict[int, tuple[str, int]] = field(default_factory=dict)  # id -> (machine, new price)
    _rise_n: int = 900

    # -- charges and balance

    def charges(self, now: int, asked: Asked) -> Reply:
        filters: Any = asked_json(asked.query, "select_filters")
        day = filters.get("day", {}) if isinstance(filters, dict) else {}
        if "gte" not in day or "lte" not in day:
            words = "Must provide both 'day' gte and lte filters for instance charges"
            return Reply(status=400, body={"success": False, "msg": words})
        after = asked.query.get("after_token", "")
        last = read_token(after) if after else 0
        if last is None:
            return problem(400, "invalid_token", "Invalid pagination token")
        if "instance" not in filters.get("type", {}).get("in", ["instance"]):
            rows: list[dict[str, object]] = []
        else:
            rows = self._charges(now, int(day["gte"]) * 1000, int(day["lte"]) * 1000)
        limit = max(1, min(MAX_CHARGES, int(asked.query.get("limit", "100"))))
        if asked.query.get("latest_first", "true") == "true":
            rows.reverse()
        page = rows[last : last + limit]
        more = token_of(last + limit) if last + limit < len(rows) else None
        return done(count=len(page), total=len(rows), next_token=more, results=page)

    def _charges(self, now: int, first: int, last: int) -> list[dict[str, object]]:
        """A day's charges stand at its begin."""
        begin, end = -(-first // DAY) * DAY, (last // DAY + 1) * DAY
        end = min(end, now - self.late_ms)
        machines = sorted(self.machines.all.values(), key=lambda one: int(one.id))
        shown = [m for m in machines if m.created < end and (m.ended is None or m.ended > begin)]
        return [charge_row(one, begin, end) for one in shown]

    def user(self, now: int) -> Reply:
        spent = sum(one.meter(now) for one in self.machines.all.values()) // HOUR
        body = {
            "id": 77,
            "key_id": 5,
            "email": "person@example.org",
            "balance": 0.0,
            "credit": (PAID_IN - spent) / NANO,
            "ssh_key": None,
            "sid": "1",
        }
        return Reply(status=200, body=body)

    # -- requests to pay more

    def ask_rise(self, one: Machine, price: int) -> int:
        """The host wants `price` nano-dollars an hour from now on; the request's id."""
        self._rise_n += 1
        self.rises[self._rise_n] = (one.id, price)
        return self._rise_n

    def pending(self, now: int) -> Reply:
        rows = [
            self._rise_row(n, self.machines.all[machine], price, now)
            for n, (machine, price) in sorted(self.rises.items())
            if self.machines.all[machine].ended is None
        ]
        return done(count=len(rows), truncated=False, pending_price_increases=rows)

    def _rise_row(self, n: int, one: Machine, price: int, now: int) -> dict[str, object]:
        return {
            "pending_price_increase_id": n,
            "contract_id": int(one.id),
            "host_id": 7,
            "new_gpu_costpersec": (price - one.storage) / NANO / 3600,
            "new_disk_ram_costpersec": one.storage / NANO / 3600,
            "new_bwu_cost": None,
            "new_bwd_cost": None,
            "new_platform_fee": None,
            "old_gpu_costpersec": (one.price_at(now) - one.storage) / NANO / 3600,
            "old_disk_ram_costpersec": one.storage / NANO / 3600,
            "old_bwu_cost": None,
            "old_bwd_cost": None,
            "old_platform_fee": None,
            "contract_end_date": None,
            "ask_end_date": None,
            "created_at": now / 1000,
        }

    def answer_rise(self, now: int, asked: Asked, *, accept: bool) -> Reply:
        body = asked.body if isinstance(asked.body, dict) else {}
        n = body.get("pending_price_increase_id")
        if set(body) != {"pending_price_increase_id"} or not isinstance(n, int):
            return problem(400, "invalid_args", "the body must be pending_price_increase_id alone")
        found = self.rises.pop(n, None)
        if found is None or self.machines.all[found[0]].ended is not None:
            return Reply(status=404, body={"success": False, "error": "no_pending_price_increase"})
        if accept:
            self.machines.raise_price(self.machines.all[found[0]], now, found[1])
        return done(pending_price_increase_id=n, contract_id=int(found[0]))

    # -- keys and the market

    def ssh_keys(self, asked: Asked, key_id: str) -> Reply:
        if asked.method == "POST":
            text = asked.body.get("ssh_key") if isinstance(asked.body, dict) else None
            if not isinstance(text, str) or not text.startswith("ssh-"):
                return problem(400, "invalid_args", "no ssh key")
            self.keys[len(self.keys) + 1] = text
            return done(key={"id": len(self.keys), "public_key": text})
        if asked.method == "DELETE":
            known = key_id.isdigit() and self.keys.pop(int(key_id), None) is not None
            return done() if known else problem(404, "not_found", "no such key")
        rows = [{"id": n, "public_key": text} for n, text in sorted(self.keys.items())]
        return Reply(status=200, body=rows)

    def metrics(self, now: int, what: str) -> Reply:
        if what == "current":
            return done(gpus=[self._figures(name) for name in self._names()])
        if what == "history":
            at = [now // 1000 - 3600, now // 1000]
            return done(gpus={name: self._series(name, at) for name in self._names()})
        return done(locations=[])

    def _names(self) -> list[str]:
        return sorted({host.gpu for host in self.hosts})

    def _prices(self, name: str) -> list[float]:
        hosts = [host for host in self.hosts if host.gpu == name]
        return sorted(float(host.base) / host.count for host in hosts)

    def _figures(self, name: str) -> dict[str, object]:
        prices = self._prices(name)
        return {
            "gpu_name": name,
            "total": len(prices),
            "available": len(prices),
            "price_p10": prices[0],
            "price_median": prices[len(prices) // 2],
            "price_p90": prices[-1],
        }

    def _series(self, name: str, at: list[int]) -> dict[str, object]:
        prices = self._prices(name)
        shares = {"p10": prices[0], "median": prices[len(prices) // 2], "p90": prices[-1]}
        kinds = ("rented", "avail")
        pricing = {f"{kind}_{k}": [v for _ in at] for kind in kinds for k, v in shares.items()}
        return {
            "supply_demand": {"timestamps": at, "total": [len(prices) for _ in at]},
            "pricing": {"timestamps": at, **pricing},
        }
