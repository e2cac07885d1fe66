"""The OpenAPI document: every route of a real daemon is in it, and none of it is made up."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.edge.http.guard import OPEN_PATHS
from mesh.edge.openapi.document import ROUTES
from scripts.openapi_doc import page
from tests.support.daemons import Answer, Asked

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"
DOCUMENT = json.loads(KEPT.read_text())
ENDS = {"POST /v1/shutdown"}  # takes no field, and is told so before it ends anything
# Its body is a file, not fields; and the seed's call looks at its device before its fields.
NO_FIELDS = {"POST /v1/import", "POST /dispatch"}
NOT_REFUSED = {"GET /healthz", "GET /readyz"}  # probes put what they like behind the path
STRANGE = "no_such_field"
GIVEN = {"what": "rate"}
# Refusals of a field that there is none of: by the routes, and by the parsers of requests.
UNKNOWN = re.compile(rf"unknown field '{STRANGE}'|{STRANGE}: no such field|field `{STRANGE}`")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


EVERY = [f"{method} {path}" for method, path, _ in operations()]


def filled(path: str) -> str:
    """A path with something in its holes."""
    return re.sub(r"{(\w+)}", lambda hole: GIVEN.get(hole[1], "nobody"), path)


def refused(answer: Answer) -> dict[str, str]:
    """A refusal, in the one shape there is."""
    found = answer.json()
    assert set(found) == {"code", "text", "hint"}
    assert answer.kind.startswith("application/json")
    return found


def body_fields(operation: dict[str, Any]) -> dict[str, Any]:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    return schema["properties"]


def test_the_kept_document_is_what_a_daemon_serves(asked: Asked) -> None:
    served = asked.ask("GET", "/v1/openapi.json").json()
    assert page(served) == KEPT.read_text(), "write it anew: scripts/openapi-doc"


def test_every_route_is_described_and_every_description_is_of_a_route() -> None:
    assert sorted(EVERY) == sorted(ROUTES)


def test_every_route_says_in_one_sentence_what_it_is_for() -> None:
    silent = [
        f"{method} {path}"
        for method, path, operation in operations()
        if not re.fullmatch(r"\S.{10,}[.”]", operation["summary"])
    ]
    assert silent == []


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("route", [one for one in EVERY if one.startswith("GET")])
def test_a_query_field_is_described_if_and_only_if_the_route_knows_it(
    route: str, asked: Asked
) -> None:
    if route in NOT_REFUSED:
        return
    method, path = route.split(" ")
    said = DOCUMENT["paths"][path]["get"].get("parameters", [])
    found = refused(asked.ask(method, f"{filled(path)}?{STRANGE}=1"))
    assert (found["code"], found["text"]) == ("UnknownField", f"unknown field '{STRANGE}'")
    known = sorted(one["name"] for one in said if one["in"] == "query")
    assert found["hint"] == f"known: {', '.join(known) or 'none'}"


@pytest.mark.parametrize("route", [one for one in EVERY if one.startswith("POST")])
def test_a_body_field_nobody_knows_is_refused_with_those_that_are_described(
    route: str, asked: Asked
) -> None:
    if route in NO_FIELDS:
        return
    method, path = route.split(" ")
    operation = DOCUMENT["paths"][path]["post"]
    found = refused(asked.ask(method, filled(path), {STRANGE: 1}))
    assert UNKNOWN.search(found["text"]), found
    if found["hint"].startswith("known: "):
        known = found["hint"].removeprefix("known: ").split(", ")
        assert sorted(known) == (sorted(body_fields(operation)) or ["none"])


@pytest.mark.parametrize("route", [one for one in EVERY if one.startswith("POST")])
def test_every_field_that_is_described_is_known_to_its_parser(route: str, asked: Asked) -> None:
    if route in NO_FIELDS | ENDS:
        return
    method, path = route.split(" ")
    for name in body_fields(DOCUMENT["paths"][path]["post"]):
        answer = asked.ask(method, filled(path), {name: [[None]]})
        assert answer.status < 500
        if answer.status >= 400:
            text = refused(answer)["text"]
            assert not re.search(r"unknown field|no such (field|option)", text), text


def test_each_kind_of_statement_on_money_knows_the_fields_it_is_described_with(
    asked: Asked,
) -> None:
    operation = DOCUMENT["paths"]["/v1/rates/{what}"]["post"]
    kinds = operation["parameters"][0]["schema"]["enum"]
    bodies = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    for kind, body in zip(kinds, bodies, strict=True):
        for name in body["properties"]:
            answer = asked.ask("POST", f"/v1/rates/{kind}", {name: [[None]]})
            assert "no such field" not in refused(answer)["text"]


@pytest.mark.parametrize("path", ["x" * 700 + ".gguf", "~nobody-of-that-name/a.gguf", "a\0.gguf"])
@pytest.mark.parametrize("route", ["plan", "capacity", "sweep", "jobs", "models/rm"])
def test_a_model_that_no_file_can_be_called_is_the_askers_mistake_and_not_the_daemons(
    route: str, path: str, asked: Asked
) -> None:
    answer = asked.ask("POST", f"/v1/{route}", {"model": path})
    assert 400 <= answer.status < 500
    assert refused(answer)["text"]


@pytest.mark.parametrize("route", EVERY)
def test_no_route_answers_a_stranger_or_a_page_of_another_site(route: str, asked: Asked) -> None:
    method, path = route.split(" ")
    body = {} if method == "POST" else None
    token = {"Authorization": f"Bearer {asked.daemon.token}"}
    attempts = {
        "BadOrigin": {**token, "Origin": "http://evil.example"},
        "BadHost": {**token, "Host": "evil.example"},
    }
    if path not in OPEN_PATHS:
        attempts |= {"none": {}, "wrong": {"Authorization": "Bearer " + "0" * 64}}
        attempts |= {"basic": {"Authorization": f"Basic {asked.daemon.token}"}}
    for what, headers in attempts.items():
        answer = asked.ask(method, filled(path), body, headers)
        code = what if what.startswith("Bad") else "Unauthorized"
        assert (answer.status, refused(answer)["code"]) == (403 if "Bad" in what else 401, code)


@pytest.mark.parametrize("route", [one for one in EVERY if one.startswith("GET")])
def test_an_answer_has_what_the_document_promises(route: str, asked: Asked) -> None:
    method, path = route.split(" ")
    answer = asked.ask(method, filled(path))
    if answer.status >= 400:
        assert "{" in path
        refused(answer)
        return
    content = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]
    kind = answer.kind.partition(";")[0]
    assert kind in content
    if kind == "application/json" and "required" in content[kind]["schema"]:
        assert set(content[kind]["schema"]["required"]) <= set(answer.json())
