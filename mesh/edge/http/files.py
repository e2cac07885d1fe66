"""Files of commands: asked by the owner of a job's device, by its home, and by the user there."""

from __future__ import annotations

from aiohttp import web

from mesh.edge.http.guard import HttpRefusal, answer, refuse_unknown
from mesh.edge.http.roles import PEER, Route
from mesh.edge.http.stream import NODE, known_job
from mesh.state.members import RUNNER


def file_routes() -> list[Route]:
    """What other peers ask."""
    return [
        Route("GET", "/v1/jobs/{id}/files/{hash}", RUNNER, get_given),
        Route("GET", "/v1/claims/{id}/{attempt}/files", RUNNER, get_left),
        Route("GET", "/v1/claims/{id}/{attempt}/listing", RUNNER, get_listing),
    ]


def own_file_routes() -> list[Route]:
    """What the user of a job's home asks; on loopback alone."""
    return [
        Route("GET", "/v1/jobs/{id}/files", "", get_files),
        Route("GET", "/v1/jobs/{id}/file", "", get_file),
    ]


async def get_given(request: web.Request) -> web.Response:
    """Some of a file that a job of ours brings."""
    refuse_unknown(request.query, ("offset",))
    who, job_id = request[PEER].hex(), request.match_info["id"]
    digest = request.match_info["hash"]
    return answer(await request.app[NODE].files.given(who, job_id, digest, _offset(request)))


async def get_left(request: web.Request) -> web.Response:
    """Some of a file that an attempt left here."""
    refuse_unknown(request.query, ("offset", "path"))
    who, path = request[PEER].hex(), request.query.get("path", "")
    files, job_id = request.app[NODE].files, request.match_info["id"]
    return answer(await files.left(who, job_id, _attempt(request), path, _offset(request)))


async def get_listing(request: web.Request) -> web.Response:
    """The files that an attempt left here."""
    refuse_unknown(request.query, ())
    who, job_id = request[PEER].hex(), request.match_info["id"]
    files = request.app[NODE].files
    return answer(await files.list_left(who, job_id, _attempt(request)))


async def get_files(request: web.Request) -> web.Response:
    """The files that a job left, wherever it ran; `kept` is false where its folder is gone."""
    refuse_unknown(request.query, ())
    return answer(await request.app[NODE].files.listed((await known_job(request)).job_id))


async def get_file(request: web.Request) -> web.Response:
    """Some of a file that a job left, wherever it ran."""
    refuse_unknown(request.query, ("offset", "path"))
    job, path = await known_job(request), request.query.get("path", "")
    return answer(await request.app[NODE].files.get(job.job_id, path, _offset(request)))


def _attempt(request: web.Request) -> int:
    text = request.match_info["attempt"]
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise HttpRefusal(400, "BadField", f"{text[:20]!r} is no attempt", "a number from 1")
    return int(text)


def _offset(request: web.Request) -> int:
    text = request.query.get("offset", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HttpRefusal(400, "BadField", "offset must be a whole number")
    return int(text)
