"""RunPod's own MCP server, asking a stand-in: `python runpod_mcp.py URL KEY STDIO_MJS`.

STDIO_MJS is dist/stdio.mjs of @runpod/mcp-server, installed; it is run with `node`. It is the
client of REST v2 that RunPod itself ships. `get-capacity` is never called: its host is fixed. It
ends with a failure at the first answer that is not what it should be.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

URL, KEY, STDIO = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3]
GPU = "NVIDIA GeForce RTX 4090"
WAIT_S = 120.0  # a pod boots within 60 s there
# Its other hosts, set as well: nothing may leave this machine.
HOSTS = ("SERVERLESS_API_URL", "PUBLIC_GRAPHQL_URL", "AUTHED_GRAPHQL_URL")
checked = 0


class Server:
    """The program, asked line by line."""

    def __init__(self, key: str) -> None:
        fixed = {f"RUNPOD_{name}": f"{URL}/graphql" for name in HOSTS}
        env = {**os.environ, **fixed, "RUNPOD_API_BASE_URL": URL, "RUNPOD_API_KEY": key}
        pipe = subprocess.PIPE
        out = subprocess.DEVNULL  # it logs each call; failures are in its answers
        self.run = subprocess.Popen(
            ["node", STDIO], stdin=pipe, stdout=pipe, stderr=out, env=env, text=True
        )
        self.n = 0
        hello = {
            "protocolVersion": "2024-11-05",
            "capabilities": {},
            "clientInfo": {"name": "vendor-proof", "version": "1"},
        }
        self.version = self.ask("initialize", hello)["serverInfo"]["version"]
        self.say({"method": "notifications/initialized"})

    def say(self, message: dict[str, Any]) -> None:
        assert self.run.stdin is not None
        self.run.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.run.stdin.flush()

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        self.n += 1
        self.say({"id": self.n, "method": method, "params": params})
        assert self.run.stdout is not None
        for line in self.run.stdout:
            told = json.loads(line)
            if told.get("id") == self.n:
                return told["result"]
        sys.exit(f"{method}: the program ended")

    def call(self, name: str, **arguments: object) -> tuple[bool, str]:
        """Whether it went well, and its text."""
        told = self.ask("tools/call", {"name": name, "arguments": arguments})
        text = "".join(part.get("text", "") for part in told["content"])
        return not told.get("isError", False), text

    def get(self, name: str, **arguments: object) -> Any:
        """The JSON of a call that must go well."""
        well, text = self.call(name, **arguments)
        if not well:
            sys.exit(f"{name}: {text}")
        return json.loads(text) if text.strip() else None

    def close(self) -> None:
        self.run.terminate()
        self.run.wait(10)


def same(found: object, wanted: object, what: str) -> None:
    global checked
    if found != wanted:
        sys.exit(f"{what}: {found!r}, and not {wanted!r}")
    checked += 1


def true(holds: object, what: str) -> None:
    global checked
    if not holds:
        sys.exit(f"{what}: is not so")
    checked += 1


def refused(server: Server, status: int, what: str, name: str, **arguments: object) -> None:
    well, text = server.call(name, **arguments)
    same((well, str(status) in text), (False, True), f"{what} ({text[:200]})")


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {WAIT_S:.0f} s")
        time.sleep(0.5)
    true("it came", what)


def body(**changed: object) -> dict[str, object]:
    return {
        "name": "one", "image": "runpod/base:1.0.2-ubuntu2404", "cloud": "COMMUNITY", "disk": 20,
        "gpu": {"id": GPU, "count": 1}, "ports": ["22/tcp"], "args": "bash -c 'sleep infinity'",
        **changed,
    }  # fmt: skip


def catalogue(server: Server) -> None:
    asked = {"include": ["AVAILABILITY"], "product": ["POD"]}
    gpus = {gpu["id"]: gpu for gpu in server.get("list-gpu-types", **asked)["gpus"]}
    same(gpus[GPU]["price"]["community"], 0.34, "a price")
    true(gpus[GPU]["availability"] in ("LOW", "MEDIUM", "HIGH"), "availability")
    true("availability" not in server.get("list-gpu-types")["gpus"][0], "availability unasked")
    same(server.get("get-gpu-type", id=GPU, **asked)["maxCount"]["community"], 8, "one type")
    refused(server, 400, "include alone", "list-gpu-types", include=["AVAILABILITY"])
    refused(server, 404, "a type that is none", "get-gpu-type", id="no such type")


def keys(server: Server) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILXG me@example.com"
    same(server.get("update-ssh-keys", body={"keys": [key]}), {"keys": [key]}, "keys replaced")
    same(server.get("get-ssh-keys"), {"keys": [key]}, "keys read")


def pods(server: Server) -> None:
    pod = server.get("create-pod", body=body())
    same((pod["status"], pod["cost"]), ("PROVISIONING", 0.34), "a new pod")
    listed = server.get("list-pods", includeClusterPods=True)["pods"]
    same([one["id"] for one in listed], [pod["id"]], "the list")
    until(lambda: server.get("get-pod", id=pod["id"])["status"] == "RUNNING", "running")
    same(server.get("get-pod", id=pod["id"])["ssh"]["direct"]["username"], "root", "its ssh port")
    logs = server.call("stream-pod-logs", podId=pod["id"], maxWaitMs=2000)
    same((logs[0], "create container" in logs[1]), (True, True), "its logs")
    act(server, pod["id"])
    well, _ = server.call("delete-pod", id=pod["id"])
    true(well, "deleted")
    until(lambda: not server.call("get-pod", id=pod["id"])[0], "gone")
    refused(server, 404, "deleted twice", "delete-pod", id=pod["id"])
    bills(server, pod["id"])


def act(server: Server, pod_id: str) -> None:
    stopped = server.get("pod-action", id=pod_id, body={"action": "stop"})
    same((stopped["status"], stopped["cost"]), ("EXITED", 0), "stopped")
    refused(server, 409, "stopped twice", "pod-action", id=pod_id, body={"action": "stop"})
    started = server.get("pod-action", id=pod_id, body={"action": "start"})
    same(started["status"], "RUNNING", "started")


def bills(server: Server, pod_id: str) -> None:
    told = server.get("list-pod-billing", bucketSize="hour", lastN=2, podId=pod_id)
    same({record["podId"] for record in told["records"]}, {pod_id}, "whose records")
    total = sum(record["totalAmount"] for record in told["records"])
    true(0 < total < 0.34 * WAIT_S / 3600 + 0.001, "what it cost")
    same(told["metadata"]["uniquePodCount"], 1, "the records' pods")


def refusals(server: Server) -> None:
    big = {"id": GPU, "count": 8}
    refused(server, 400, "no capacity", "create-pod", body=body(gpu=big))
    both = body(cpu={"id": "cpu3c", "vcpuCount": 2})
    refused(server, 400, "a GPU and a CPU", "create-pod", body=both)
    same(server.get("list-pods")["pods"], [], "nothing was made")


def wrong_key() -> None:
    server = Server("wrong")
    try:
        refused(server, 401, "a wrong key", "list-pods")
    finally:
        server.close()


server = Server(KEY)
try:
    tools = {tool["name"] for tool in server.ask("tools/list", {})["tools"]}
    true({"create-pod", "list-pods", "delete-pod", "pod-action"} <= tools, "its tools")
    catalogue(server)
    keys(server)
    pods(server)
    refusals(server)
    wrong_key()
finally:
    server.close()
print(f"@runpod/mcp-server {server.version}: {checked} answers as they should be")
