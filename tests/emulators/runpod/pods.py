"""A machine as a pod of API v2, and the dead-man that its arguments hold."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

from tests.emulators.machines import Machine
from tests.emulators.runpod.stock import dollars

WORDS = {
    "placing": "PROVISIONING",
    "image": "STARTING",
    "container": "STARTING",
    "up": "RUNNING",
    "exited": "RUNNING",
    "stopped": "EXITED",
    "error": "ERROR",
    "terminating": "TERMINATED",
}
ACTIONS = {
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "TERMINATED": [],
}
# Of a machine that a test put there by hand.
PLAIN = {
    "image": "a-person/image", "args": "", "disk": 0, "ports": ["22/tcp"], "env": {}, "mounts": {},
    "gpu_id": "NVIDIA GeForce RTX 4090", "count": 1, "cloud": "SECURE", "centre": "US-KS-2",
    "beside": 0,
}  # fmt: skip
NO_DEAD_MAN = (10**12, 10**12)
_SCRIPT = re.compile(r"echo ([A-Za-z0-9+/=]{1,100000}) \| base64 -d")
_LIMITS = re.compile(r"B\)\) -ge (\d{1,12}) \] .*C\)\) -ge (\d{1,12}) \]")


def text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def dead_man(args: str) -> tuple[int, int]:
    """(life, lease) in ms, as the boot script in a pod's arguments has them."""
    packed = _SCRIPT.search(args)
    script = base64.b64decode(packed[1]).decode() if packed else ""
    found = _LIMITS.search(script)
    ends = "-X DELETE" in script and "$RUNPOD_POD_ID" in script and "$RUNPOD_API_KEY" in script
    return (int(found[1]) * 1000, int(found[2]) * 1000) if found and ends else NO_DEAD_MAN


def pod(one: Machine, t: int) -> dict[str, Any]:
    """How it is shown at `t`. `cost` is the compute alone: disks are billed beside it."""
    extra: dict[str, Any] = {**PLAIN, **one.extra}
    status = one.status(t)
    word = WORDS[status]
    placed = status != "placing"
    began = max(one.created, one.boots.get("image", one.created))
    started = status in ("container", "up", "exited", "stopped", "error")
    shown = {
        "id": one.id,
        "name": one.label,
        "image": extra["image"],
        "args": extra["args"],
        "disk": extra["disk"],
        "ports": extra["ports"],
        "env": extra["env"],
        "registry": None,
        "status": word,
        "actions": ACTIONS[word],
        "mounts": extra["mounts"],
        "gpu": {"id": extra["gpu_id"], "count": extra["count"]},
        "cloud": extra["cloud"],
        "dataCenterId": extra["centre"] if placed else None,
        "cudaVersion": "12.8" if placed else None,
        "ssh": _ssh(one, status, opened="22/tcp" in extra["ports"]),
        "template": None,
        "cost": dollars(one.price_at(t) - extra["beside"]) if _costs(word) else 0.0,
        "locked": extra.get("locked", False),
        "globalNetworking": {"enabled": False},
        "runtime": _runtime(one, t) if status == "up" else None,
        "createdAt": text(one.created),
        "startedAt": text(began) if started else None,
    }
    if "cluster" in extra:
        shown["cluster"] = extra["cluster"]
    return shown


def _costs(word: str) -> bool:
    return word not in ("EXITED", "TERMINATED")


def _ssh(one: Machine, status: str, *, opened: bool) -> dict[str, Any]:
    """Its own port once the container runs; extra["ssh"] says where a real sshd stands for it."""
    proxy = endpoint("ssh.runpod.io", 22, f"{one.id}-64411eb2") if status != "placing" else None
    host, port = address(one)
    return {"proxy": proxy, "direct": endpoint(host, port) if opened and status == "up" else None}


def address(one: Machine) -> tuple[str, int]:
    """(host, port) of its sshd."""
    placed: Any = one.extra.get("ssh", ("203.0.113.7", 30_000 + int(one.id[-4:])))
    return str(placed[0]), int(placed[1])


def endpoint(host: str, port: int, user: str = "root") -> dict[str, object]:
    flag = "" if port == 22 else f" -p {port}"
    command = f"ssh {user}@{host}{flag}"
    return {"host": host, "port": port, "username": user, "command": command}


def _runtime(one: Machine, t: int) -> dict[str, Any]:
    host, port = address(one)
    idle = {"percent": 0}
    return {
        "uptime": max(0, t - one.boots.get("container", one.created)) // 1000,
        "gpus": [],
        "cpu": idle,
        "memory": idle,
        "ports": [{"private": 22, "public": port, "type": "tcp", "ip": host}],
    }
