"""Vast.ai's stand-in: one account, its offers, machines and charges, in Vast.ai's own shapes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from providers.rental.contract import Ask, Offer, Reply
from providers.vastai.profile import PROFILE
from tests.emulators.base import Asked
from tests.emulators.machines import Machine, Machines, S
from tests.emulators.vast_account import Account
from tests.emulators.vast_shapes import (
    LEAST_DISK,
    MALFORMED,
    MAX_LABEL,
    MILLI_USD,
    NANO,
    asked_json,
    charged,
    done,
    limits,
    problem,
    read_token,
    row_of,
    token_of,
    wrong_create,
)
from tests.emulators.vast_stock import Host, as_offer, default_hosts, search, wanted

LAG = 60 * S  # a listing under the fault "lag" shows the state of so long ago, at most
HIDE = (5 * S, 100 * S)
NEVER = 10**12
PAGE_MOST = 25
MANAGED = re.compile(r"/instances/(\d+)")
ASK = re.compile(r"/asks/(\d+)")
BID = re.compile(r"/instances/bid_price/(\d+)")
SSH_OF = re.compile(r"/instances/(\d+)/ssh")
# The boot script's own bounds: `[ $((N - B)) -ge LIFE ] || [ $((N - C)) -ge LEASE ]`.
LIFE = re.compile(r"N - B\)\) -ge (\d+)")
LEASE = re.compile(r"N - C\)\) -ge (\d+)")
OPEN = ("/bundles", "/search/asks")  # answered without a key


class VastEmulator:
    """See `base.Emulator`. Deterministic."""

    profile = PROFILE

    def __init__(
        self,
        dice: random.Random,
        *,
        key: str = "vast-test-key",
        page_size: int = PAGE_MOST,
        charges_late_ms: int = 0,
        settle_ms: int = 0,
        end_ms: int = 4 * S,
        hosts: Sequence[Host] | None = None,
    ) -> None:
        """`settle_ms`: a listing shows the state of up to so long ago. `end_ms`: a machine is gone
        at most so long after its end was taken."""
        self.dice, self.key, self.page_size = dice, key, page_size
        self.settle_ms, self.end_ms = settle_ms, end_ms
        self.hosts = list(default_hosts() if hosts is None else hosts)
        # Seven digits from the first on: its numbers are its ids, in the order of their making.
        self.machines = Machines(
            dice, from_create=False, dead_man=True, billed_dead=False, first=1_000_070
        )
        self.account = Account(machines=self.machines, hosts=self.hosts, late_ms=charges_late_ms)
        self.spaced: dict[str, int] = {}  # op -> ms: calls closer than that are answered 429
        self._last: dict[str, int] = {}
        # Where a machine's sshd answers.
        self.ssh_at: Callable[[Machine], tuple[str, int]] = lambda one: (
            f"203.0.113.{int(one.id) % 250 + 1}",
            20_000 + int(one.id) % 20_000,
        )

    # -- what the contract of stand-ins asks

    def op(self, asked: Asked) -> str:
        path, method = _path(asked), asked.method
        if path in OPEN:
            return "offers"
        if path == "/instances":
            return {"GET": "list", "DELETE": "terminate"}.get(method, "")
        if ASK.fullmatch(path) or path == "/asks/bulk":
            return "create"
        if MANAGED.fullmatch(path):
            return "terminate" if method == "DELETE" else ""
        return {
            "/charges": "charges",
            "/users/current": "balance",
            "/instances/pending-price-increases": "rises",
            "/instances/reject-price-increase": "refuse",
        }.get(path, "")

    def handle(self, now: int, asked: Asked, fault: str = "", by: str = "caller") -> Reply:
        self._advance(now)
        denied = self._denied(asked) or self._too_soon(now, asked)
        return denied or self._route(now, asked, fault, by)

    def _advance(self, now: int) -> None:
        self.machines.advance(now)
        for host in self.hosts:
            host.taken = [i for i in host.taken if self.machines.all[i].ended is None]

    def limited(self, now: int, asked: Asked) -> tuple[Reply, int]:
        return self.dice.choice(limits(self.op(asked), now))

    def outbid(self, machine_id: str, now: int) -> None:
        """The three states say stopped; the disk stays, and is paid for."""
        self.machines.advance(now)
        self.machines.turn(self.machines.all[machine_id], "stopped", now)

    def stock(self, ask: Ask | None = None) -> list[Offer]:
        ask = ask or Ask()
        return [as_offer(host, ask) for host in self.hosts if wanted(host)]

    def invoice(self, machine_id: str, now: int) -> int:
        return charged(self.machines.all[machine_id], 0, now)["amount"] * MILLI_USD

    def ask_rise(self, machine_id: str, price: int) -> int:
        """A host asks for a higher price, nano-dollars an hour; the request's id."""
        return self.account.ask_rise(self.machines.all[machine_id], price)

    # -- who may ask, and how often

    def _denied(self, asked: Asked) -> Reply | None:
        given = asked.headers.get("authorization", "").removeprefix("Bearer ")
        given = given or asked.query.get("api_key", "")
        if not given:
            if _path(asked) in OPEN:
                return None
            return problem(403, "auth_error", "This action requires login.")
        own = MANAGED.fullmatch(_path(asked))
        if given == self.key or (own and given == self._own_key(own[1])):
            return None
        return problem(404, "auth_error", "Invalid user key")

    def _own_key(self, number: str) -> str:
        """A machine's key: it may start, stop and end that machine."""
        return f"own-{int(number)}-{self.key}"

    def _too_soon(self, now: int, asked: Asked) -> Reply | None:
        op = self.op(asked)
        before, self._last[op] = self._last.get(op, -NEVER), now
        if now - before >= self.spaced.get(op, 0):
            return None
        words = f"API requests too frequent: endpoint threshold={self.spaced[op] / 1000:.1f}"
        return Reply(status=429, body=words)

    # -- routes

    def _route(self, now: int, asked: Asked, fault: str, by: str) -> Reply:
        path, method = _path(asked), asked.method
        body: dict[str, Any] = asked.body if isinstance(asked.body, dict) else {}
        if path == "/bundles" and method == "POST":
            return Reply(status=200, body={"offers": search(self.hosts, body)})
        if path == "/search/asks" and method == "PUT":
            return Reply(status=200, body={"offers": search(self.hosts, body.get("q") or {})})
        if path == "/asks/bulk" and method == "POST":
            return self._bulk(now, body, fault, by)
        if (found := ASK.fullmatch(path)) and method == "PUT":
            return self._create(now, found[1], body, fault, by)
        if path == "/instances":
            return self._all(now, asked, body, fault)
        if (found := BID.fullmatch(path)) and method == "PUT":
            return self._bid(now, found[1], body)
        if found := SSH_OF.fullmatch(path):
            return done(ssh_keys="[]")
        if found := MANAGED.fullmatch(path):
            return self._one(now, method, found[1], body, fault)
        return self._account(now, path, asked)

    def _account(self, now: int, path: str, asked: Asked) -> Reply:
        account = self.account
        if path == "/charges":
            return account.charges(now, asked)
        if path == "/users/current":
            return account.user(now)
        if path == "/instances/pending-price-increases":
            return account.pending(now)
        if path in ("/instances/accept-price-increase", "/instances/reject-price-increase"):
            return account.answer_rise(now, asked, accept="accept" in path)
        if path == "/ssh" or path.startswith("/ssh/"):
            return account.ssh_keys(asked, path.removeprefix("/ssh").strip("/"))
        if path.startswith("/metrics/gpu/"):
            return account.metrics(now, path.removeprefix("/metrics/gpu/"))
        return problem(404, "not_found", "no such endpoint")

    # -- create

    def _bulk(self, now: int, body: dict[str, Any], fault: str, by: str) -> Reply:
        ids = body.get("ids")
        if not isinstance(ids, list) or not ids:
            return problem(400, "invalid_args", "ids must be a list of offers")
        replies = [self._create(now, str(one), body, fault, by) for one in ids]
        return done(results=[reply.body for reply in replies])

    def _create(self, now: int, ask: str, body: dict[str, Any], fault: str, by: str) -> Reply:
        host = next((host for host in self.hosts if str(host.id) == ask), None)
        wrong = wrong_create(body)
        if wrong:
            return problem(400, wrong, f"error 400/3467: {wrong}", ask_id=int(ask))
        if host is None or fault == "no_capacity" or not host.free > len(host.taken):
            return self._no_such_ask(ask)
        bid, disk = body.get("price"), Decimal(str(body.get("disk", LEAST_DISK)))
        storage = host.storage_nano(disk)
        base = int(Decimal(str(bid if bid is not None else host.base)) * NANO)
        low = bid is not None and base < int(Decimal(host.min_bid) * NANO)
        if low and body.get("cancel_unavail"):
            return self._no_such_ask(ask, late=True)
        price = base + storage
        price = price * 12 // 10 if fault == "price_higher" else price
        low = low or fault == "low_bid"
        one = self._make(
            now, host, body, price=price, storage=storage, by=by, hang=fault == "hang", stopped=low
        )
        if low:
            more = {"new_contract": int(one.id), "ask_id": host.id}
            return problem(400, "invalid_price", "error 400/3468: bid is too low", **more)
        return done(new_contract=int(one.id), instance_api_key=self._own_key(one.id))

    def _no_such_ask(self, ask: str, *, late: bool = False) -> Reply:
        if late or self.dice.random() < 0.3:
            words = f"error 410/3907: no_such_ask Instance type {ask} is no longer available."
            return problem(410, "no_such_ask", words, ask_id=int(ask))
        words = f"error 404/3603: no_such_ask Instance type by id {ask} is not available."
        return problem(404, self.dice.choice(("no_such_ask", "invalid_args")), words)

    def _make(
        self, now: int, host: Host, body: dict[str, Any], *, price: int, storage: int, by: str,
        hang: bool, stopped: bool,
    ) -> Machine:  # fmt: skip
        onstart = str(body.get("onstart") or "")
        life, lease = LIFE.search(onstart), LEASE.search(onstart)
        steps = ("placed", "image", "container", "sshd", "engine")
        one = self.machines.make(
            str(body.get("label") or ""),
            now,
            price=price,
            storage=storage,
            by=by,
            ttl=int(life[1]) * S if life else NEVER,
            lease=int(lease[1]) * S if lease else NEVER,
            spot=body.get("price") is not None,
            hang=self.dice.choice(steps) if hang else "",
            stopped=stopped,
            host_id=str(host.machine_id),
        )
        one.extra.update(
            gpu_name=host.gpu,
            gpu_ram=host.memory_mb,
            num_gpus=host.count,
            min_bid=float(host.min_bid),
            storage_cost=float(host.storage),
            disk=body.get("disk", LEAST_DISK),
            bid=body.get("price"),
            image=body.get("image"),
            runtype=body.get("runtype") or "ssh",
            onstart=onstart,
            env=body.get("env") if isinstance(body.get("env"), dict) else {},
        )
        host.taken.append(one.id)
        return one

    # -- listings

    def _all(self, now: int, asked: Asked, body: dict[str, Any], fault: str) -> Reply:
        if asked.method == "DELETE":
            for one in body.get("instance_ids") or []:
                self._terminate(now, self._found(str(one)), fault)
            return done()
        if asked.method == "PUT":
            for one in body.get("ids") or []:
                self._manage(now, self._found(str(one)), body)
            return done()
        if asked.path.startswith("/api/v0/") or fault == "retired":
            words = "/api/v0/instances/ is deprecated. Use /api/v1/instances/ instead."
            return problem(410, "deprecated_endpoint", words)
        return self._list(now, asked, fault)

    def _list(self, now: int, asked: Asked, fault: str) -> Reply:
        after = asked.query.get("after_token", "")
        last = read_token(after) if after else 0
        if last is None:
            return problem(400, "invalid_token", "Invalid pagination token")
        if fault == "empty":
            return Reply(status=200, body="")
        if fault == "success_false":
            return Reply(status=200, body={"success": False, "msg": "try again"})
        if fault == "malformed":
            return self.dice.choice(MALFORMED)
        if fault == "page_fails" and last:
            return Reply(status=502, body="bad gateway")
        if fault == "hides":
            self._hide(now)
        as_of = now - self.dice.randint(0, LAG if fault == "lag" else self.settle_ms)
        rows = [row_of(m, as_of, self.ssh_at(m)) for m in self.machines.visible(now, as_of)]
        return self._page(rows, last, asked)

    def _page(self, rows: list[dict[str, Any]], last: int, asked: Asked) -> Reply:
        filters: Any = asked_json(asked.query, "select_filters")
        for name, ops in filters.items() if isinstance(filters, dict) else ():
            if isinstance(ops, dict) and "eq" in ops:
                rows = [row for row in rows if row.get(name) == ops["eq"]]
        limit = int(asked.query.get("limit", PAGE_MOST))
        limit = min(5 if limit <= 0 else limit, PAGE_MOST, self.page_size)
        rest = sorted((row for row in rows if row["id"] > last), key=lambda row: int(row["id"]))
        page = rest[:limit]
        labels: dict[str, int] = {}
        for row in rows:
            labels[row["label"] or ""] = labels.get(row["label"] or "", 0) + 1
        return done(
            instances=page,
            instances_found=len(page),
            total_instances=len(rows),
            label_counts=labels,
            next_token=token_of(int(page[-1]["id"])) if len(rest) > limit else None,
        )

    def _hide(self, now: int) -> None:
        live = [
            one
            for one in self.machines.all.values()
            if one.ended is None
            and one.by != "person"
            and max(one.hidden[1], one.created + LAG) < now - 75 * S
        ]
        if live:
            self.dice.choice(live).hidden = (now, now + self.dice.randint(*HIDE))

    # -- one machine

    def _found(self, number: str) -> Machine | None:
        one = self.machines.all.get(f"{int(number):07d}") if number.isdigit() else None
        return one if one is not None and one.ended is None else None

    def _one(self, now: int, method: str, number: str, body: dict[str, Any], fault: str) -> Reply:
        one = self._found(number)
        if method == "GET":
            row = None if one is None else row_of(one, now, self.ssh_at(one))
            return Reply(status=200, body={"instances": row})
        if method == "DELETE":
            return self._terminate(now, one, fault)
        return self._manage(now, one, body)

    def _terminate(self, now: int, one: Machine | None, fault: str) -> Reply:
        if one is None:
            code = self.dice.choice(("no_such_instance", "not_found"))
            return problem(404, code, "Instance not found")
        if fault != "ignored":
            self.machines.at(
                now + self.dice.randint(0, self.end_ms), lambda t: self.machines.end(one, t)
            )
            self.machines.advance(now)
        return done()

    def _manage(self, now: int, one: Machine | None, body: dict[str, Any]) -> Reply:
        if one is None:
            return problem(404, "no_such_instance", "Instance with that ID does not exist.")
        if "label" in body:
            if len(str(body["label"])) > MAX_LABEL:
                return problem(400, "label_too_long", "the label is too long")
            one.label = str(body["label"])
        status = one.status(now)
        if body.get("state") == "stopped" and status != "stopped":
            one.line.append((now, "stopped", one.storage))
        if body.get("state") == "running" and status == "stopped":
            one.line.append((now, "up", one.price_at(now)))
        return done()

    def _bid(self, now: int, number: str, body: dict[str, Any]) -> Reply:
        one = self._found(number)
        if one is None:
            return problem(404, "no_such_instance", "Instance with that ID does not exist.")
        price = Decimal(str(body.get("price") or 0))
        if not Decimal("0.001") <= price <= 32 * int(str(one.extra.get("num_gpus", 1))):
            return problem(400, "invalid_args", "Please set a bid price >= 0.001.")
        one.extra["bid"] = float(price)
        self.machines.raise_price(one, now, int(price * NANO) + one.storage)
        return done()


def _path(asked: Asked) -> str:
    """The path without its version and its last slash."""
    return re.sub(r"^/api/v[01]", "", asked.path).rstrip("/")
