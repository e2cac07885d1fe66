"""Lambda Cloud's stand-in, by its OpenAPI 1.10.0. What that leaves open is decided so that it is
hardest for us: an end is refused until a machine has launched (409), one that ended is still listed
as "terminated" for a while, and a key's name can be taken only once."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable

from providers.lambdalabs.profile import PROFILE
from providers.rental.contract import Offer, Reply
from tests.emulators import lambda_stock
from tests.emulators.base import Asked
from tests.emulators.lambda_replies import (
    INVALID,
    NO_CAPACITY,
    NOT_THERE,
    actions,
    broken,
    data,
    error,
    event,
    is_tag,
)
from tests.emulators.machines import HOUR, MIN, Machine, Machines, S

API = "/api/v1"
MAX_LAG = 60 * S  # how old a listing may be, under the fault "lag"
HIDES = (5 * S, 100 * S)  # for how long a machine is missing, under "hides"
TERMINATED_SHOWN = 30 * S
END_TAKES = (0, 4 * S)
HOLD = 4 * S  # a 429 says nothing of how long it holds
LAUNCH_EVERY, CALL_EVERY = 12 * S, 1 * S
USER_DATA_BYTES = 1 << 20
# Never "placed": what has not launched can't be ended, for ever.
HANGS = ("image", "container", "sshd", "engine")
OPS = {
    ("GET", "instance-types"): "offers",
    ("GET", "ssh-keys"): "keys",
    ("POST", "ssh-keys"): "keys",
    ("POST", "instance-operations/launch"): "create",
    ("GET", "instances"): "list",
    ("POST", "instance-operations/terminate"): "terminate",
}


class LambdaEmulator:
    """One account. `limits`: it holds callers to the documented 1 request a second and 1 launch in
    12 s. `page_size`: listings have pages, which the OpenAPI does not say and its audit has."""

    def __init__(
        self,
        dice: random.Random,
        *,
        key: str = "secret_fleet_0123456789abcdef",
        limits: bool = False,
        page_size: int | None = None,
    ) -> None:
        self.profile = PROFILE
        self.dice, self.key, self.limits, self.page_size = dice, key, limits, page_size
        # By the minute, from when it has passed its health checks (docs.lambda.ai, billing).
        self.machines = Machines(
            dice, from_create=False, dead_man=False, billed_dead=True, step=MIN
        )
        self.ssh_keys: dict[str, dict[str, str]] = {}  # by id
        self.audit: list[dict[str, object]] = []
        self._last: dict[str, int] = {}  # the last call taken, of all and of launches

    def op(self, asked: Asked) -> str:
        return OPS.get((asked.method, self._tail(asked)), "")

    @staticmethod
    def _tail(asked: Asked) -> str:
        return asked.path.removeprefix(API).strip("/")

    def limited(self, now: int, asked: Asked) -> tuple[Reply, int]:
        return Reply(status=429), HOLD

    def outbid(self, machine_id: str, now: int) -> None:
        self.machines.turn(self.machines.all[machine_id], "preempted", now)

    def stock(self) -> list[Offer]:
        return lambda_stock.stock()

    def invoice(self, machine_id: str, now: int) -> int:
        """To the cent, half up."""
        exact = self.machines.all[machine_id].meter(now) // HOUR
        return (exact + lambda_stock.CENT // 2) // lambda_stock.CENT * lambda_stock.CENT

    def handle(self, now: int, asked: Asked, fault: str = "", by: str = "caller") -> Reply:
        self.machines.advance(now)
        if not asked.path.startswith(API + "/"):
            return Reply(status=404, body="not found")
        if asked.headers.get("authorization") not in self._logins():
            return error(401, "global/invalid-api-key")
        op = self.op(asked)
        if self.limits and self._too_soon(now, op):
            return self.limited(now, asked)[0]
        if op == "create":
            return self._launch(now, asked, fault, by)
        if op == "terminate":
            return self._terminate(now, asked, fault)
        if op == "list":
            return self._list(now, asked, fault)
        return self._other(now, asked)

    def _logins(self) -> tuple[str, ...]:
        basic = base64.b64encode(f"{self.key}:".encode()).decode()
        return f"Bearer {self.key}", f"Basic {basic}"

    def _too_soon(self, now: int, op: str) -> bool:
        rules = [("", CALL_EVERY), *([("create", LAUNCH_EVERY)] if op == "create" else [])]
        if any(now - self._last.get(name, -HOUR) < every for name, every in rules):
            return True
        self._last |= {name: now for name, _ in rules}
        return False

    # -- machines

    def _launch(self, now: int, asked: Asked, fault: str, by: str) -> Reply:
        body = asked.body if isinstance(asked.body, dict) else {}
        if refusal := self._refusal(body):
            return refusal
        kind, region = lambda_stock.BY_NAME[body["instance_type_name"]], body["region_name"]
        if fault == "no_capacity" or region not in kind[7]:
            return error(400, NO_CAPACITY)
        cents = -(-kind[2] * 12 // 10) if fault == "price_higher" else kind[2]
        hang = self.dice.choice(HANGS) if fault == "hang" else ""
        price = cents * lambda_stock.CENT
        label = body.get("name") or ""
        one = self.machines.make(label, now, price=price, storage=0, by=by, hang=hang)
        one.extra |= {
            "kind": kind[0],
            "region": region,
            "keys": list(body["ssh_key_names"]),
            "tags": list(body.get("tags") or []),
            "user_data": body.get("user_data"),
            "ip": f"198.51.100.{int(one.id) % 254 + 1}",
        }
        self._audits(now, "launch", one.id)
        return Reply(status=200, body={"data": {"instance_ids": [one.id]}})

    def _refusal(self, body: dict[str, object]) -> Reply | None:
        names, name = body.get("ssh_key_names"), body.get("name") or ""
        start, tags = body.get("user_data") or "", body.get("tags") or []
        if not isinstance(names, list) or len(names) != 1:
            return error(400, INVALID, "Exactly one SSH key must be specified.")
        if not isinstance(name, str) or len(name) > 64:
            return error(400, INVALID, "name must be 64 characters or fewer.")
        if not isinstance(start, str) or len(start.encode()) > USER_DATA_BYTES:
            return error(400, INVALID, "user_data cannot exceed 1MB.")
        if not isinstance(tags, list) or not all(is_tag(tag) for tag in tags):
            return error(400, INVALID, "a tag has a key and a value.")
        if body.get("instance_type_name") not in lambda_stock.BY_NAME:
            return error(404, NOT_THERE, "instance type")
        if body.get("region_name") not in lambda_stock.REGIONS:
            return error(400, INVALID, "region_name")
        if all(key["name"] != names[0] for key in self.ssh_keys.values()):
            return error(400, NOT_THERE, "SSH key")
        return None

    def _named(self, asked: Asked) -> list[Machine] | Reply:
        """The machines that a body names; all of them, or an error."""
        body = asked.body if isinstance(asked.body, dict) else {}
        ids = body.get("instance_ids")
        if not isinstance(ids, list) or not ids:
            return error(400, INVALID, "instance_ids")
        found = [self.machines.all.get(str(one)) for one in ids]
        live = [one for one in found if one is not None and one.ended is None]
        if len(live) < len(ids):
            return error(404, NOT_THERE, "Specified instance does not exist.")
        return live

    def _terminate(self, now: int, asked: Asked, fault: str) -> Reply:
        named = self._named(asked)
        if isinstance(named, Reply):
            return named
        if any(one.status(now) == "placing" for one in named):
            return error(409, "global/conflict", "Can't be terminated: vm-has-not-launched")
        if fault != "ignored":
            for one in named:
                self._ends(one, now)
        rows = [self.shape(one, now) for one in named]
        return Reply(status=200, body={"data": {"terminated_instances": rows}})

    def _ends(self, one: Machine, now: int) -> None:
        if "ending" not in one.extra:
            one.extra["ending"] = now
            self._audits(now, "terminate", one.id)
            end = self.machines.end
            self.machines.at(now + self.dice.randint(*END_TAKES), lambda now: end(one, now))

    # -- listings

    def _list(self, now: int, asked: Asked, fault: str) -> Reply:
        token = asked.query.get("page_token", "")
        if fault == "page_fails" and (token or self.page_size is None):
            return Reply(status=502, body="bad gateway")
        if odd := broken(fault):
            return odd
        if fault == "hides":
            self._hide(now)
        as_of = now - (self.dice.randint(0, MAX_LAG) if fault == "lag" else 0)
        shown = [one for one in self._shown(now, as_of) if one.id > token]
        page = shown[: self.page_size]
        body: dict[str, object] = {"data": [self.shape(one, as_of) for one in page]}
        if len(page) < len(shown):
            body["page_token"] = page[-1].id
        return Reply(status=200, body=body)

    def _shown(self, now: int, as_of: int) -> list[Machine]:
        gone = [
            one
            for one in self.machines.all.values()
            if one.ended is not None and 0 <= as_of - one.ended < TERMINATED_SHOWN
        ]
        return sorted([*self.machines.visible(now, as_of), *gone], key=lambda one: one.id)

    def _hide(self, now: int) -> None:
        """One of ours that was there is missing for a while; never twice in a short time."""
        live = [
            one
            for one in self.machines.all.values()
            if one.ended is None
            and one.by != "person"
            and max(one.hidden[1], one.created + MAX_LAG) < now - 75 * S
        ]
        if live:
            self.dice.choice(live).hidden = (now, now + self.dice.randint(*HIDES))

    def shape(self, one: Machine, at: int) -> dict[str, object]:
        """A machine as the API has it."""
        status, ending = one.status(at), one.extra.get("ending")
        kind = lambda_stock.BY_NAME[str(one.extra.get("kind", "gpu_1x_a10"))]
        price = one.price_at(at)
        whole = price % lambda_stock.CENT == 0
        cents = price // lambda_stock.CENT if whole else price / lambda_stock.CENT
        word = {"up": "active", "preempted": "preempted", "error": "unhealthy"}.get(
            status, "booting"
        )
        if isinstance(ending, int) and ending <= at:
            word = "terminating"
        if one.ended is not None and one.ended <= at:
            word = "terminated"
        row: dict[str, object] = {
            "id": one.id,
            "status": word,
            "ssh_key_names": one.extra.get("keys", []),
            "file_system_names": [],
            "region": lambda_stock.region_of(str(one.extra.get("region", "us-east-1"))),
            "instance_type": lambda_stock.type_of(kind, cents),
            "actions": actions(word, launched=status != "placing"),
        }
        row |= {"name": one.label} if one.label else {}
        row |= {"tags": one.extra["tags"]} if one.extra.get("tags") else {}
        if status not in ("placing", "image") and word != "terminated":
            row |= {"ip": one.extra.get("ip", "203.0.113.9"), "private_ip": "10.0.2.100"}
        return row

    # -- the rest

    def _other(self, now: int, asked: Asked) -> Reply:
        tail = self._tail(asked)
        routes: dict[tuple[str, str], Callable[[], Reply]] = {
            ("GET", "instance-types"): lambda: data(lambda_stock.types()),
            ("GET", "regions"): lambda: data([lambda_stock.region_of(r) for r in self._regions()]),
            ("GET", "ssh-keys"): lambda: data(list(self.ssh_keys.values())),
            ("POST", "ssh-keys"): lambda: self._add_key(asked),
            ("POST", "instance-operations/restart"): lambda: self._restart(now, asked),
            ("GET", "audit-events"): lambda: data({"events": self.audit, "page_token": None}),
        }
        if route := routes.get((asked.method, tail)):
            return route()
        room, _, one = tail.partition("/")
        if room == "instances" and one:
            return self._one(now, asked, one)
        if room == "ssh-keys" and asked.method == "DELETE":
            gone = self.ssh_keys.pop(one, None)
            return data({}) if gone else error(404, "global/not-found")
        return error(404, "global/not-found")

    @staticmethod
    def _regions() -> list[str]:
        return sorted(lambda_stock.REGIONS)

    def _one(self, now: int, asked: Asked, machine_id: str) -> Reply:
        one = self.machines.all.get(machine_id)
        if one is None or one not in self._shown(now, now):
            return error(404, NOT_THERE, "Specified instance does not exist.")
        if asked.method == "POST":
            name = asked.body.get("name") if isinstance(asked.body, dict) else None
            if not isinstance(name, str) or len(name) > 64:
                return error(400, INVALID, "name must be 64 characters or fewer.")
            one.label = name
        return data(self.shape(one, now))

    def _restart(self, now: int, asked: Asked) -> Reply:
        named = self._named(asked)
        if isinstance(named, Reply):
            return named
        if any(one.status(now) != "up" for one in named):
            return error(409, "global/conflict", "Can't be restarted: vm-action-in-progress")
        return data({"restarted_instances": [self.shape(one, now) for one in named]})

    def _add_key(self, asked: Asked) -> Reply:
        body = asked.body if isinstance(asked.body, dict) else {}
        name, public = body.get("name"), body.get("public_key")
        if not isinstance(name, str) or not 0 < len(name) <= 64:
            return error(400, INVALID, "name")
        if any(one["name"] == name for one in self.ssh_keys.values()):
            return error(400, INVALID, "There is a key of this name.")
        made = {} if isinstance(public, str) else {"private_key": "-----BEGIN …-----\n"}
        public = public if isinstance(public, str) else f"ssh-ed25519 {name.encode().hex()}"
        key_id = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        self.ssh_keys[key_id] = {"id": key_id, "name": name, "public_key": public}
        return data({**self.ssh_keys[key_id], **made})

    def _audits(self, now: int, action: str, machine_id: str) -> None:
        self.audit.append(event(len(self.audit), now, action, machine_id))
