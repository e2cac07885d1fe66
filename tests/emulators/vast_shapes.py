"""How Vast.ai's stand-in shows a machine, and what it charged for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, cast

from providers.rental.contract import Reply, Status
from tests.emulators.machines import HOUR, Machine, S

# Seconds that must lie between two calls, by what a 429 of it says.
THRESHOLD = {"create": 4.5, "terminate": 3.0, "list": 1.0, "charges": 1.0, "offers": 6.0}
PENALTY = 12 * S  # more on a create
DAY = 24 * HOUR
NANO = 10**9
MILLI_USD = 10**6
MAX_ONSTART = 4096
MAX_LABEL = 256
LEAST_DISK = 8
ACTUAL: dict[Status, str | None] = {
    "placing": None,
    "image": "loading",
    "container": "created",
    "up": "running",
    "stopped": "exited",
    "exited": "exited",
    "preempted": "exited",
    "error": "unknown",
    "terminating": "exited",
}
HALTED = ("stopped", "preempted")


def problem(status: int, error: str, msg: str, **more: object) -> Reply:
    return Reply(status=status, body={"success": False, "error": error, "msg": msg, **more})


def done(**more: object) -> Reply:
    return Reply(status=200, body={"success": True, **more})


def limits(op: str, now: int) -> list[tuple[Reply, int]]:
    """Every shape of a 429, and for how many ms it holds."""
    seconds = THRESHOLD.get(op, 1.0)
    hold = int(seconds * S) + (PENALTY if op == "create" else 0)
    words = f"API requests too frequent: endpoint threshold={seconds}"
    shapes = [
        (Reply(status=429, body=words), hold),
        (Reply(status=429, body={"detail": words.replace(":", "")}), hold),
        (problem(429, "rate_limit_exceeded", words), hold),
        (Reply(status=429, body="", headers={"Retry-After": "7"}), 7 * S),
        (Reply(status=429, body={"detail": "too frequent"}), 4 * S),
    ]
    if op == "offers":
        quota = problem(429, "search_quota_exceeded", "daily search quota exceeded")
        shapes.append((quota, DAY - now % DAY))
    return shapes


def row_of(one: Machine, t: int, ssh: tuple[str, int]) -> dict[str, object]:
    """A machine as a listing of the state at `t` shows it."""
    status, price = one.status(t), one.price_at(t)
    halted = status in HALTED
    word = "stopped" if halted else "running"
    extra, up = one.extra, status == "up"
    return {
        "id": int(one.id),
        "label": one.label or None,
        "actual_status": "stopped" if halted and one.spot else ACTUAL[status],
        "intended_status": word,
        "cur_state": word,
        "next_state": word,
        "status_msg": extra.get("status_msg"),
        "machine_id": int(one.host_id) if one.host_id.isdigit() else None,
        "gpu_name": extra.get("gpu_name"),
        "gpu_ram": extra.get("gpu_ram"),
        "num_gpus": extra.get("num_gpus", 1),
        "image_uuid": extra.get("image"),
        "image_runtype": extra.get("runtype", "ssh"),
        "onstart": extra.get("onstart"),
        "extra_env": [[k, v] for k, v in cast(dict[str, str], extra.get("env", {})).items()],
        "is_bid": one.spot,
        "min_bid": extra.get("min_bid"),
        "bid": extra.get("bid"),
        "dph_base": (price - one.storage) / NANO,
        "dph_total": price / NANO,
        "storage_cost": extra.get("storage_cost"),
        "storage_total_cost": one.storage / NANO,
        "disk_space": extra.get("disk"),
        "start_date": one.created / 1000,
        "end_date": 1_893_456_000.0,
        "duration": 86_400.0,
        "uptime_mins": None,
        "local_ipaddrs": "10.2.202.31 172.17.0.1 \n",
        "public_ipaddr": ssh[0],
        "ssh_host": "ssh5.vast.example",
        "ssh_port": 10_000 + int(one.id) % 50_000,
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": str(ssh[1])}]} if up else None,
        "geolocation": "Sweden, SE",
        "reliability2": 0.995,
    }


def charged(one: Machine, begin: int, end: int) -> dict[str, int]:
    """Milli-dollars of a stretch of time: in all, and of the accelerators and the disk alone. The
    sum is rounded by itself."""
    total = one.meter(end, begin) // HOUR
    line = [*one.line, (max(end, one.line[-1][0]), one.line[-1][1], 0)]
    disk = 0
    for (a, _, rate), (b, _, _) in zip(line, line[1:], strict=False):
        disk += min(rate, one.storage) * max(0, min(b, end) - max(a, begin))
    disk //= HOUR
    return {"amount": _milli(total), "gpu": _milli(total - disk), "disk": _milli(disk)}


def _milli(nano: int) -> int:
    return (nano + MILLI_USD // 2) // MILLI_USD


def charge_row(one: Machine, begin: int, end: int) -> dict[str, object]:
    amounts = charged(one, begin, end)
    first, last = max(begin, one.created) // 1000, min(end, one.ended or end) // 1000
    items: list[dict[str, object]] = [
        {
            "start": first,
            "end": last,
            "type": kind,
            "source": None,
            "description": f"{(last - first) / 3600:.3f} hours",
            "amount": amounts[kind] / 1000,
            "metadata": {},
            "items": [],
        }
        for kind in ("gpu", "disk")
    ]
    return {
        "start": first,
        "end": last,
        "type": "instance",
        "source": f"instance-{int(one.id)}",
        "description": f"Instance {int(one.id)} Charges",
        "amount": amounts["amount"] / 1000,
        "metadata": {"label": one.label} if one.label else {},
        "items": items,
    }


# What is no page of a listing.
MALFORMED = (
    Reply(status=200, body={"success": True, "instances": None}),
    Reply(status=200, body={"instances": "none"}),
    Reply(status=200, body={"success": True, "instances": [{"label": "x"}], "total_instances": 1}),
    Reply(status=200, body={"success": True, "instances": [], "instances_found": 3}),
    Reply(status=200, body=[]),
)


def token_of(value: int) -> str:
    return base64.b64encode(json.dumps({"values": {"id": value}}).encode()).decode()


def read_token(token: str) -> int | None:
    """The id after which a page begins; None of what is no token."""
    try:
        return int(json.loads(base64.b64decode(token, validate=True))["values"]["id"])
    except (ValueError, KeyError, TypeError):
        return None


def asked_json(query: Mapping[str, str], name: str) -> object:
    """A query's value that is JSON; {} where there is none."""
    try:
        return json.loads(query.get(name, "{}"))
    except ValueError:
        return {}


def wrong_create(body: dict[str, Any]) -> str:
    """The code by which a create is refused, "" for none."""
    image, label = body.get("image"), str(body.get("label") or "")
    length = len(str(body.get("onstart") or "")) + sum(len(a) for a in body.get("args") or [])
    if not isinstance(image, str) or not image or len(label) > MAX_LABEL or length > MAX_ONSTART:
        return "invalid_args"
    if float(body.get("disk", LEAST_DISK)) < LEAST_DISK:
        return "invalid_args"
    price = body.get("price")
    if price is not None and not 0.001 <= float(price) <= 128:
        return "invalid_price"
    return ""
