"""What routes about jobs, devices, plans and models take and answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mesh.api.hardware import DeviceRequest
from mesh.api.jobs import JobRequest
from mesh.api.market.compare import DECIDED, OWN
from mesh.api.most import NOT_OF_CAPACITY, NOT_OF_SWEEP
from mesh.api.requests import PlanRequest
from mesh.api.telemetry import FleetNow
from mesh.api.upkeep import FIELDS as UPKEEP
from mesh.api.wire.workfiles import LeftFiles
from mesh.edge.gateway.local import FIELDS as SERVICE
from mesh.edge.gateway.ports import USUAL
from mesh.edge.openapi.shapes import (
    ANY,
    COUNT,
    FLAG,
    INTEGER,
    JSON,
    OBJECT,
    OBJECTS,
    STREAM,
    TEXT,
    TEXTS,
    Described,
    Schema,
    many,
    maybe,
    one_of,
    struct_fields,
    texts,
)
from mesh.ledger.event import Event
from mesh.state.facts.upkeep import DRAIN_REASONS
from providers.ssh.hosts import Host

AXIS: Final[Schema] = {"anyOf": [INTEGER, TEXT], "description": 'a number, "1..64" or "2k,8k"'}
SWEEP: Final = {
    **struct_fields(PlanRequest, (*NOT_OF_SWEEP, "parallel")),
    "batch": AXIS,
    "context": AXIS,
    "quant": {"anyOf": [TEXT, TEXTS], "description": "one type of weights, or several"},
}
JOB: Final = struct_fields(JobRequest)
JOB_ID: Final = {"job_id": TEXT}
SERVICE_FIELDS: Final = {name: OBJECT if name == "spec" else INTEGER for name in SERVICE}
UPKEEP_TYPES: Final = {"reason_code": one_of(DRAIN_REASONS), "reservation_id": TEXT}
USE: Final = {"device_id": TEXT, "name": TEXT, "drained": TEXT, "reservations": OBJECTS}
MODEL_ID: Final[Schema] = {**TEXT, "pattern": "^[0-9a-f]{32}$"}
FETCH: Final = {"state": TEXT}
PLACE: Final = {"as": one_of(USUAL), "port": INTEGER}
OUTPUT: Final = Described(
    query={
        "history": {**TEXT, "description": "0: only what is written from now on"},
        "since": COUNT,
    },
    content=(STREAM,),
)

WORK: Final[Mapping[str, Described]] = {
    "GET /v1/devices": Described(answer={"devices": OBJECTS}),
    "POST /v1/devices": Described(
        body=struct_fields(DeviceRequest), needs=("name",), answer=Event, statuses=(201,)
    ),
    "POST /v1/devices/{id}/remove": Described(answer=Event),
    **{
        f"POST /v1/devices/{{id}}/{verb}": Described(
            body={name: UPKEEP_TYPES.get(name, INTEGER) for name in names}, answer=USE
        )
        for verb, names in UPKEEP.items()
    },
    "POST /v1/calibrate": Described(answer={"events": many(OBJECT), "busy": TEXT}),
    "GET /v1/telemetry": Described(
        query={"peer": TEXT, "once": TEXT}, answer=FleetNow, content=(JSON, STREAM)
    ),
    "POST /v1/plan": Described(
        body=struct_fields(PlanRequest),
        needs=("model",),
        answer={"question": OBJECT, "placements": OBJECTS, "refusals": OBJECTS, "notes": TEXTS},
    ),
    "POST /v1/capacity": Described(
        body=struct_fields(PlanRequest, (*NOT_OF_CAPACITY, "backend")),
        needs=("model",),
        answer={"capacities": OBJECTS},
    ),
    "POST /v1/sweep": Described(
        body=SWEEP, needs=("model",), answer={"cells": OBJECTS, "notes": TEXTS}
    ),
    "POST /v1/compare": Described(
        body={**struct_fields(PlanRequest, DECIDED), **dict.fromkeys(OWN, ANY)},
        needs=("model", "tokens_per_day"),
        answer={"question": OBJECT, "rows": OBJECTS, "break_even": OBJECTS, "notes": TEXTS},
    ),
    "GET /v1/jobs": Described(
        query={"going": COUNT, "ended": COUNT},
        answer={"jobs": OBJECTS, "going": INTEGER, "ended": INTEGER},
    ),
    "GET /v1/jobs/{id}": Described(answer={"job_id": TEXT, "status": TEXT, "devices": TEXTS}),
    "GET /v1/jobs/{id}/logs": OUTPUT,
    "GET /v1/jobs/{id}/answer": OUTPUT,
    "GET /v1/jobs/{id}/files": Described(answer=LeftFiles),
    "GET /v1/jobs/{id}/file": Described(query={"offset": COUNT, "path": TEXT}),
    "POST /v1/jobs": Described(body=JOB, answer=JOB_ID, statuses=(201,)),
    "POST /v1/jobs/{id}/cancel": Described(answer=JOB_ID, statuses=(202,)),
    "POST /v1/jobs/{id}/adopt": Described(),
    "POST /v1/jobs/{id}/forget": Described(),
    "POST /dispatch": Described(
        body={**JOB, "device_id": TEXT},
        needs=("job_id", "device_id", "model"),
        answer=JOB_ID,
        statuses=(200, 201),
    ),
    "GET /v1/services": Described(answer={"services": OBJECTS, "replicas": OBJECTS, "url": TEXT}),
    "POST /v1/services": Described(
        body=SERVICE_FIELDS, needs=("spec",), answer={"service_id": TEXT}, statuses=(201,)
    ),
    "POST /v1/services/{id}/end": Described(answer={"service_id": TEXT}),
    "GET /v1/proxies": Described(answer={"proxies": OBJECTS, "url": TEXT}),
    "POST /v1/proxies": Described(body=PLACE, answer={"port": INTEGER}, statuses=(201,)),
    "POST /v1/proxies/close": Described(body=PLACE, answer={"closed": many(ANY)}),
    "GET /v1/models/where": Described(
        query=texts(("model",)),
        answer={"models": OBJECTS, "silent": OBJECTS, "notes": TEXTS},
    ),
    "GET /v1/models/fetches": Described(answer={"fetches": OBJECTS, "sent_bytes": INTEGER}),
    "GET /v1/models/fetches/{id}": Described(
        query={"peer": TEXT}, path={"id": MODEL_ID}, answer=FETCH
    ),
    "POST /v1/models/pull": Described(
        body={**texts(("model", "from")), "metered": FLAG},
        needs=("model",),
        answer=FETCH,
        statuses=(200, 202),
    ),
    "POST /v1/models/push": Described(
        body=texts(("model", "to")), needs=("model", "to"), answer=FETCH, statuses=(202,)
    ),
    "POST /v1/models/rm": Described(body={**texts(("model",)), "look": FLAG}, needs=("model",)),
    "GET /v1/ssh": Described(answer={"hosts": OBJECTS}),
    "POST /v1/ssh": Described(body=Host, answer={"name": TEXT}, statuses=(201,)),
    "POST /v1/ssh/{name}/probe": Described(answer={"name": TEXT}),
    "POST /v1/ssh/{name}/remove": Described(answer={"name": maybe(TEXT)}),
}
