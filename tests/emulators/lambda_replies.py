"""Replies of Lambda Cloud's stand-in, in the API's own shapes."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from providers.rental.contract import Reply

INVALID = "global/invalid-parameters"
NOT_THERE = "global/object-does-not-exist"
NO_CAPACITY = "instance-operations/launch/insufficient-capacity"
TAG_KEY = re.compile(r"[a-z][a-z0-9-:]{1,54}")
TEXTS = {
    NO_CAPACITY: "Not enough capacity for the launch.",
    "global/object-does-not-exist": "The object does not exist.",
    "global/invalid-parameters": "Invalid request data.",
    "global/invalid-api-key": "API key was invalid, expired, or deleted.",
    "global/not-found": "The requested resource was not found.",
}


def error(status: int, code: str, said: str = "") -> Reply:
    """An error in the API's shape."""
    body = {"code": code, "message": said or TEXTS.get(code, code), "suggestion": "Try again."}
    return Reply(status=status, body={"error": body})


def event(number: int, now: int, action: str, machine_id: str) -> dict[str, object]:
    """An entry of the account's audit."""
    return {
        "service_name": "cloud",
        "resource_name": "instance",
        "action": action,
        "catalog_version": "1",
        "event_id": f"{number:032x}",
        "event_time": datetime.fromtimestamp(now / 1000, UTC).isoformat(),
        "actor_lrn": None,
        "resource_lrns": [f"lrn:cloud:instance:{machine_id}"],
        "resource_owner_lrn": None,
        "request_api_key_lrn": None,
        "additional_details": {},
    }


def data(value: object) -> Reply:
    """A success."""
    return Reply(status=200, body={"data": value})


def is_tag(tag: object) -> bool:
    """Whether it is one as the API takes them."""
    key = tag.get("key") if isinstance(tag, dict) else None
    value = tag.get("value") if isinstance(tag, dict) else None
    good = isinstance(key, str) and TAG_KEY.fullmatch(key) is not None
    return good and isinstance(value, str) and len(value) <= 128


def broken(fault: str) -> Reply | None:
    """A listing that is none."""
    return {
        "retired": error(410, "global/not-found", "This version of the API has ended."),
        "success_false": Reply(status=200, body={"error": {"code": "global/internal-error"}}),
        "empty": Reply(status=200, body=""),
        "malformed": Reply(status=200, body={"data": [{"id": 7, "status": "active"}]}),
    }.get(fault)


def actions(word: str, *, launched: bool) -> dict[str, object]:
    """What can be done with a machine now."""
    reason = ""
    if word in ("terminating", "terminated"):
        reason = "vm-is-terminating"
    elif not launched:
        reason = "vm-has-not-launched"
    blocked = {"available": False, "reason_code": reason, "reason_description": f"{reason}."}
    names = ("migrate", "rebuild", "restart", "cold_reboot", "terminate")
    return {name: blocked if reason else {"available": True} for name in names}
