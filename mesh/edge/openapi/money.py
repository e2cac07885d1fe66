"""What routes about money take and answer: bills, rates, budgets, keys, offers, rentals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mesh.api.bills import GROUPINGS
from mesh.api.bills.asked import FIELDS as BILL
from mesh.api.bills.rates import (
    CHARGE_FIELDS,
    PARSERS,
    RATE_FIELDS,
    TARIFF_FIELDS,
    UNDO_FIELDS,
    WORTH_FIELDS,
)
from mesh.api.budgets.asked import OF_CAP, OF_GRANT, OWNED, PERIODS
from mesh.api.market.asked import FIELDS as OFFERS
from mesh.api.rentals.asked import FIELDS as RENT
from mesh.api.serving.keys import FIELDS as KEY
from mesh.api.serving.usage import GROUPINGS as OF_USAGE
from mesh.edge.http.rentals import FLAGS
from mesh.edge.openapi.shapes import (
    ANY,
    COUNT,
    FLAG,
    INTEGER,
    OBJECT,
    OBJECTS,
    TEXT,
    TEXTS,
    Described,
    Fields,
    many,
    one_of,
    texts,
)

BUDGET_TYPES: Final[Fields] = {
    "per": one_of(PERIODS),
    "owned": one_of(OWNED),
    "lift": FLAG,
    "periods": INTEGER,
}
KEY_TYPES: Final[Fields] = {"models": TEXTS, "rate_per_min": ANY}
BILL_QUERY: Final[Fields] = {**texts(BILL), "by": one_of(GROUPINGS)}
SAID: Final[Mapping[str, Fields]] = {
    "rate": texts(RATE_FIELDS),
    "tariff": {**texts(TARIFF_FIELDS), "bands": many(TEXT)},
    "currency": texts(WORTH_FIELDS),
    "charge": texts(CHARGE_FIELDS),
    "undo": texts(UNDO_FIELDS),
}

MONEY: Final[Mapping[str, Described]] = {
    "GET /v1/cost": Described(
        query=BILL_QUERY, answer={"by": TEXT, "zone": TEXT, "groups": OBJECTS, "now_ms": INTEGER}
    ),
    "GET /v1/cost/focus": Described(query=BILL_QUERY, content=("text/csv",)),
    "GET /v1/rates": Described(answer={"devices": OBJECTS, "said": OBJECTS}),
    "POST /v1/rates/{what}": Described(
        path={"what": one_of(PARSERS)},
        bodies=SAID,
        answer={"seq": INTEGER, "event_type": TEXT},
        statuses=(201,),
    ),
    "GET /v1/budgets": Described(answer={"budgets": OBJECTS, "alarms": OBJECTS, "faults": OBJECTS}),
    "POST /v1/budgets": Described(
        body={**texts(OF_CAP), **{n: BUDGET_TYPES[n] for n in OF_CAP if n in BUDGET_TYPES}},
        answer={"name": TEXT},
        statuses=(201,),
    ),
    "POST /v1/budgets/grants": Described(
        body={**texts(OF_GRANT), **{n: BUDGET_TYPES[n] for n in OF_GRANT if n in BUDGET_TYPES}},
        needs=("peer", "amount"),
        statuses=(201,),
    ),
    "GET /v1/keys": Described(answer={"keys": OBJECTS}),
    "POST /v1/keys": Described(
        body={**texts(KEY), **KEY_TYPES},
        needs=("name",),
        answer={"key_id": TEXT, "name": TEXT, "secret": TEXT},
        statuses=(201,),
    ),
    "POST /v1/keys/{id}/revoke": Described(),
    "GET /v1/usage": Described(
        query={"by": one_of(OF_USAGE), "since": {**COUNT, "description": "milliseconds UTC"}},
        answer={"by": TEXT, "since_ms": INTEGER, "groups": OBJECTS, "total": OBJECT},
    ),
    "GET /v1/offers": Described(query=texts(OFFERS), answer={"offers": OBJECTS}),
    "GET /v1/rentals": Described(
        query={"ended": one_of(FLAGS)},
        answer={"rentals": OBJECTS, "requests": OBJECTS, "hourly_nusd": INTEGER},
    ),
    "POST /v1/rentals": Described(body=texts(RENT), needs=("life",), statuses=(201,)),
    "POST /v1/rentals/{id}/return": Described(),
    "GET /v1/clouds": Described(answer={"clouds": OBJECTS}),
    "POST /v1/clouds/keys": Described(answer={"clouds": OBJECTS}),
    "POST /v1/clouds/{provider}/take": Described(),
    "GET /v1/orphans": Described(answer={"orphans": OBJECTS}),
    "POST /v1/orphans/{instance}/kill": Described(),
}
