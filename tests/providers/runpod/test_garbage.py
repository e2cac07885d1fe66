"""Whatever comes as a reply gives a value of the contract, and never an exception."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from providers.rental.contract import (
    Accepted,
    Balance,
    Charges,
    Made,
    Page,
    Refused,
    Reply,
    Unclear,
    Unread,
)
from providers.runpod.balance import balance_from
from providers.runpod.charges import charges_from
from providers.runpod.create import created_from
from providers.runpod.ending import ended_from
from providers.runpod.listing import page_from
from providers.runpod.offers import offers_from

# The names that the readers look for, so that garbage goes deep.
NAMES = (
    "id name status cost gpus pods records data myself errors message extensions code title detail "
    "price secure community maxCount memory availability dataCenters ssh direct host port username "
    "runtime startedAt disk mounts persistent size cluster locked pagination hasNextPage "
    "nextCursor podId totalAmount startTime clientBalance currentSpendPerHr"
).split()
WORDS = ("p1", "RUNNING", "EXITED", "STARTING", "SECURE", "LOW", "2027-01-15T08:00:00Z", "0.34", "")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
)
JSON = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), below, max_size=8)
    ),
    max_leaves=30,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=12)
BODIES = (
    JSON
    | st.fixed_dictionaries({"pods": st.lists(OBJECTS, max_size=3)})
    | st.fixed_dictionaries({"gpus": st.lists(OBJECTS, max_size=3)})
    | st.fixed_dictionaries({"records": st.lists(OBJECTS, max_size=3)})
    | st.fixed_dictionaries({"data": st.fixed_dictionaries({"myself": OBJECTS})})
)
STATUSES = st.sampled_from((0, 200, 201, 204, 301, 400, 401, 404, 410, 422, 429, 500, 999))


def clean(*texts: str) -> bool:
    return all(text.isprintable() for text in texts)


@given(status=STATUSES, body=BODIES)
def test_any_reply_to_a_question_is_a_value(status: int, body: Any) -> None:
    reply = Reply(status=status, body=body)
    offers = offers_from(reply, "SECURE", 2, 40 << 30)
    page = page_from(reply)
    assert isinstance(offers, tuple | Unread)
    assert isinstance(page, Page | Unread)
    assert isinstance(charges_from(reply, "p1", 0, 10**15), Charges | Unread)
    assert isinstance(balance_from(reply), Balance | Unread)
    if isinstance(offers, tuple):
        assert all(o.hourly_nusd > 0 and o.memory_bytes > 0 and clean(o.gpu) for o in offers)
    if isinstance(page, Page):
        assert all(r.price_nusd >= 0 and (r.rate_nusd or 0) >= 0 for r in page.rows)
        assert all(clean(r.label, r.note, r.instance_id) for r in page.rows)


@given(status=STATUSES, body=BODIES)
def test_any_reply_to_a_change_is_a_value(status: int, body: Any) -> None:
    reply = Reply(status=status, body=body)
    made, ended = created_from(reply), ended_from(reply)
    assert isinstance(made, Made | Refused | Unclear)
    assert isinstance(ended, Accepted | Refused | Unclear)
    assert not isinstance(made, Made) or (200 <= status < 300 and made.instance_id)
    assert not isinstance(ended, Accepted) or status in (204, 404)
    for told in (made, ended):
        assert not isinstance(told, Refused) or clean(told.text)
