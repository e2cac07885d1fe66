"""What API v2 takes as the body of a create: 422 for what is not of the schema, 400 for a rule."""

from __future__ import annotations

import re

TEXT, WHOLE, FLAG, TEXTS, PAIRS, THING = "string", "integer", "boolean", "texts", "pairs", "object"
NAMED = "string or null"
CREATE = {
    "name": TEXT, "image": TEXT, "templateId": TEXT, "args": TEXT, "disk": WHOLE, "ports": TEXTS,
    "env": PAIRS, "registry": NAMED, "cloud": TEXT, "gpu": THING, "cpu": THING, "mounts": THING,
    "dataCenterIds": TEXTS, "globalNetworking": FLAG, "startSsh": FLAG, "startJupyter": FLAG,
}  # fmt: skip
GPU = {"id": TEXT, "count": WHOLE, "allowedCudaVersions": TEXTS, "minCudaVersion": TEXT}
MOUNTS = {"persistent": THING, "network": "array"}
PERSISTENT = {"size": WHOLE, "path": TEXT}
KEY = re.compile(r"(ssh|ecdsa|sk)-[^\s]+ [^\s]+([ \t][^\n\r]*)?")
ACTIONS = ("start", "stop", "restart", "terminate")


def is_a(value: object, kind: str) -> bool:
    if kind in (TEXT, NAMED):
        return isinstance(value, str) or (kind == NAMED and value is None)
    if kind == WHOLE:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == PAIRS:
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    return isinstance(value, list if kind == "array" else dict)


def against(body: object, fields: dict[str, str], at: str = "$") -> list[str]:
    """Each way in which an object is not of its schema."""
    if not isinstance(body, dict):
        return [f"{at}: expected object"]
    unknown = [f"{at}: additional properties '{k}' not allowed" for k in body if k not in fields]
    wrong = [
        f"{at}.{name}: expected {kind}"
        for name, kind in fields.items()
        if name in body and not is_a(body[name], kind)
    ]
    return unknown + wrong


def create_errors(body: object) -> list[str]:
    """What makes a create a 422; [] where nothing does."""
    errors = against(body, CREATE)
    if errors or not isinstance(body, dict):
        return errors
    if not body.get("name"):
        errors.append("$: missing property 'name'")
    if "image" not in body and "templateId" not in body:
        errors.append("$: missing property 'image'")
    if body.get("cloud", "SECURE") not in ("SECURE", "COMMUNITY"):
        errors.append("$.cloud: value must be one of 'SECURE', 'COMMUNITY'")
    if "gpu" in body:
        errors += against(body["gpu"], GPU, "$.gpu")
        errors += [] if body["gpu"].get("id") else ["$.gpu: missing property 'id'"]
    if "mounts" in body:
        errors += against(body["mounts"], MOUNTS, "$.mounts")
        errors += _persistent(body["mounts"].get("persistent"))
    return errors


def _persistent(value: object) -> list[str]:
    if value is None:
        return []
    at = "$.mounts.persistent"
    errors = against(value, PERSISTENT, at)
    if not errors and isinstance(value, dict) and set(value) != set(PERSISTENT):
        errors.append(f"{at}: missing properties")
    elif not errors and isinstance(value, dict) and value["size"] < 10:
        errors.append(f"{at}.size: minimum: got {value['size']}, want 10")
    return errors


def create_rule(body: dict[str, object]) -> str:
    """The rule between fields that a body breaks, "" for none."""
    mounts, gpu = body.get("mounts"), body.get("gpu")
    if body.get("image") == "":
        return "image must not be empty"
    if ("gpu" in body) == ("cpu" in body):
        return "exactly one of gpu or cpu must be set"
    if isinstance(mounts, dict) and "persistent" in mounts and "network" in mounts:
        return "mounts.persistent and mounts.network are mutually exclusive"
    if isinstance(gpu, dict) and gpu.get("allowedCudaVersions") and "minCudaVersion" in gpu:
        return "allowedCudaVersions and minCudaVersion are mutually exclusive"
    return ""


def keys_errors(body: object) -> list[str]:
    errors = against(body, {"keys": TEXTS})
    if errors or not isinstance(body, dict):
        return errors
    if "keys" not in body:
        return ["$: missing property 'keys'"]
    return [f"$.keys[{i}]: does not match pattern"
            for i, key in enumerate(body["keys"]) if not KEY.fullmatch(key)]  # fmt: skip


def action_errors(body: object) -> list[str]:
    errors = against(body, {"action": TEXT})
    if not errors and isinstance(body, dict) and body.get("action") not in ACTIONS:
        errors.append("$.action: value must be one of " + ", ".join(ACTIONS))
    return errors
