"""RunPod's own Python client, asking a stand-in: `PYTHON runpod_client.py URL KEY`.

PYTHON is of an environment with `runpod` alone; nothing of this project is imported. It ends with
a failure at the first answer that the client does not take, or that is not what it should be.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

URL, KEY = sys.argv[1].rstrip("/"), sys.argv[2]
os.environ.update(RUNPOD_API_BASE_URL=URL, RUNPOD_API_KEY=KEY)

import runpod  # noqa: E402  # it reads the environment when it is loaded
from runpod import error  # noqa: E402
from runpod.api.graphql import run_graphql_query  # noqa: E402
from runpod.api.rest import run_rest_paginated_request_async, run_rest_request  # noqa: E402
from runpod.apps import logs  # noqa: E402
from runpod.apps.api import AppsApiClient  # noqa: E402

GPU = "NVIDIA GeForce RTX 4090"
IMAGE = "runpod/base:1.0.2-ubuntu2404"
WAIT_S = 120.0  # a pod boots within 60 s there
checked = 0


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


def refused(
    call: Callable[[], object], kind: type[Exception], status: int | None, what: str
) -> None:
    try:
        call()
    except kind as failure:
        same(getattr(failure, "status_code", None), status, what)
        return
    sys.exit(f"{what}: nothing was raised")


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {WAIT_S:.0f} s")
        time.sleep(0.5)
    true("it came", what)


def catalogue() -> None:
    gpus = {gpu["id"]: gpu for gpu in runpod.get_gpus()}
    same(gpus[GPU]["memory"], 24, "memory of a type")
    true("availability" not in gpus[GPU], "availability that was not asked for")
    one = runpod.get_gpu(GPU, gpu_quantity=2)
    true(one["availability"] in ("LOW", "MEDIUM", "HIGH"), "availability")
    refused(lambda: runpod.get_gpu("no such type"), ValueError, None, "a type that is none")


def account() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILXG me@example.com"
    same(runpod.update_user_settings(key)["pubKey"], key, "keys replaced")
    told = run_graphql_query("query { myself { clientBalance currentSpendPerHr spendLimit } }")
    true(told["data"]["myself"]["clientBalance"] > 0, "balance by GraphQL")
    refused(
        lambda: run_graphql_query("query { coins }"), error.QueryError, None, "a field that is none"
    )
    refused(lambda: runpod.get_pods(api_key="x"), error.AuthenticationError, None, "a wrong key")


def made(name: str, **more: object) -> dict:
    return runpod.create_pod(
        name, IMAGE, gpu_type_id=GPU, cloud_type="COMMUNITY", container_disk_in_gb=20,
        ports="22/tcp,8888/http", docker_args="bash -c 'sleep infinity'", env={"A": 1}, **more,
    )  # fmt: skip


def gone(pod_id: str) -> bool:
    return runpod.get_pod(pod_id) is None


def pods() -> None:
    pod = made("one")
    same((pod["status"], pod["cost"], pod["gpu"]), ("PROVISIONING", 0.34, {"id": GPU, "count": 1}),
         "a new pod")  # fmt: skip
    same(pod["ports"], ["22/tcp", "8888/http"], "its ports")
    same([one["id"] for one in runpod.get_pods()], [pod["id"]], "the list")
    until(lambda: runpod.get_pod(pod["id"])["status"] == "RUNNING", "running")
    up = runpod.get_pod(pod["id"])
    same(up["ssh"]["direct"]["username"], "root", "its own ssh port")
    same(up["actions"], ["stop", "restart", "terminate"], "what may be done")
    same(runpod.stop_pod(pod["id"])["status"], "EXITED", "stopped")
    refused(lambda: runpod.stop_pod(pod["id"]), error.QueryError, 409, "stopped twice")
    same(runpod.resume_pod(pod["id"])["status"], "RUNNING", "resumed")
    same(asyncio.run(lines(pod["id"])), ["system", "container"], "its logs")
    same(runpod.terminate_pod(pod["id"]), None, "terminated")
    until(lambda: gone(pod["id"]), "gone")
    refused(lambda: runpod.terminate_pod(pod["id"]), error.QueryError, 404, "terminated twice")
    bills(pod["id"])


async def lines(pod_id: str) -> list[str]:
    return [event["source"] async for event in logs.stream_pod_logs(pod_id, log_type="container")]


def bills(pod_id: str) -> None:
    told = run_rest_request(
        "GET", "/v2/billing/pods", params={"bucketSize": "hour", "podId": pod_id}
    )
    total = sum(record["totalAmount"] for record in told["records"])
    true(0 < total < 0.34 * WAIT_S / 3600 + 0.001, "what it cost")
    same(round(told["metadata"]["totals"]["totalAmount"], 9), round(total, 9), "the total")


def refusals() -> None:
    refused(lambda: made("big", gpu_count=8), error.QueryError, 400, "no capacity")
    refused(lambda: made("old", min_memory_in_gb=32), error.QueryError, 422, "an unknown field")
    refused(lambda: made("small", volume_in_gb=5), error.QueryError, 422, "a volume too small")
    same(runpod.get_pods(), [], "nothing was made")


async def tasks() -> None:
    """A task's pod is made by GraphQL and ended by REST."""
    client = AppsApiClient(KEY)
    order = {
        "name": "task", "imageName": IMAGE, "ports": "80/http", "containerDiskInGb": 30,
        "supportPublicIp": True, "env": [{"key": "A", "value": "b"}], "gpuCount": 1,
        "gpuTypeIdList": [GPU], "terminateAfter": "2099-01-01T00:00:00Z",
    }  # fmt: skip
    pod = await client.deploy_task_pod(order, is_cpu=False)
    same(pod["desiredStatus"], "RUNNING", "a task's pod")
    same(runpod.get_pod(pod["id"])["name"], "task", "the same pod by REST")
    true(await client.gpu_stock_status(GPU, "US-KS-2", pods=True) is not None, "stock")
    try:
        await client.deploy_task_pod({**order, "gpuTypeIdList": ["NVIDIA B300"]}, is_cpu=False)
        sys.exit("no capacity by GraphQL: nothing was raised")
    except error.QueryError as failure:
        true("no longer any instances" in str(failure), "no capacity by GraphQL")
    await client.terminate_pod(pod["id"])
    until(lambda: gone(pod["id"]), "a task's pod gone")


async def pages() -> None:
    """The client's own reader of cursor pages takes ours, three pods on two of them."""
    ids = [made(f"page-{n}")["id"] for n in range(3)]
    found = await run_rest_paginated_request_async("/v2/pods", "pods")
    same([pod["id"] for pod in found], ids, "all pages")
    for pod_id in ids:
        runpod.terminate_pod(pod_id)
    until(lambda: all(gone(pod_id) for pod_id in ids), "all gone")


catalogue()
account()
pods()
refusals()
asyncio.run(tasks())
asyncio.run(pages())
print(f"runpod {runpod.__version__}: {checked} answers as they should be")
