"""The document: every route with its role, its fields, its answer and its one shape of errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from mesh.edge.http.guard import OPEN_PATHS
from mesh.edge.http.roles import Route
from mesh.edge.openapi.money import MONEY
from mesh.edge.openapi.people import PEOPLE
from mesh.edge.openapi.shapes import JSON, STREAM, Described, Fields, anything
from mesh.edge.openapi.work import WORK
from mesh.state.members import FORMER

ROUTES: Final[Mapping[str, Described]] = {**PEOPLE, **WORK, **MONEY}
REF: Final = "#/components/schemas/{name}"
INFO: Final = {
    "title": "Fleet Ledger",
    "version": "1",
    "summary": "The daemon's API on this machine's loopback.",
    "description": (
        "Where it listens stands in FLEET_HOME/daemon.json as `url`; every request sends "
        "`Authorization: Bearer` with the text of FLEET_HOME/token. A field nobody knows is "
        "refused, never passed over. Money is whole nano-dollars (`_nusd`), time milliseconds "
        "(`_ms`), sizes whole bytes; null is not known. Answers may get further fields."
    ),
}
ERROR: Final = {
    "type": "object",
    "description": "Why not, and what to try.",
    "required": ["code", "text", "hint"],
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "description": "a word for programs"},
        "text": {"type": "string", "description": "one sentence for people"},
        "hint": {"type": "string", "description": "what to try; may be empty"},
    },
}
# Why a request comes to nothing, by status; each has the shape of Error.
REASONS: Final = {
    "400": "a field is missing, wrong or unknown",
    "401": "the token is missing or wrong",
    "403": "the role does not allow it, or another site asks",
    "404": "there is none of that name",
    "409": "not in the state it is in now",
    "413": "the body is too large",
    "503": "not ready yet; Retry-After says when to ask again",
    "default": "any other refusal",
}
PAGES: Final = ("/dashboard/", "/v1/dashboard/")
_HOLE: Final = re.compile(r"{(\w+)(?::[^{}]*(?:{[^{}]*}[^{}]*)*)?}")


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes, in the order of their paths; without the dashboard's, which are
    files and what its own page asks."""
    paths: dict[str, dict[str, Any]] = {}
    api = (one for one in routes if not one.path.startswith(PAGES))
    every = sorted(api, key=lambda one: (one.path, one.method))
    for route in every:
        paths.setdefault(plain(route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": _refusals(),
            "schemas": {"Error": ERROR, **_structs(described(one) for one in every)},
        },
    }


def plain(path: str) -> str:
    """A path as OpenAPI writes it: without the patterns of its parts."""
    return _HOLE.sub(r"{\1}", path)


def described(route: Route) -> Described:
    """What is known of a route; nothing of one that the tables do not name."""
    return ROUTES.get(f"{route.method} {plain(route.path)}", Described())


def _operation(route: Route) -> dict[str, Any]:
    said = described(route)
    found: dict[str, Any] = {
        "operationId": "_".join(re.findall(r"\w+", f"{route.method.lower()} {plain(route.path)}")),
        "summary": summary(route),
        "x-fleet-role": "" if route.role == FORMER else route.role,
    }
    if route.path in OPEN_PATHS:
        found["security"] = []
    if parameters := [*_path(route, said), *_query(said.query)]:
        found["parameters"] = parameters
    if route.method == "POST":
        found["requestBody"] = _body(said)
    return found | {"responses": _responses(route, said)}


def summary(route: Route) -> str:
    """The first line of its handler's docstring."""
    return (inspect.getdoc(route.handler) or "").partition("\n")[0]


def _path(route: Route, said: Described) -> Iterator[dict[str, Any]]:
    for name in _HOLE.findall(route.path):
        schema = said.path.get(name, {"type": "string"})
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query(fields: Fields) -> Iterator[dict[str, Any]]:
    for name, schema in fields.items():
        yield {"name": name, "in": "query", "schema": schema}


def _body(said: Described) -> dict[str, Any]:
    if said.upload:
        return {"required": False, "content": {said.upload: {"schema": {"format": "binary"}}}}
    if said.bodies:
        schema: dict[str, Any] = {"anyOf": [_object(one) for one in said.bodies.values()]}
    elif isinstance(said.body, type):
        schema = {"$ref": REF.format(name=said.body.__name__)}
    else:
        schema = _object(said.body, said.needs)
    return {"required": bool(said.needs), "content": {JSON: {"schema": schema}}}


def _object(fields: Fields, needs: Iterable[str] = ()) -> dict[str, Any]:
    needed = {"required": list(needs)} if needs else {}
    return {
        "type": "object",
        "properties": dict(fields),
        **needed,
        "additionalProperties": False,
    }


def _responses(route: Route, said: Described) -> dict[str, Any]:
    content = {one: {"schema": _answer(said, one)} for one in said.content}
    found = {str(status): {"description": "done", "content": content} for status in said.statuses}
    left_out = set() if "{" in route.path else {"404"}
    left_out |= set() if route.method == "POST" else {"409", "413"}
    left_out |= {"401"} if route.path in OPEN_PATHS else set()
    refusals = (status for status in REASONS if status not in left_out)
    return found | {status: {"$ref": f"#/components/responses/{status}"} for status in refusals}


def _refusals() -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": REF.format(name="Error")}}}
    return {status: {"description": why, "content": error} for status, why in REASONS.items()}


def _answer(said: Described, content: str) -> dict[str, Any]:
    if content != JSON:
        return {"type": "string"} | ({"description": "events"} if content == STREAM else {})
    if isinstance(said.answer, type):
        return {"$ref": REF.format(name=said.answer.__name__)}
    return {"type": "object", "properties": dict(said.answer), "required": list(said.answer)}


def _structs(every: Iterable[Described]) -> dict[str, Any]:
    """The types that bodies and answers name."""
    named = {one for said in every for one in (said.body, said.answer) if isinstance(one, type)}
    kinds = sorted(named, key=lambda one: one.__name__)
    _, found = msgspec.json.schema_components(kinds, ref_template=REF, schema_hook=anything)
    return dict(sorted(found.items()))
