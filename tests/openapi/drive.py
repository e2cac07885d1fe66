"""Schemathesis against a real daemon in a home of its own: scripts/test-openapi starts it.

No 5xx, and every answer as the document has it: status, content type, shape of errors. Asked is
every GET that ends, and each POST that reaches no other machine, starts no program and opens no
port of this one.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mesh.cli.client import Daemon
from mesh.client import Fleet
from scripts.openapi_doc import daemon

HARMLESS = (
    "/v1/plan", "/v1/capacity", "/v1/sweep", "/v1/compare", "/v1/notes", "/v1/devices",
    "/v1/devices/{id}/drain", "/v1/devices/{id}/resume", "/v1/devices/{id}/reserve",
    "/v1/devices/{id}/unreserve", "/v1/devices/{id}/remove", "/v1/rates/{what}", "/v1/budgets",
    "/v1/budgets/grants", "/v1/keys", "/v1/keys/{id}/revoke", "/v1/invites", "/v1/import",
    "/v1/jobs/{id}/cancel", "/v1/jobs/{id}/forget", "/v1/jobs/{id}/adopt",
    "/v1/peers/{id}/accept", "/v1/peers/{id}/ignore", "/v1/peers/{id}/remove",
    "/v1/peers/{id}/rename", "/v1/peers/{id}/role", "/v1/rentals/{id}/return",
    "/v1/services/{id}/end", "/v1/proxies/close", "/v1/ssh/{name}/remove", "/v1/recovery",
)  # fmt: skip
# Streams, which do not end.
ENDLESS = ("/v1/events", "/v1/telemetry", "/v1/jobs/{id}/logs", "/v1/jobs/{id}/answer")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance,negative_data_rejection,ignored_auth,"
    "unsupported_method"
)
# What a model, a file or a cloud would be reached by.
KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONSAFEPATH",
    "FLEET_COMPILED",
)


def seeded(fleet: Fleet) -> dict[str, str]:
    """Things there are, so that not every answer is "there is none": ids by the path's begin."""
    job = fleet.run(command=["echo", "hello"]).wait(60)
    device = fleet.post("/v1/devices", {"name": "rig", "gpu": "RTX 4090"})
    key = fleet.post("/v1/keys", {"name": "ci"})
    fleet.post("/v1/invites")  # founds a fleet of one
    (me,) = fleet.peers()
    return {
        "/v1/jobs/": job.id,
        "/v1/devices/": device["device_id"],
        "/v1/keys/": key["key_id"],
        "/v1/peers/": me["peer_id"],
    }


def settings(ids: Mapping[str, str]) -> str:
    """The configuration that has schemathesis ask about them."""
    return "".join(
        f'[[operations]]\ninclude-path-regex = "^{path}"\nparameters = {{ id = "{one}" }}\n'
        for path, one in ids.items()
    )


def left_out(document: Any) -> Iterator[str]:
    """The operations that are not asked."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path in ENDLESS or (method == "post" and path not in HARMLESS):
                yield operation["operationId"]


def words(program: str, to: Daemon, config: Path) -> list[str]:
    """The command line."""
    found = [
        program,
        "--config-file",
        str(config),
        "run",
        f"{to.url}/v1/openapi.json",
        "--url",
        to.url,
        "--checks",
        CHECKS,
    ]
    found += ["--header", f"Authorization:Bearer {to.token}", "--continue-on-failure"]
    found += ["--phases", "examples,coverage,fuzzing", "--seed", "1", "--request-timeout", "60"]
    names = left_out(to.get("/v1/openapi.json"))
    return [*found, *(word for name in names for word in ("--exclude-operation-id", name))]


def main() -> int:
    """Run it; its exit status is ours."""
    program, *more = sys.argv[1:]
    for name in set(os.environ) - set(KEPT):
        del os.environ[name]
    with daemon() as asked, tempfile.TemporaryDirectory() as folder:
        config, codes = Path(folder) / "schemathesis.toml", []
        # First about things nobody knows, as strange as they come; then about those there are.
        for seeds in (dict, partial(seeded, Fleet(asked.home))):
            config.write_text(settings(seeds()))
            line = [*words(program, asked.daemon, config), *more]
            codes.append(subprocess.run(line, check=False).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
