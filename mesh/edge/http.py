"""The daemon's HTTP API: routes in, one call to the node, JSON out. Loopback only.

What guards a route is in `http_guard`, what streams is in `http_stream`.
"""

import asyncio

import msgspec
from aiohttp import web

from mesh.edge.http_guard import (
    MAX_BODY_BYTES,
    HttpRefusal,
    answer,
    check_origin,
    check_token,
    read_body,
    refuse_unknown,
    shape_errors,
    want_text,
)
from mesh.edge.http_node import ServedNode
from mesh.edge.http_stream import (
    NODE,
    STREAMS,
    Streams,
    end_streams,
    event_dict,
    known_job,
    stream_events,
    stream_logs,
)
from mesh.state.billing import GROUPINGS, cost_report
from mesh.state.fold import bills
from mesh.views import device_rows, job_dict, job_rows


def make_app(node: ServedNode, token: str) -> web.Application:
    """The whole API over one node; `token` opens everything but the two health checks."""
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=[shape_errors, check_origin, check_token(token)],
    )
    app[NODE] = node
    app[STREAMS] = Streams()
    app.on_shutdown.append(end_streams)
    app.add_routes(_reads() + _writes())
    return app


def _reads() -> list[web.RouteDef]:
    return [
        web.get("/healthz", get_health),
        web.get("/readyz", get_ready),
        web.get("/v1/status", get_status),
        web.get("/v1/devices", get_devices),
        web.get("/v1/jobs", get_jobs),
        web.get("/v1/jobs/{id}", get_job),
        web.get("/v1/jobs/{id}/logs", stream_logs),
        web.get("/v1/events", stream_events),
        web.get("/v1/verify", get_verify),
        web.get("/v1/cost", get_cost),
    ]


def _writes() -> list[web.RouteDef]:
    return [
        web.post("/v1/plan", post_plan),
        web.post("/v1/jobs", post_job),
        web.post("/v1/jobs/{id}/cancel", post_cancel),
        web.post("/v1/notes", post_note),
        web.post("/v1/devices", post_device),
        web.post("/v1/devices/{id}/remove", post_device_remove),
        web.post("/v1/shutdown", post_shutdown),
        web.post("/dispatch", post_dispatch),
    ]


async def get_health(request: web.Request) -> web.Response:
    """The process answers."""
    return answer({"status": "alive"})


async def get_ready(request: web.Request) -> web.Response:
    """The ledger is open and the owner loop ticks; 503 until then."""
    if not request.app[NODE].ready:
        raise HttpRefusal(503, "NotReady", "the ledger is still opening", "try again in a second")
    return answer({"status": "ready"})


async def get_status(request: web.Request) -> web.Response:
    """The fleet at a glance."""
    refuse_unknown(request.query, ())
    return answer(request.app[NODE].status())


async def get_devices(request: web.Request) -> web.Response:
    """Every device the ledger knows."""
    refuse_unknown(request.query, ())
    node = request.app[NODE]
    return answer({"devices": device_rows(node.state, node.now())})


async def get_jobs(request: web.Request) -> web.Response:
    """Every job the ledger knows."""
    refuse_unknown(request.query, ())
    node = request.app[NODE]
    return answer({"jobs": job_rows(node.state, node.now())})


async def get_job(request: web.Request) -> web.Response:
    """One job, whole."""
    refuse_unknown(request.query, ())
    node, job_id = request.app[NODE], request.match_info["id"]
    if job_id in node.state.retired:
        state = await asyncio.to_thread(node.every_job)
        return answer(job_dict(state.jobs[job_id], node.now()))
    return answer(job_dict(node.state.jobs[known_job(request)], node.now()))


async def get_verify(request: web.Request) -> web.Response:
    """Every hash, link and signature, checked now."""
    refuse_unknown(request.query, ())
    return answer(msgspec.to_builtins(await request.app[NODE].verify()))


async def get_cost(request: web.Request) -> web.Response:
    """The bill, by day unless `by` says otherwise."""
    refuse_unknown(request.query, ("by",))
    by = request.query.get("by", "day")
    if by not in GROUPINGS:
        raise HttpRefusal(400, "BadField", f"by={by[:40]!r}", f"one of {', '.join(GROUPINGS)}")
    node = request.app[NODE]
    state = await asyncio.to_thread(node.every_job) if by == "job" else node.state
    return answer(cost_report(bills(state), by))


async def post_plan(request: web.Request) -> web.Response:
    """Where a model fits, how fast, for how much; and why not elsewhere."""
    return answer(request.app[NODE].plan(await read_body(request)))


async def post_job(request: web.Request) -> web.Response:
    """Submit a job; 201 with its id once the ledger holds it."""
    job_id = await request.app[NODE].submit(await read_body(request))
    return answer({"job_id": job_id}, 201)


async def post_cancel(request: web.Request) -> web.Response:
    """Ask a job to end; 202, for the child needs a moment."""
    refuse_unknown(await read_body(request), ())
    job_id = known_job(request)
    await request.app[NODE].cancel(job_id)
    return answer({"job_id": job_id}, 202)


async def post_note(request: web.Request) -> web.Response:
    """Write an annotation; 201 with the event."""
    body = await read_body(request)
    refuse_unknown(body, ("text",))
    return answer(event_dict(await request.app[NODE].note(want_text(body, "text"))), 201)


async def post_device(request: web.Request) -> web.Response:
    """Describe hardware by hand; 201 with the event."""
    return answer(event_dict(await request.app[NODE].add_device(await read_body(request))), 201)


async def post_device_remove(request: web.Request) -> web.Response:
    """Take a device out of planning; 200 with the event."""
    refuse_unknown(await read_body(request), ())
    event = await request.app[NODE].remove_device(request.match_info["id"], "removed by hand")
    return answer(event_dict(event))


async def post_dispatch(request: web.Request) -> web.Response:
    """The seed's call: this model on that device under that id. The same call twice is one job."""
    body = await read_body(request)
    job_id, device_id, model = (want_text(body, name) for name in ("job_id", "device_id", "model"))
    node = request.app[NODE]
    known = node.state.jobs.get(job_id)
    if known is not None and known.model != model:
        raise HttpRefusal(409, "JobExists", f"job {job_id[:80]} runs {known.model}",
                          "choose another job_id")
    if known is not None:
        return answer({"job_id": job_id})
    if device_id not in node.state.devices:
        raise HttpRefusal(404, "NotFound", f"no device {device_id[:80]}", "see GET /v1/devices")
    spec = {name: value for name, value in body.items() if name != "device_id"}
    return answer({"job_id": await node.submit({**spec, "on": device_id})}, 201)


async def post_shutdown(request: web.Request) -> web.Response:
    """Begin to stop; running jobs keep running and are adopted at the next start."""
    refuse_unknown(await read_body(request), ())
    request.app[NODE].shutdown()
    return answer({"status": "stopping"}, 202)
