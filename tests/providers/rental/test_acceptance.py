"""What every cloud's adapter and its stand-in hold to, whichever it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.rental import contract as c
from providers.rental.labels import read_label
from providers.rental.reading import date_ms
from providers.rental.waits import PENALTY_MS, hold_ms
from tests.emulators.machines import HOUR
from tests.emulators.wire import LocalWire
from tests.providers.rental.acceptance import MINUTE, UP, Stage, ask_everything, order_of, stage
from tests.providers.rental.registry import PROVIDERS

WAYS = [(name, way) for name in sorted(PROVIDERS) for way in ("local", "http")]
ANSWERS: dict[str, tuple[type, ...]] = {
    "offers": (tuple, c.Unread),
    "create": (c.Made, c.Refused, c.Unclear),
    "list": (c.Page, c.Unread),
    "terminate": (c.Accepted, c.Refused, c.Unclear),
    "charges": (c.Charges, c.Unread),
    "balance": (c.Balance, c.Unread),
    "rises": (tuple, c.Unread),
    "refuse": (c.Accepted, c.Refused, c.Unclear),
}
LIST_FAULTS = ("empty", "success_false", "retired", "malformed", "error_before", "limited")
MAKING_FAULTS = ("error_after", "reset", "lost_reply")


@pytest.fixture(params=WAYS, ids=["-".join(way) for way in WAYS])
async def on(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with stage(*request.param) as made:
        yield made


async def test_the_offers_are_the_stock(on: Stage) -> None:
    found = await on.cloud.offers(c.Ask())
    assert isinstance(found, tuple)
    assert {one.offer_id: one for one in found} == {o.offer_id: o for o in on.emulator.stock()}
    assert len(found) > 1


async def test_offers_with_less_memory_than_asked_are_not_given(on: Stage) -> None:
    asked = max(one.memory_bytes for one in on.emulator.stock())
    found = await on.cloud.offers(c.Ask(memory_bytes=asked))
    assert isinstance(found, tuple)
    assert {one.memory_bytes for one in found} == {asked}


async def test_a_machine_is_listed_with_its_label_and_its_price_from_the_create_on(
    on: Stage,
) -> None:
    offer = await on.offer()
    order = order_of(offer)
    made = await on.cloud.create(order)
    assert isinstance(made, c.Made)
    row = (await on.listed())[order.label]
    assert row.instance_id == made.instance_id in on.emulator.machines.all
    assert read_label("m1", row.label) is not None
    assert row.status in ("placing", "image", "container")
    assert row.price_nusd == offer.hourly_nusd
    booting = offer.hourly_nusd if on.cloud.profile.from_create else offer.stopped_hourly_nusd
    assert row.rate_nusd == booting


async def test_a_machine_that_is_up_has_an_address_and_costs_what_was_quoted(on: Stage) -> None:
    offer = await on.offer()
    label, _ = await on.make(offer=offer)
    row = (await on.listed())[label]
    assert row.status == "up"
    assert row.rate_nusd == row.price_nusd == offer.hourly_nusd
    assert row.ssh is not None


async def test_all_pages_are_read(on: Stage) -> None:
    offers = await on.cloud.offers(c.Ask())
    assert isinstance(offers, tuple)
    labels = {(await on.make(str(n), offers[n % len(offers)]))[0] for n in range(5)}
    assert set(await on.listed()) == labels


async def test_a_terminated_machine_is_gone_and_may_be_terminated_again(on: Stage) -> None:
    label, made = await on.make()
    assert isinstance(await on.cloud.terminate(made.instance_id), c.Accepted)
    on.passes(UP)
    assert label not in await on.listed()
    assert await on.cloud.terminate(made.instance_id) == c.Accepted(gone=True)


async def test_a_terminate_that_was_ignored_is_seen_in_the_listing(on: Stage) -> None:
    label, made = await on.make()
    on.faults.append(("terminate", "ignored"))
    await on.cloud.terminate(made.instance_id)
    on.passes(UP)
    assert label in await on.listed()


async def test_a_machine_that_nobody_visits_ends_itself(on: Stage) -> None:
    order = order_of(await on.offer(), lease_ms=30 * MINUTE)
    assert isinstance(await on.cloud.create(order), c.Made)
    on.passes(UP)
    assert order.label in await on.listed()
    on.passes(40 * MINUTE)
    assert (order.label in await on.listed()) != on.cloud.profile.has_dead_man


async def test_a_refused_create_makes_nothing(on: Stage) -> None:
    order = order_of(await on.offer())
    on.faults.append(("create", "no_capacity"))
    answer = await on.cloud.create(order)
    assert isinstance(answer, c.Refused | c.Unclear)
    assert order.label not in await on.listed()
    assert not on.emulator.machines.all


@pytest.mark.parametrize("fault", MAKING_FAULTS)
async def test_what_a_create_made_and_did_not_say_is_found_by_its_label(
    on: Stage, fault: str
) -> None:
    order = order_of(await on.offer())
    on.faults.append(("create", fault))
    assert isinstance(await on.cloud.create(order), c.Unclear)
    on.passes(UP)
    assert order.label in await on.listed()


async def test_a_machine_that_came_with_an_error_is_known_and_listed(on: Stage) -> None:
    order = order_of(await on.offer())
    on.faults.append(("create", "low_bid"))
    answer = await on.cloud.create(order)
    if not on.cloud.profile.has_spot:  # bids are Vast.ai's alone: others make it, or don't
        return
    assert isinstance(answer, c.Made)
    assert answer.code
    row = (await on.listed())[order.label]
    assert row.status in c.BAD
    assert row.rate_nusd > 0


async def test_one_create_is_one_request_whatever_becomes_of_it(on: Stage) -> None:
    offer = await on.offer()
    for n, fault in enumerate((*MAKING_FAULTS, "error_before", "limited", "")):
        order = order_of(offer, f"x{n}")
        on.faults.extend([("create", fault)] * bool(fault))
        before = on.counted["create"]
        await on.listed()  # a connection is kept by now
        await on.cloud.create(order)
        assert on.counted["create"] == before + 1, fault
        made = [one for one in on.emulator.machines.all.values() if one.label == order.label]
        assert len(made) == (fault not in ("error_before", "limited")), fault


async def test_one_terminate_is_one_request_when_the_connection_breaks(on: Stage) -> None:
    _, made = await on.make()
    on.faults.append(("terminate", "reset"))
    assert isinstance(await on.cloud.terminate(made.instance_id), c.Unclear)
    assert on.counted["terminate"] == 1


@pytest.mark.parametrize("fault", LIST_FAULTS)
async def test_what_is_no_listing_is_not_read_as_an_empty_one(on: Stage, fault: str) -> None:
    await on.make()
    on.faults.append(("list", fault))
    answer = await on.cloud.page("")
    assert isinstance(answer, c.Unread)
    assert answer.why
    if fault == "retired":
        assert answer.why == "retired"


async def test_charges_are_the_meter_within_their_rounding(on: Stage) -> None:
    begin = on.now()
    _, made = await on.make()
    on.passes(3 * HOUR)
    await on.cloud.terminate(made.instance_id)
    on.passes(24 * HOUR)
    answer = await on.cloud.charges(made.instance_id, begin, on.now())
    if not on.cloud.profile.has_charges:
        assert isinstance(answer, c.Unread)
        return
    assert isinstance(answer, c.Charges)
    (machine,) = on.emulator.machines.all.values()
    assert answer.amount_nusd == on.emulator.invoice(machine.id, on.now())
    assert abs(answer.amount_nusd - machine.meter(on.now()) // HOUR) <= answer.step_nusd
    assert answer.amount_nusd > 0


async def test_the_balance_is_a_sum_or_said_to_be_unknown(on: Stage) -> None:
    answer = await on.cloud.balance()
    assert isinstance(answer, c.Balance | c.Unread)
    if isinstance(answer, c.Balance) and answer.left_nusd is not None:
        assert answer.left_nusd > 0


@pytest.mark.parametrize("op", ["create", "list"])
async def test_a_429_holds_as_long_as_it_says_in_each_of_its_shapes(on: Stage, op: str) -> None:
    offer = await on.offer()
    for n in range(20):  # enough to meet each
        on.faults.append((op, "limited"))
        if op == "list":
            answer = await on.cloud.page("")
            assert isinstance(answer, c.Unread)
            assert answer.why == "429"
        else:
            assert await on.cloud.create(order_of(offer, f"l{n}")) == c.Unclear(code="429")
        wait = hold_ms(on.tap.last, 0, on.now())
        assert on.holds[-1] <= wait <= on.holds[-1] + PENALTY_MS + 1000
    assert not on.emulator.machines.all
    assert len(on.holds) == 20


async def test_a_reply_has_the_providers_time(on: Stage) -> None:
    on.passes(86_400_000)
    await on.cloud.page("")
    said = date_ms(on.tap.last.headers.get("date", ""))
    assert said is not None
    assert abs(said - on.now()) < 5000


async def test_a_wrong_key_is_said_to_be_one(on: Stage) -> None:
    on.emulator.key = "another"
    answer = await on.cloud.page("")
    assert isinstance(answer, c.Unread)
    assert answer.why == "auth"
    order = order_of(on.emulator.stock()[0])
    assert isinstance(await on.cloud.create(order), c.Refused)
    assert not on.emulator.machines.all


# -- garbage

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["", "\x00\x1b[2J", "9" * 5000, "1e400", -1, 0, 1 << 63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


class Scripted:
    """A wire that gives replies from a book, by operation, one spoilt."""

    def __init__(self, book: dict[str, c.Reply]) -> None:
        self.book = book

    async def send(self, request: c.Request) -> c.Reply:
        return self.book.get(request.op, c.Reply(status=500))


async def _true_replies(name: str) -> tuple[str, dict[str, c.Reply]]:
    async with stage(name, "local") as on:
        _, made = await on.make()
        await ask_everything(on.cloud, await on.offer(), made.instance_id)
        if hasattr(on.emulator, "ask_rise"):
            on.emulator.ask_rise(next(iter(on.emulator.machines.all)), 10**9)
            await on.cloud.rises()
        return made.instance_id, {request.op: reply for request, reply in on.tap.replies}


TRUE = {name: asyncio.run(_true_replies(name)) for name in PROVIDERS}


def _paths(body: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, object]] = []
    if isinstance(body, dict):
        inner = list(body.items())
    elif isinstance(body, list):
        inner = list(enumerate(body))
    return [path, *(p for key, value in inner for p in _paths(value, (*path, key)))]


def _spoilt(body: object, path: tuple[Any, ...], odd: object) -> object:
    if not path:
        return odd
    key, *rest = path
    if isinstance(body, dict):
        return {k: _spoilt(v, tuple(rest), odd) if k == key else v for k, v in body.items()}
    assert isinstance(body, list)
    return [_spoilt(v, tuple(rest), odd) if k == key else v for k, v in enumerate(body)]


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@settings(UNHURRIED, max_examples=300)
@given(data=st.data())
def test_no_reply_whatever_is_in_it_raises(name: str, data: st.DataObject) -> None:
    provider, (instance_id, true) = PROVIDERS[name], TRUE[name]
    op = data.draw(st.sampled_from(sorted(true)))
    body = _spoilt(true[op].body, data.draw(st.sampled_from(_paths(true[op].body))), data.draw(ODD))
    status = data.draw(st.sampled_from([200, 201, 204, 301, 400, 401, 404, 409, 410, 429, 500]))
    headers = {"retry-after": data.draw(st.text(max_size=8)), "date": data.draw(st.text())}
    book = {**true, op: c.Reply(status=status, body=body, headers=headers)}
    offer = provider.emulator(random.Random(7)).stock()[0]
    answers = asyncio.run(ask_everything(provider.adapter(Scripted(book)), offer, instance_id))
    for asked, answer in answers:
        assert isinstance(answer, ANSWERS[asked]), asked
    assert hold_ms(book[op], 0, 0) >= 0
    assert date_ms(book[op].headers.get("date", "")) is None or status


@pytest.mark.parametrize("name", sorted(PROVIDERS))
@settings(UNHURRIED, max_examples=100)
@given(body=ODD, status=st.integers(0, 599))
def test_no_body_of_any_kind_raises(name: str, body: object, status: int) -> None:
    provider = PROVIDERS[name]
    book = {op: c.Reply(status=status, body=body) for op in ANSWERS}
    offer = provider.emulator(random.Random(7)).stock()[0]
    for asked, answer in asyncio.run(ask_everything(provider.adapter(Scripted(book)), offer, "71")):
        assert isinstance(answer, ANSWERS[asked]), asked


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_stand_in_is_the_same_each_time(name: str) -> None:
    async def once() -> list[c.Reply]:
        async with stage(name, "local", seed=11) as on:
            await on.make()
            on.faults.extend([("list", "limited"), ("list", "malformed"), ("list", "lag")])
            for _ in range(4):
                await on.cloud.page("")
            assert isinstance(on.line, LocalWire)
            return [reply for _, reply in on.tap.replies]

    assert asyncio.run(once()) == asyncio.run(once())
