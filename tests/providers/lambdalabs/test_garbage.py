"""Any JSON of any type, with any status, gives a value and never an error."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.lambdalabs import ending, launch, listing, offers, ssh_keys
from providers.rental.contract import (
    Accepted,
    Ask,
    Made,
    Page,
    Refused,
    Reply,
    Unclear,
    Unread,
)
from tests.providers.lambdalabs.replies import A10, KEY, instance

WORDS = st.sampled_from(
    "data error code message instance_ids terminated_instances id name ip status actions terminate "
    "available reason_code tags key value instance_type description price_cents_per_hour specs "
    "gpus regions_with_capacity_available public_key page_token active booting".split()
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner, max_size=5)
    ),
    max_leaves=25,
)
STATUSES = st.sampled_from((0, 200, 201, 204, 302, 400, 401, 403, 404, 409, 410, 429, 500, 503))
BROKE = st.sampled_from(("", "timeout", "reset", "unreached"))


def spoilt(value: Any, *, by: Any, at: int) -> Any:
    """A good document with `by` in place of its part number `at`, counted depth first."""
    left = [at]

    def walk(one: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            return by
        if isinstance(one, dict):
            return {key: walk(part) for key, part in one.items()}
        return [walk(part) for part in one] if isinstance(one, list) else one

    return walk(value)


GOOD = st.sampled_from(
    (
        {"data": {"gpu_1x_a10": A10}},
        {"data": [instance(tags=[{"key": "fleet-label", "value": "x"}])], "page_token": "n"},
        {"data": {"instance_ids": ["b1"]}},
        {"data": {"terminated_instances": [instance(id="b1")]}},
        {"data": [{"id": "1", "name": "k", "public_key": KEY}]},
        {"error": {"code": "global/conflict", "message": "m", "suggestion": "s"}},
    )
)
BODIES = JSON | st.builds(
    lambda good, by, at: spoilt(good, by=by, at=at), GOOD, JSON, st.integers(0, 30)
)


@settings(max_examples=400, deadline=None)
@given(status=STATUSES, body=BODIES, broke=BROKE)
def test_every_reply_is_read_as_something(status: int, body: object, broke: str) -> None:
    reply = Reply(status=status, body=body, broke=broke)
    assert isinstance(offers.read(reply, Ask()), offers.Read | Unread)
    assert isinstance(listing.read(reply), Page | Unread)
    assert isinstance(launch.read(reply), Made | Refused | Unclear)
    assert isinstance(ending.read(reply, "b1"), Accepted | Refused | Unclear)
    assert isinstance(ssh_keys.found(reply, KEY), str | Unread)
    assert isinstance(ssh_keys.added(reply, KEY), str | Refused | Unclear)


@settings(max_examples=300, deadline=None)
@given(body=BODIES)
def test_what_is_read_is_fit_to_be_used(body: object) -> None:
    reply = Reply(status=200, body=body)
    found, page = offers.read(reply, Ask()), listing.read(reply)
    if isinstance(found, offers.Read):
        for one in found.offers:
            assert one.hourly_nusd > 0
            assert one.memory_bytes >= 1 << 30
            assert one.gpu_count >= 1
            assert offers.type_and_region(one.offer_id) is not None
    if isinstance(page, Page):
        for row in page.rows:
            assert row.instance_id
            assert row.instance_id.isascii()
            assert (row.label + row.note).isprintable()
            assert row.price_nusd >= 0
            assert len(row.label) <= 300


@settings(max_examples=200, deadline=None)
@given(status=STATUSES.filter(lambda status: status == 0 or status >= 300), body=BODIES)
def test_only_a_success_makes_or_ends_or_lists(status: int, body: object) -> None:
    reply = Reply(status=status, body=body)
    assert not isinstance(launch.read(reply), Made)
    assert not isinstance(listing.read(reply), Page)
    ended = ending.read(reply, "b1")
    assert not isinstance(ended, Accepted) or ended.gone
