"""A daemon with accounts at clouds that says what it is told to, and rows that never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mathcore.units import GIB, NUSD
from mesh.api.errors import RequestError

NOW = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC
MINUTE, HOUR = 60_000, 3_600_000


class Clouds:
    """Answers by path; a list is played from its front, its last one stays. `posted` notes what was
    sent."""

    pid = 4242
    url = "http://127.0.0.1:7420"

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "/v1/clouds": {"clouds": [cloud("vastai")]},
            "/v1/clouds/keys": {"clouds": [cloud("vastai")]},
            "/v1/offers": {"offers": [offer()]},
            "/v1/orphans": {"orphans": []},
            "/v1/rentals": found(),
        }
        self.posted: list[tuple[str, Mapping[str, object]]] = []
        self.asked: list[str] = []

    def get(self, path: str) -> Any:
        self.asked.append(path)
        return self._answer(path.partition("?")[0])

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        self.posted.append((path, dict(body or {})))
        return self._answer(f"POST {path}" if f"POST {path}" in self.answers else path)

    def _answer(self, path: str) -> Any:
        known = self.answers[path]
        if isinstance(known, list):
            known = known.pop(0) if len(known) > 1 else known[0]
        if isinstance(known, Callable):  # type: ignore[arg-type]
            known = known()
        if isinstance(known, BaseException):
            raise known
        return known


def cloud(name: str, **changes: object) -> dict[str, Any]:
    """What is said of a cloud that works, as `mesh.edge.clouds.checking` does."""
    titles = {"vastai": "Vast.ai", "runpod": "RunPod", "lambdalabs": "Lambda Cloud"}
    names = {"vastai": "VAST", "runpod": "RUNPOD", "lambdalabs": "LAMBDA"}
    return {
        "provider": name,
        "title": titles[name],
        "account": "0123456789",
        "key_from": f"{names[name]}_API_KEY",
        "state": "ready",
        "text": "",
        "hint": "",
        "owns": True,
        "listed_ms_ago": 9_000,
        "machines": 2,
        "seen": True,
        "has_dead_man": name != "lambdalabs",
        "has_charges": name != "lambdalabs",
        "has_images": name != "lambdalabs",
        **changes,
    }


def no_key(name: str) -> dict[str, Any]:
    variable = {"vastai": "VAST", "runpod": "RUNPOD", "lambdalabs": "LAMBDA"}[name]
    hint = f"fleet clouds login {name}, or set {variable}_API_KEY"
    has = ("has_dead_man", "has_charges", "has_images")
    none = dict.fromkeys(("account", "key_from", "owns", "listed_ms_ago", "machines", *has))
    return cloud(name, **none, state="no_key", text="no key", hint=hint, seen=False)


def offer(dollars: float = 0.34, **changes: object) -> dict[str, Any]:
    """As much of a row of `fleet offers` as renting reads."""
    return {
        "owned": False,
        "provider": "vastai",
        "offer": "31415926",
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "hourly_nusd": int(dollars * NUSD),
        "spot": False,
        "source": "offer",
        **changes,
    }


def rental(**changes: object) -> dict[str, Any]:
    """One that runs since twenty minutes."""
    return {
        "rental_id": "r7k2m9x1x1xq8w3e5t7",
        "request_id": "r7k2m9",
        "job_id": None,
        "provider": "vastai",
        "account": "0123456789",
        "peer": "workstation",
        "instance": "27182818",
        "label": "fl-ab12cd34-r7k2m9x1x1xq8w3e5t7-6ab0f5c0",
        "state": "running",
        "why": "started",
        "since_ms": NOW - 20 * MINUTE,
        "step": "engine",
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "memory_bytes": 24 * GIB,
        "region": "Texas, US",
        "spot": False,
        "host": "vast-r7k2m9",
        "devices": ["vast-r7k2m9", "vast-r7k2m9-gpu0"],
        "made_ms": NOW - 25 * MINUTE,
        "expires_ms": NOW + 100 * MINUTE,
        "alarms": 0,
        "quote_nusd": 340_000_000,
        "price_nusd": 341_200_000,
        "rate_nusd": 341_200_000,
        "reserved_nusd": 743_750_000,
        "cost_nusd": 121_300_000,
        "basis": "metered",
        "metered_nusd": 121_300_000,
        "metered_less_nusd": 1_200_000,
        "metered_more_nusd": 0,
        "billed_step_ms": 1,
        "invoiced_nusd": None,
        "invoice_step_nusd": None,
        "difference_nusd": None,
        **changes,
    }


BOOTS = rental(
    rental_id="b00t5x1x2xaaaaaaaa",
    request_id="b00t5",
    provider="runpod",
    instance="pod-8s7d6f",
    state="booting",
    why="image",
    step="image",
    gpu="A100 80GB PCIe",
    gpu_count=2,
    host=None,
    devices=[],
    quote_nusd=2_780_000_000,
    price_nusd=None,
    rate_nusd=2_780_000_000,
    cost_nusd=92_000_000,
    metered_nusd=92_000_000,
)
STUCK = rental(
    rental_id="5tuckx1x1xbbbbbbbb",
    request_id="5tuck",
    state="terminating_unconfirmed",
    why="budget_sshd",
    host=None,
    devices=[],
    expires_ms=NOW - MINUTE,
    alarms=2,
)
FOUND = rental(
    rental_id="0rphanx1x1xcccccccc",
    request_id=None,
    peer=None,
    instance="16180339",
    state="provisioning",
    why="orphan_found",
    step=None,
    gpu=None,
    gpu_count=None,
    memory_bytes=None,
    host=None,
    devices=[],
    quote_nusd=None,
    price_nusd=None,
    rate_nusd=0,
    reserved_nusd=0,
    cost_nusd=0,
    metered_nusd=0,
    metered_less_nusd=0,
)
GONE = rental(
    rental_id="d0nex1x1xdddddddd",
    request_id="d0ne",
    state="absent",
    why="job_done",
    host=None,
    devices=[],
    rate_nusd=0,
    metered_more_nusd=340_000,
    basis="invoiced",
    cost_nusd=119_000_000,
    invoiced_nusd=119_000_000,
    invoice_step_nusd=1_000_000,
    difference_nusd=-2_300_000,
)
LAMBDA = rental(
    rental_id="1ambdax1x1xeeeeeeee",
    request_id="1ambda",
    provider="lambdalabs",
    billed_step_ms=60_000,
    instance="0920582c7ff041399e34823a0be62549",
    state="absent",
    why="cancelled",
    gpu="A10",
    host=None,
    devices=[],
    price_nusd=None,
    rate_nusd=0,
    metered_less_nusd=0,
)


def request(request_id: str = "r7k2m9", waits_for: str | None = None) -> dict[str, Any]:
    return {"request_id": request_id, "provider": "vastai", "waits_for": waits_for}


def found(*rows: dict[str, Any], **changes: object) -> dict[str, Any]:
    """What `GET /v1/rentals` answers."""
    return {
        "rentals": list(rows),
        "requests": [],
        "alarms": [],
        "hourly_nusd": sum(row["rate_nusd"] for row in rows),
        "cost_nusd": sum(row["cost_nusd"] for row in rows),
        **changes,
    }


def orphan(**changes: object) -> dict[str, Any]:
    return {
        "provider": "vastai",
        "account": "0123456789",
        "instance": "16180339",
        "label": "fl-ab12cd34-0rphanx1x1xcccccccc-6ab0f5c0",
        "status": "up",
        "rate_nusd": 341_200_000,
        "expires_ms": NOW - HOUR,
        "expired": True,
        "known": None,
        "why": None,
        **changes,
    }


def refusal(code: str, text: str, hint: str, status: int = 409) -> RequestError:
    return RequestError(code, text, hint, status)
