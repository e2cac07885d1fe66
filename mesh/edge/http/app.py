"""The daemon's HTTP API: routes in, one call to the node, JSON out.

All of it on loopback, its reads to other members over TLS. What guards a route is in `http_guard`
and `http_roles`, what streams is in `http_stream`, what is about peers in `http_peers`.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from mesh.api.bodies import base_name
from mesh.api.requests import MAX_BODY_BYTES
from mesh.api.rows import device_rows, job_row, job_rows, with_standing
from mesh.edge.http.dashboard.guard import SESSIONS, without_token
from mesh.edge.http.dashboard.routes import dashboard_routes
from mesh.edge.http.dashboard.sessions import Sessions
from mesh.edge.http.dispatch import OWNER, dispatch_routes
from mesh.edge.http.files import file_routes, own_file_routes
from mesh.edge.http.guard import (
    TURNS,
    HttpRefusal,
    Turns,
    answer,
    by_name,
    check_origin,
    check_token,
    read_body,
    refuse_unknown,
    shape_errors,
    want_text,
    whole,
)
from mesh.edge.http.peers import MESH, mesh_routes, peer_reads, peer_routes
from mesh.edge.http.ports import ServedMesh, ServedNode
from mesh.edge.http.roles import PEER, ROUTES, Route, local_role, peer_role
from mesh.edge.http.stream import (
    NODE,
    STREAMS,
    Streams,
    end_streams,
    event_dict,
    known_job,
    stream_answer,
    stream_events,
    stream_logs,
)
from mesh.edge.http.transfer import EXPORTING, get_export, post_import
from mesh.edge.jobs.private import private_row
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER


def make_app(
    node: ServedNode,
    token: str,
    mesh: ServedMesh | None = None,
    more: Sequence[Route] = (),
    sessions: Sessions | None = None,
) -> web.Application:
    """The whole API over one node; `token` opens everything but the two health checks.

    On loopback the token's holder may do what this peer's role in the fleet allows; a dashboard's
    session, which the token's holder opened, what its pages ask. `sessions` are those that were
    opened while the daemon started.
    """
    sessions = sessions or Sessions()
    role = (lambda: ADMIN) if mesh is None else mesh.own_role
    knows = check_token(token, without_token(sessions))
    guards = [shape_errors, check_origin, knows, local_role(role)]
    routes = [*_checks(), *reads(), *_own_reads(), *own_file_routes(), *_writes(), *more]
    routes += dashboard_routes(sessions)
    routes += [] if mesh is None else peer_routes()
    app = _app(node, guards, routes, mesh)
    app[SESSIONS] = sessions
    return app


def make_mesh_app(
    node: ServedNode, mesh: ServedMesh, more: Sequence[Route] = ()
) -> web.Application:
    """What members reach over TLS: the link, the reads, plans, and `more`; each by its role."""
    guards = [shape_errors, peer_role(mesh.role_of)]
    routes = [*reads(), *mesh_routes(), *dispatch_routes(), *file_routes(), *more]
    app = _app(node, guards, routes, mesh)
    app[OWNER] = node.owner
    return app


def _app(
    node: ServedNode,
    guards: Sequence[Middleware],
    routes: Sequence[Route],
    mesh: ServedMesh | None,
) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=guards)
    app[NODE] = node
    app[STREAMS] = Streams()
    app[EXPORTING] = asyncio.Lock()
    app[TURNS] = Turns()
    app.on_shutdown.append(end_streams)
    if mesh is not None:
        app[MESH] = mesh
        routes = [*routes, *peer_reads()]
    app[ROUTES] = tuple(routes)
    app.add_routes([route.definition() for route in routes])
    return app


def _checks() -> list[Route]:
    return [
        Route("GET", "/healthz", "", get_health),
        Route("GET", "/readyz", "", get_ready),
    ]


def reads() -> list[Route]:
    """What any member may ask, here and from other peers."""
    return [
        Route("GET", "/v1/status", VIEWER, get_status),
        Route("GET", "/v1/devices", VIEWER, get_devices),
        Route("GET", "/v1/jobs", VIEWER, get_jobs),
        Route("GET", "/v1/jobs/{id}", VIEWER, get_job),
        Route("GET", "/v1/events", VIEWER, stream_events),
        Route("POST", "/v1/plan", VIEWER, post_plan),
    ]


def _own_reads() -> list[Route]:
    """What no other peer may ask: a job's output belongs to the user of its home, and what takes
    seconds of this machine to its own people."""
    return [
        Route("GET", "/v1/jobs/{id}/logs", "", stream_logs),
        Route("GET", "/v1/jobs/{id}/answer", "", stream_answer),
        Route("GET", "/v1/verify", "", get_verify),
        Route("GET", "/v1/export", "", get_export),
        Route("POST", "/v1/capacity", "", post_capacity),
        Route("POST", "/v1/sweep", "", post_sweep),
    ]


def _writes() -> list[Route]:
    return [
        Route("POST", "/v1/jobs", MEMBER, post_job),
        Route("POST", "/v1/jobs/{id}/cancel", MEMBER, post_cancel),
        Route("POST", "/v1/jobs/{id}/adopt", ADMIN, post_adopt),
        Route("POST", "/v1/jobs/{id}/forget", "", post_forget),
        Route("POST", "/v1/notes", MEMBER, post_note),
        Route("POST", "/v1/devices", RUNNER, post_device),
        Route("POST", "/v1/devices/{id}/remove", RUNNER, post_device_remove),
        Route("POST", "/v1/import", "", post_import),
        Route("POST", "/v1/calibrate", "", post_calibrate),
        Route("POST", "/v1/shutdown", "", post_shutdown),
        Route("POST", "/dispatch", MEMBER, post_dispatch),
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
    """The fleet at a glance; `running=0` leaves out the jobs that have not ended."""
    refuse_unknown(request.query, ("running",))
    return answer(request.app[NODE].status(running=request.query.get("running") != "0"))


async def get_devices(request: web.Request) -> web.Response:
    """Every device the ledger knows."""
    refuse_unknown(request.query, ())
    node = request.app[NODE]
    return answer({"devices": device_rows(node.state, node.now())})


async def get_jobs(request: web.Request) -> web.Response:
    """Every job the ledger knows, or the newest `going` and `ended` ones."""
    refuse_unknown(request.query, ("going", "ended"))
    node = request.app[NODE]
    most = {name: _most(request, name) for name in ("going", "ended")}
    rows = job_rows(node.state, node.now(), **most)
    ended = sum(job.ended for job in node.state.jobs.values())
    counts = {"going": len(node.state.jobs) - ended, "ended": ended}
    if PEER in request:  # who asks over the fleet asks each peer for its own part
        return answer({"jobs": rows, **counts})
    said = await node.standings([node.state.jobs[str(row["job_id"])] for row in rows])
    told = [with_standing(row, said.get(str(row["job_id"]))) for row in rows]
    return answer({"jobs": told, **counts})


def _most(request: web.Request, name: str) -> int | None:
    return whole(request, name, 0) if name in request.query else None


async def get_job(request: web.Request) -> web.Response:
    """One job, whole; what was typed for it only to the user of its home."""
    refuse_unknown(request.query, ())
    node, job = request.app[NODE], await known_job(request)
    row = job_row(node.state, job, node.now())
    if PEER not in request:
        row = with_standing(row, (await node.standings([job])).get(job.job_id))
        row |= await asyncio.to_thread(private_row, node.home, job)
    return answer(row)


async def get_verify(request: web.Request) -> web.Response:
    """Every hash, link and signature, checked now."""
    refuse_unknown(request.query, ())
    return answer(msgspec.to_builtins(await request.app[NODE].verify()))


async def post_plan(request: web.Request) -> web.Response:
    """Where a model fits, how fast, for how much; and why not elsewhere."""
    query = await read_body(request)
    if PEER in request:
        by_name(query)
    return answer(await request.app[TURNS].take(request, request.app[NODE].plan, query))


async def post_capacity(request: web.Request) -> web.Response:
    """The most each device can do with a model: context, sequences, quantisation, layers."""
    query = await read_body(request)
    return answer(await request.app[TURNS].take(request, request.app[NODE].capacity, query))


async def post_sweep(request: web.Request) -> web.Response:
    """Memory, speed, time and cost for every batch and context."""
    query = await read_body(request)
    return answer(await request.app[TURNS].take(request, request.app[NODE].sweep, query))


async def post_job(request: web.Request) -> web.Response:
    """Submit a job; 201 with its id once the ledger holds it."""
    job_id = await request.app[NODE].submit(await read_body(request))
    return answer({"job_id": job_id}, 201)


async def post_cancel(request: web.Request) -> web.Response:
    """Ask a job to end; 202, for the child needs a moment; 409 where it has ended already."""
    refuse_unknown(await read_body(request), ())
    node, job_id = request.app[NODE], request.match_info["id"]
    if job_id not in node.state.retired:
        await known_job(request)
    await node.cancel(job_id)
    return answer({"job_id": job_id}, 202)


async def post_adopt(request: web.Request) -> web.Response:
    """Decide for another peer's job from now on; 200 with its epoch."""
    refuse_unknown(await read_body(request), ())
    await known_job(request)
    return answer(await request.app[NODE].adopt(request.match_info["id"]))


async def post_forget(request: web.Request) -> web.Response:
    """Erase an ended job's request and output; 200 with what was erased and what could not be."""
    refuse_unknown(await read_body(request), ())
    return answer(await request.app[NODE].forget(request.match_info["id"]))


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
    if known is not None and base_name(known.model) != base_name(model):
        raise HttpRefusal(
            409, "JobExists", f"job {job_id[:80]} runs {known.model}", "choose another job_id"
        )
    if known is None and device_id not in node.state.devices:
        raise HttpRefusal(404, "NotFound", f"no device {device_id[:80]}", "see GET /v1/devices")
    spec = {name: value for name, value in body.items() if name != "device_id"}
    job_id = await node.submit({**spec, "on": device_id})
    return answer({"job_id": job_id}, 201 if known is None else 200)


async def post_calibrate(request: web.Request) -> web.Response:
    """Measure this machine anew; `busy` says why the figures may be too low, "" for no reason."""
    refuse_unknown(await read_body(request), ())
    made = await request.app[NODE].calibrate()
    return answer({"events": [event_dict(event) for event in made.events], "busy": made.busy})


async def post_shutdown(request: web.Request) -> web.Response:
    """Begin to stop; running jobs keep running and are adopted at the next start."""
    refuse_unknown(await read_body(request), ())
    request.app[NODE].shutdown()
    return answer({"status": "stopping"}, 202)
