"""What this machine's own people ask about serving: services, replicas, and further ports."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from mesh.edge.gateway.front import Front
from mesh.edge.gateway.ports import MAX_PORT, USUAL
from mesh.edge.http.dashboard.guard import broken_off
from mesh.edge.http.guard import HttpRefusal, answer, read_body, refuse_unknown
from mesh.edge.http.roles import Route, refuse_page
from mesh.state.members import MEMBER, VIEWER
from mesh.state.serving.services import MAX_REPLICAS

FIELDS: Final = ("spec", "min", "max", "idle_ms")
# What a dashboard's session may say of a service: on a rented machine, or by options of its own,
# only the token's holder has one.
PAGE_SPEC: Final = frozenset({"model", "context", "batch", "on"})
PAGE_ON: Final = "any"  # of the fleet's own devices: rented ones are taken by their names alone
MAX_IDLE_MS: Final = 30 * 86_400_000  # a month: longer is for ever, which is 0


def gateway_routes(front: Front) -> list[Route]:
    """By the token."""

    async def get_services(request: web.Request) -> web.Response:
        """The models that are kept up, and every server that runs."""
        refuse_unknown(request.query, ())
        services = [_shown(one) for one in front.services.all()]
        rows = [
            {
                "job_id": job.job_id,
                "model": job.model,
                "device_id": job.device_id,
                "owner": job.owner,
                **({} if row is None else msgspec.to_builtins(row)),
            }
            for job, row in await front.servers.rows()
        ]
        return answer({"services": services, "replicas": rows, "url": front.url})

    async def post_service(request: web.Request) -> web.Response:
        """Keep a model up; 201 with its service."""
        body = await read_body(request)
        refuse_unknown(body, FIELDS)
        spec = body.get("spec")
        if not isinstance(spec, dict):
            raise HttpRefusal(400, "BadField", "spec must be an object", "as POST /v1/jobs has it")
        if set(spec) - PAGE_SPEC or spec.get("on", PAGE_ON) != PAGE_ON:
            text = f"a page serves with {', '.join(sorted(PAGE_SPEC))} alone, on {PAGE_ON} device"
            refuse_page(request, text, "fleet serve MODEL --help")
        least, most = _count(body, "min", 0, MAX_REPLICAS), _count(body, "max", 1, MAX_REPLICAS)
        idle_ms = _count(body, "idle_ms", 0, MAX_IDLE_MS)
        kept = await front.services.keep(spec, least=least, most=most, idle_ms=idle_ms)
        return answer(_shown(kept), 201)

    async def end_service(request: web.Request) -> web.Response:
        """Keep a model up no more."""
        refuse_unknown(await read_body(request), ())
        service_id = request.match_info["id"]
        await front.services.end(service_id)
        return answer({"service_id": service_id})

    async def post_chat(request: web.Request) -> web.StreamResponse:
        """A chat of this machine's dashboard, whose pages are of another port."""
        return await broken_off(request, front.chat(request))

    return [
        Route("GET", "/v1/services", VIEWER, get_services),
        Route("POST", "/v1/services", MEMBER, post_service),
        Route("POST", "/v1/services/{id}/end", MEMBER, end_service),
        Route("POST", "/v1/dashboard/chat", MEMBER, post_chat),
        *proxy_routes(front),
    ]


def proxy_routes(front: Front) -> list[Route]:
    """The further ports at which the address answers."""

    async def get_proxies(request: web.Request) -> web.Response:
        """The further ports at which models answer."""
        refuse_unknown(request.query, ())
        return answer({"proxies": front.ports.rows(), "url": front.url})

    async def post_proxy(request: web.Request) -> web.Response:
        """Have models answer at a further port; 201 with how it stands."""
        name, port = _place(await read_body(request))
        await front.open_at(port, name)
        return answer(next(row for row in front.ports.rows() if row["port"] == port), 201)

    async def close_proxy(request: web.Request) -> web.Response:
        """Close a further port."""
        name, port = _place(await read_body(request))
        named = [row["port"] for row in front.ports.rows() if name and row["as"] == name]
        for one in named or [port]:
            await front.close_at(int(str(one)))
        return answer({"closed": named or [port]})

    return [
        Route("GET", "/v1/proxies", VIEWER, get_proxies),
        Route("POST", "/v1/proxies", MEMBER, post_proxy),
        Route("POST", "/v1/proxies/close", MEMBER, close_proxy),
    ]


def _place(body: dict[str, object]) -> tuple[str, int]:
    """Whose place, "" for nobody's, and at which port."""
    refuse_unknown(body, ("as", "port"))
    name = body.get("as", "")
    if not isinstance(name, str) or (name and name not in USUAL):
        raise HttpRefusal(400, "BadField", f"as must be one of {', '.join(USUAL)}")
    port = _count(body, "port", USUAL.get(name, 0), MAX_PORT)
    if not port:
        raise HttpRefusal(400, "BadField", "say as, or a port of 1 and more")
    return name, port


def _shown(service: object) -> dict[str, object]:
    names = ("service_id", "home", "model", "min_replicas", "max_replicas", "idle_ms")
    return {name: getattr(service, name) for name in names}


def _count(body: dict[str, object], name: str, default: int, most: int) -> int:
    value = body.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise HttpRefusal(400, "BadField", f"{name} must be a whole number of 0 to {most}")
    return value
