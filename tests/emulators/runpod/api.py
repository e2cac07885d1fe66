"""The account: which request is which, who may ask, and what each call does to the machines."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from providers.rental.contract import Offer, Reply
from providers.runpod.profile import PROFILE
from tests.emulators.base import Asked
from tests.emulators.machines import Machine
from tests.emulators.runpod import billing, graphql, operations, pods, rules, stock
from tests.emulators.runpod.account import LAG_MS, Account

QUOTAS = {"minute": (60, 60), "hour": (3_000, 3_600), "day": (50_000, 86_400)}
POLICY = ", ".join(f'"{name}";q={quota};w={window}' for name, (quota, window) in QUOTAS.items())
TITLES = {
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 410: "Gone",
    422: "Unprocessable Entity", 429: "Too Many Requests",
}  # fmt: skip
MALFORMED: tuple[object, ...] = (
    {"pods": None}, {"pods": {}}, {"pods": [{"name": "no id"}]}, {"pods": ["text"]}, [], "<html>",
    {"pods": [], "pagination": {"hasNextPage": True, "nextCursor": None}},
)  # fmt: skip


class RunPodEmulator:
    """`page_size`: pods on a page; None answers without `pagination`, all at once."""

    def __init__(
        self, dice: random.Random, *, key: str = "rpa_of_nobody", page_size: int | None = 2
    ) -> None:
        self.profile = PROFILE
        self.dice, self.key, self.page_size = dice, key, page_size
        self.account = Account(dice)
        self.machines = self.account.machines
        self._asked = 0

    # What the protocol asks for

    def op(self, asked: Asked) -> str:
        path, method = asked.path.rstrip("/"), asked.method
        if path == "/graphql":
            return "create" if "podFindAndDeploy" in str(asked.body) else "balance"
        fixed = {
            ("GET", "/v2/pods"): "list",
            ("POST", "/v2/pods"): "create",
            ("GET", "/v2/billing/pods"): "charges",
        }
        if method == "GET" and path.startswith("/v2/catalog/gpus"):
            return "offers"
        if method == "DELETE" and path.startswith("/v2/pods/"):
            return "terminate"
        return fixed.get((method, path), "")

    def handle(self, now: int, asked: Asked, fault: str = "", by: str = "caller") -> Reply:
        self.machines.advance(now)
        if not self._known(asked):
            who = "invalid" if "authorization" in asked.headers else "missing"
            return self._send(_problem(401, f"{who} bearer token"), now)
        return self._send(self._route(now, asked, fault, by), now)

    def limited(self, now: int, asked: Asked) -> tuple[Reply, int]:
        """The minute is used up, and now and then the hour or the day as well; the longest holds.
        Retry-After tells of the first window alone."""
        minute, more = self.dice.randint(1, 12), self.dice.choice((0, 0, 0, 90))
        day = self.dice.choice((0, 0, 0, 0, 0, 0, 0, 150))
        windows = [("minute", 0, minute), ("hour", 7 * (not more), more or 1_724)]
        windows.append(("day", 400 * (not day), day or 40_000))
        shown = ", ".join(f'"{name}";r={left};t={t}' for name, left, t in windows)
        reply = _problem(429, "rate limit exceeded for the minute window")
        headers = {"retry-after": str(minute), "ratelimit": shown, "ratelimit-policy": POLICY}
        return self._send(reply, now, headers), 1000 * max(minute, more, day)

    def outbid(self, machine_id: str, now: int) -> None:
        """Nobody bids here; a host that is lost takes its pod the same way."""
        self.machines.turn(self.machines.all[machine_id], "error", now)

    def stock(self) -> list[Offer]:
        return stock.offers(self.account.free)

    def invoice(self, machine_id: str, now: int) -> int:
        return billing.invoice(self.machines.all[machine_id], now)

    # One request

    def _known(self, asked: Asked) -> bool:
        by_query = asked.path == "/graphql" and asked.query.get("api_key") == self.key
        return by_query or asked.headers.get("authorization") == f"Bearer {self.key}"

    def _send(self, reply: Reply, now: int, headers: dict[str, str] | None = None) -> Reply:
        self._asked += 1
        quota = ", ".join(
            f'"{name}";r={max(1, q - self._asked % q)};t={w - now // 1000 % w}'
            for name, (q, w) in QUOTAS.items()
        )
        known = {} if reply.status == 401 else {"ratelimit": quota, "ratelimit-policy": POLICY}
        said = {"x-request-id": f"req-{self._asked:08d}", **known, **reply.headers}
        return Reply(status=reply.status, body=reply.body, headers={**said, **(headers or {})})

    def _route(self, now: int, asked: Asked, fault: str, by: str) -> Reply:
        parts = [unquote(part) for part in asked.path.strip("/").split("/")]
        if parts == ["graphql"]:
            roots = operations.roots(self.account, now, fault, by)
            return Reply(status=200, body=graphql.answer(asked.body, roots))
        if parts[0] != "v2":
            return (
                _problem(410, "this API version has been retired") if parts[0] == "v1" else _lost()
            )
        whole = {
            ("GET", "pods"): lambda: self._list(now, asked, fault),
            ("POST", "pods"): lambda: self._create(now, asked.body, fault, by),
            ("GET", "catalog/gpus"): lambda: self._catalog(asked),
            ("GET", "billing/pods"): lambda: self._billing(now, asked),
            ("GET", "account/ssh-keys"): lambda: Reply(
                status=200, body={"keys": self.account.ssh_keys}
            ),
            ("PUT", "account/ssh-keys"): lambda: self._put_keys(asked.body),
        }
        do = whole.get((asked.method, "/".join(parts[1:])))
        if do is not None:
            return do()
        if parts[1:3] == ["catalog", "gpus"] and len(parts) == 4 and asked.method == "GET":
            return self._catalog(asked, parts[3])
        return self._pod(now, asked, parts[2:], fault) if parts[1] == "pods" else _lost()

    def _pod(self, now: int, asked: Asked, parts: list[str], fault: str) -> Reply:
        one = self.machines.all.get(parts[0]) if parts else None
        if one is None or one.ended is not None:
            return _problem(404, "pod not found")
        calls: dict[tuple[str, str], Callable[[], Reply]] = {
            ("GET", ""): lambda: Reply(status=200, body=pods.pod(one, now)),
            ("DELETE", ""): lambda: self._delete(now, one, fault),
            ("POST", "action"): lambda: self._action(now, one, asked.body, fault),
            ("GET", "logs"): lambda: _logs(one, now),
        }
        do = calls.get((asked.method, "/".join(parts[1:])))
        return do() if do is not None else _problem(405, "The requested method is not allowed.")

    # What each call does

    def _catalog(self, asked: Asked, only: str | None = None) -> Reply:
        query = asked.query
        included, product = query.get("include") == "AVAILABILITY", query.get("product")
        if included != (product is not None):
            return _problem(400, "include=AVAILABILITY and product require each other")
        if not included and ("count" in query or "cloud" in query):
            return _problem(400, "count and cloud require include=AVAILABILITY")
        cloud, count = query.get("cloud", "SECURE"), int(query.get("count", "1"))
        if only is not None and only not in stock.BY_ID:
            return _problem(404, "gpu type not found")
        shown = []
        for gpu in stock.GPUS if only is None else (stock.BY_ID[only],):
            free = stock.free_of(gpu, cloud, self.account.free)
            shown.append(stock.entry(gpu, free if included else None, count, cloud))
        return Reply(status=200, body=shown[0] if only is not None else {"gpus": shown})

    def _create(self, now: int, body: Any, fault: str, by: str) -> Reply:
        if errors := rules.create_errors(body):
            return _problem(422, "Request validation failed.", errors)
        if broken := rules.create_rule(body):
            return _problem(400, broken)
        if self.account.left(now) <= 0:
            return _problem(402, "insufficient balance")
        made = self.account.make(now, body, fault, by)
        if made is None:
            return _problem(400, stock.NO_CAPACITY)
        return Reply(status=201, body=pods.pod(made, now))

    def _list(self, now: int, asked: Asked, fault: str) -> Reply:
        cursor = asked.query.get("cursor", "")
        broken = {
            "empty": Reply(status=200, body=""),
            "success_false": Reply(status=200, body={"success": False, "error": "deprecated"}),
            "retired": _problem(410, "this API version has been retired"),
            "malformed": Reply(status=200, body=self.dice.choice(MALFORMED)),
        }
        if fault in broken:
            return broken[fault]
        if fault == "page_fails" and cursor:
            return Reply(status=502, body="bad gateway")
        if fault == "hides":
            self.account.hide(now)
        as_of = now - (self.dice.randint(0, LAG_MS) if fault == "lag" else 0)
        clusters = asked.query.get("includeClusterPods") == "true"
        shown = [one for one in self.machines.visible(now, as_of) if one.id > cursor]
        shown = [one for one in shown if clusters or "cluster" not in one.extra]
        return Reply(status=200, body=self._paged([pods.pod(one, as_of) for one in shown]))

    def _paged(self, shown: list[dict[str, Any]]) -> dict[str, Any]:
        if self.page_size is None:
            return {"pods": shown}
        page, more = shown[: self.page_size], len(shown) > self.page_size
        after = page[-1]["id"] if more else None
        return {"pods": page, "pagination": {"hasNextPage": more, "nextCursor": after}}

    def _delete(self, now: int, one: Machine, fault: str) -> Reply:
        if "cluster" in one.extra:
            return _problem(409, "pod is a cluster member: delete the cluster")
        self.account.end(now, one, fault)
        return Reply(status=204)

    def _action(self, now: int, one: Machine, body: Any, fault: str) -> Reply:
        if errors := rules.action_errors(body):
            return _problem(422, "Request validation failed.", errors)
        action = body["action"]
        if action == "terminate":
            return self._delete(now, one, fault)
        locked = action == "stop" and one.extra.get("locked")
        if action not in pods.ACTIONS[pods.WORDS[one.status(now)]] or locked:
            return _problem(409, f"{action} is not valid for the pod's current status")
        to_stop = action == "stop"
        rate = one.storage if to_stop else one.price_at(now)
        one.line.append((now, "stopped" if to_stop else "up", rate))
        return Reply(status=200, body=pods.pod(one, now))

    def _billing(self, now: int, asked: Asked) -> Reply:
        try:
            every = self.machines.all.values()
            body = billing.records(every, asked.query, now, self.account.late_ms)
        except billing.BadQuery as bad:
            return _problem(400, str(bad))
        return Reply(status=200, body=body)

    def _put_keys(self, body: Any) -> Reply:
        if errors := rules.keys_errors(body):
            return _problem(422, "Request validation failed.", errors)
        self.account.ssh_keys = list(body["keys"])
        return Reply(status=200, body={"keys": self.account.ssh_keys})


def _problem(status: int, detail: str, errors: list[str] | None = None) -> Reply:
    body: dict[str, Any] = {"title": TITLES[status], "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return Reply(status=status, body=body, headers={"content-type": "application/problem+json"})


def _lost() -> Reply:
    return _problem(404, "resource not found")


def _logs(one: Machine, now: int) -> Reply:
    """Two lines of its log as server-sent events, and the end of the stream."""
    at = pods.text(now)
    lines = (("system", "create container"), ("container", f"{one.label} is up"))
    events = [
        f'id: {at}\ndata: {{"source": "{source}", "line": "{line}", "ts": "{at}"}}\n\n'
        for source, line in lines
    ]
    return Reply(status=200, body="".join(events), headers={"content-type": "text/event-stream"})
