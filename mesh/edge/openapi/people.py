"""What routes about the fleet itself take and answer: its health, its ledger, its peers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mesh.edge.openapi.shapes import (
    COUNT,
    INTEGER,
    OBJECT,
    OBJECTS,
    STREAM,
    TEXT,
    Described,
    one_of,
    texts,
)
from mesh.edge.store.reports import ImportReport, VerifyReport
from mesh.ledger.event import Event
from mesh.state.members import ROLES

STATUS: Final = {"status": TEXT}
ROLE: Final = {"role": one_of(ROLES)}
UPLOAD: Final = "application/octet-stream"  # lines of JSON, as fleet export writes them

PEOPLE: Final[Mapping[str, Described]] = {
    "GET /healthz": Described(answer=STATUS),
    "GET /readyz": Described(answer=STATUS),
    "GET /metrics": Described(content=("text/plain",)),
    "GET /v1/openapi.json": Described(answer={"openapi": TEXT, "info": OBJECT, "paths": OBJECT}),
    "GET /v1/status": Described(
        query={"running": {**TEXT, "description": "0: without the jobs that have not ended"}},
        answer={
            "peer_id": TEXT,
            "devices": OBJECTS,
            "jobs": OBJECT,
            "running": OBJECTS,
            "events": INTEGER,
            "gateway": OBJECT,
        },
    ),
    "GET /v1/doctor": Described(answer={"peer_id": TEXT, "dials": OBJECTS, "invites": OBJECTS}),
    "GET /v1/events": Described(query={"since": COUNT}, content=(STREAM,)),
    "GET /v1/verify": Described(answer=VerifyReport),
    "GET /v1/export": Described(content=(UPLOAD,)),
    "POST /v1/import": Described(query=texts(("name",)), upload=UPLOAD, answer=ImportReport),
    "POST /v1/notes": Described(
        body=texts(("text",)), needs=("text",), answer=Event, statuses=(201,)
    ),
    "POST /v1/shutdown": Described(answer=STATUS, statuses=(202,)),
    "GET /v1/peers": Described(answer={"peers": OBJECTS}),
    "GET /v1/peers/pending": Described(answer={"pending": OBJECTS}),
    "GET /v1/sync/status": Described(answer={"events": INTEGER, "peers": OBJECTS}),
    "POST /v1/invites": Described(
        body={**ROLE, "ttl_ms": INTEGER, "uses": INTEGER}, answer={"code": TEXT}, statuses=(201,)
    ),
    "POST /v1/join": Described(
        body=texts(("code", "name", "host")), needs=("code",), statuses=(200, 202)
    ),
    "POST /v1/peers/addresses": Described(
        body=texts(("address",)), needs=("address",), answer={"address": TEXT}, statuses=(201,)
    ),
    "POST /v1/peers/{id}/accept": Described(body=ROLE),
    "POST /v1/peers/{id}/ignore": Described(),
    "POST /v1/peers/{id}/remove": Described(body=texts(("reason", "keep"))),
    "POST /v1/peers/{id}/role": Described(body=ROLE, needs=("role",)),
    "POST /v1/peers/{id}/rename": Described(body=texts(("name",)), needs=("name",)),
    "POST /v1/recovery": Described(statuses=(201,)),
}
