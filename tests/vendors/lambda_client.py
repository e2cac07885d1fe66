"""The stand-in of Lambda Cloud, driven by a client that others wrote from its OpenAPI.

    python -m tests.vendors.lambda_client PYTHON

PYTHON is the interpreter of an environment with lambda-ai-cloud-api-client==2.4.1; this program
itself needs ours. Its models refuse a reply that lacks what the OpenAPI requires, so every command
that ends well has proven a shape. Ends with 1 where one did not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from providers.lambdalabs.cloud import LambdaCloud
from providers.rental.contract import Accepted, Made, Page, Row
from tests.emulators import lambda_stock
from tests.emulators.lambdalabs import LambdaEmulator
from tests.emulators.machines import MIN
from tests.emulators.server import Server
from tests.emulators.wire import DirectWire
from tests.providers.lambdalabs.replies import KEY, LABEL, order

LIMIT_S = 60.0
# What the client has no command for, by its own functions.
CALLS = """
import json, sys
from lambda_ai_cloud_api_client.cli.client import auth_client
from lambda_ai_cloud_api_client import models
from lambda_ai_cloud_api_client.api.audit_events.get_audit_events import sync_detailed as audit
from lambda_ai_cloud_api_client.api.instances.launch_instance import sync_detailed as launch
from lambda_ai_cloud_api_client.api.ssh_keys.add_ssh_key import sync_detailed as add
from lambda_ai_cloud_api_client.api.ssh_keys.delete_ssh_key import sync_detailed as delete
what, told = sys.argv[1], json.loads(sys.argv[2])
calls = {
    "add": lambda: add(client=auth_client(), body=models.AddSSHKeyRequest(**told)),
    "delete": lambda: delete(told["id"], client=auth_client()),
    "audit": lambda: audit(client=auth_client()),
    "launch": lambda: launch(
        client=auth_client(), body=models.InstanceLaunchRequest.from_dict(told)
    ),
}
reply = calls[what]()
kind = type(reply.parsed).__name__
print(json.dumps({"status": int(reply.status_code), "kind": kind, "body": reply.parsed.to_dict()}))
"""


@dataclass(frozen=True)
class Ran:
    """How a command of the client ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Client:
    """The client's commands, against one stand-in."""

    def __init__(self, python: Path, server: Server, key: str) -> None:
        self.python = python
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "LAMBDA_CLOUD_BASE_URL": server.url,
            "LAMBDA_API_TOKEN": key,
            "COLUMNS": "100000",  # or it breaks its own JSON into lines
            "NO_PROXY": "127.0.0.1",
        }

    async def lai(self, *words: str) -> Ran:
        return await self._ran("-m", "lambda_ai_cloud_api_client", *words)

    async def call(self, what: str, **told: object) -> Any:
        return (await self._ran("-c", CALLS, what, json.dumps(told))).json()

    async def _ran(self, *words: str) -> Ran:
        running = await asyncio.create_subprocess_exec(
            self.python,
            *words,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(running.communicate(), LIMIT_S)
        return Ran(running.returncode or 0, out.decode(), err.decode())


class Proof:
    """What is proven, step by step; each is a line."""

    def __init__(self, client: Client, server: Server, emulator: LambdaEmulator) -> None:
        self.client, self.server, self.emulator = client, server, emulator
        self.cloud = LambdaCloud(DirectWire(emulator, server.now))

    async def rows(self) -> dict[str, Row]:
        page = await self.cloud.page("")
        assert isinstance(page, Page), page
        return {row.instance_id: row for row in page.rows}

    async def types_and_prices(self) -> None:
        said = (await self.client.lai("types", "--json")).json()
        assert {one["instance_type"]["name"] for one in said} == set(lambda_stock.BY_NAME)
        cents = {
            o["instance_type"]["name"]: o["instance_type"]["price_cents_per_hour"] for o in said
        }
        for offer in self.emulator.stock():
            assert offer.hourly_nusd == cents[offer.offer_id.partition("/")[0]] * 10_000_000

    async def ssh_keys_are_registered_once(self) -> None:
        made = await self.client.call("add", name="theirs", public_key=KEY)
        assert made["kind"] == "AddSSHKeyResponse200", made
        again = await self.client.call("add", name="theirs", public_key=KEY)
        assert (again["status"], again["kind"]) == (400, "AddSSHKeyResponse400"), again
        assert (await self.client.call("add", name="new"))["body"]["data"]["private_key"]
        shown = (await self.client.lai("keys", "--json")).json()
        assert {one["name"] for one in shown} == {"theirs", "new"}
        new = next(one["id"] for one in shown if one["name"] == "new")
        assert (await self.client.call("delete", id=new))["status"] == 200

    async def launch_boot_end(self) -> None:
        """Theirs; what our adapter reads of it is the same."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "boot.sh"
            script.write_text("#!/bin/sh\ntrue\n")
            words = "start --instance-type gpu_1x_a10 --ssh-key theirs --json --name".split()
            tag = ("--tag", f"fleet-label={LABEL}", "--user-data-file", str(script))
            said = (await self.client.lai(*words, LABEL, *tag)).json()
        assert said["status"] == "booting"
        assert not said["actions"]["terminate"]["available"]
        ours = (await self.rows())[said["id"]]
        assert (ours.label, ours.status) == (LABEL, "placing")
        await self._refused_while_booting(said["id"])
        self.server.skew_ms += 2 * MIN
        shown = (await self.client.lai("ls", "--json")).json()
        assert [one["status"] for one in shown] == ["active"]
        ours = (await self.rows())[said["id"]]
        assert ours.ssh is not None
        assert ours.ssh.host == shown[0]["ip"]
        assert ours.price_nusd == shown[0]["instance_type"]["price_cents_per_hour"] * 10_000_000
        await self._renamed_restarted_ended(said["id"])

    async def _refused_while_booting(self, machine: str) -> None:
        refused = await self.client.lai("stop", machine)
        assert refused.code != 0
        assert "vm-has-not-launched" in refused.err

    async def _renamed_restarted_ended(self, machine: str) -> None:
        renamed = (await self.client.lai("rename", machine, "my box")).json()
        assert renamed["name"] == "my box"
        assert (await self.rows())[machine].label == LABEL  # by its tag
        assert (await self.client.lai("restart", machine)).json()[0]["id"] == machine
        assert (await self.client.lai("stop", machine)).json()[0]["status"] == "terminating"
        self.server.skew_ms += MIN
        assert await self.rows() == {}
        assert (await self.client.lai("ls", "--json")).json() == []

    async def ours_is_theirs(self) -> None:
        made = await self.cloud.create(order())
        assert isinstance(made, Made), made
        said = (await self.client.lai("get", LABEL)).json()
        assert said["id"] == made.instance_id
        assert said["tags"] == [{"key": "fleet-label", "value": LABEL}]
        assert said["ssh_key_names"] == ["theirs"]  # the same key: it was there already
        self.server.skew_ms += 2 * MIN
        assert await self.cloud.terminate(made.instance_id) == Accepted()
        self.server.skew_ms += MIN
        assert (await self.client.lai("ls", "--json")).json() == []

    async def errors_have_their_documented_types(self) -> None:
        told = {
            "region_name": "us-west-1",
            "instance_type_name": "gpu_1x_a10",
            "ssh_key_names": ["theirs"],
        }
        self.server.faults.append(("create", "no_capacity"))
        full = await self.client.call("launch", **told)
        assert full["kind"] == "LaunchInstanceResponse400", full
        assert full["body"]["error"]["code"].endswith("insufficient-capacity")
        two = await self.client.call("launch", **told | {"ssh_key_names": ["theirs", "x"]})
        assert two["body"]["error"]["code"] == "global/invalid-parameters"
        odd = await self.client.call("launch", **told | {"ssh_key_names": ["nobody's"]})
        assert odd["body"]["error"]["code"] == "global/object-does-not-exist"
        gone = await self.client.lai("get", "0")
        assert gone.code != 0

    async def limits_keys_and_faults(self) -> None:
        self.server.faults.append(("list", "limited"))
        assert "429" in (await self.client.lai("ls", "--json")).err
        self.client.environment["LAMBDA_API_TOKEN"] = "another"
        assert "global/invalid-api-key" in (await self.client.lai("ls", "--json")).err
        self.client.environment["LAMBDA_API_TOKEN"] = self.emulator.key
        before = self.server.counted["create"]
        self.server.faults.append(("create", "error_after"))
        words = "start --instance-type gpu_1x_a10 --ssh-key theirs --json".split()
        assert (await self.client.lai(*words)).code != 0
        assert self.server.counted["create"] == before + 1
        assert len(await self.rows()) == 1  # and it is there: what is unclear must be looked for

    async def the_audit_says_what_was_launched(self) -> None:
        said = await self.client.call("audit")
        assert said["kind"] == "GetAuditEventsResponse200", said
        actions = [one["action"] for one in said["body"]["data"]["events"]]
        assert actions == ["launch", "terminate", "launch", "terminate", "launch"]


async def prove(python: Path) -> int:
    """How many steps failed."""
    emulator = LambdaEmulator(random.Random(1))
    failed = 0
    async with Server(emulator) as server:
        proof = Proof(Client(python, server, emulator.key), server, emulator)
        steps: tuple[Callable[[], Any], ...] = (
            proof.types_and_prices,
            proof.ssh_keys_are_registered_once,
            proof.launch_boot_end,
            proof.ours_is_theirs,
            proof.errors_have_their_documented_types,
            proof.limits_keys_and_faults,
            proof.the_audit_says_what_was_launched,
        )
        for step in steps:
            name = step.__name__.replace("_", " ")
            try:
                await step()
                print(f"ok    {name}")
            except AssertionError as error:
                failed += 1
                print(f"FAIL  {name}: {error}")
    print(f"lambda: {len(steps) - failed} of {len(steps)}, {sum(server.counted.values())} requests")
    return failed


if __name__ == "__main__":
    sys.exit(1 if asyncio.run(prove(Path(sys.argv[1]))) else 0)
