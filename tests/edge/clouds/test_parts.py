"""The parts of an account's actor: its clock, its wire, how it reads a listing."""

from collections.abc import Iterable
from email.utils import formatdate

import pytest

from mesh.edge.clouds.renting.clock import AccountClock
from mesh.edge.clouds.renting.reading import MAX_PAGES, read_all
from mesh.edge.clouds.renting.wire import Limits, NotingWire
from mesh.policy.rentals.values import Seen
from providers.lambdalabs.profile import PROFILE as LAMBDA
from providers.rental.contract import Page, Reply, Request, Row, Unread
from providers.rental.reading import date_ms
from providers.vastai.profile import PROFILE as VAST

T0 = 1_790_000_000_000


def date(ms: int) -> str:
    return formatdate(ms // 1000, usegmt=True)


@pytest.mark.parametrize("own", [0, T0, 4_102_444_800_000, -5])
def test_the_providers_time_is_known_from_a_clock_of_any_year(own: int) -> None:
    now = [own]
    clock = AccountClock(lambda: now[0])
    assert (clock.hear(date(T0), own), clock.known) == (0, False), "one reply may be a cached page"
    assert clock.hear(date(T0), own) == T0 - own
    now[0] += 5_000
    assert clock.now() == T0 + 5_000
    assert clock.hear(date(T0 + 5_400), own + 4_800) == 0, "a Date has whole seconds"


def test_a_clock_that_stood_still_is_put_right_by_the_next_replies() -> None:
    now = [T0]
    clock = AccountClock(lambda: now[0])
    for _ in range(2):
        clock.hear(date(T0), T0)
    slept = 8 * 3_600_000
    assert (clock.hear(date(T0 + slept), T0), clock.in_doubt) == (0, True)
    assert (clock.hear(date(T0 + slept), T0), clock.in_doubt) == (slept, False)
    assert clock.now() == T0 + slept


@pytest.mark.parametrize("text", ["", "soon", "Mon, 99 Foo 20 99", "x" * 10_000, "1" * 60])
def test_what_is_no_date_changes_nothing(text: str) -> None:
    assert date_ms(text) is None
    assert AccountClock(lambda: 5).hear(text, 5) == 0


class Inner:
    """Answers what it was given, and notes what came."""

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.sent = list(replies), list[Request]()

    async def send(self, request: Request) -> Reply:
        self.sent.append(request)
        return self.replies.pop(0)


def asked(op: str) -> Request:
    return Request(op=op, method="GET", path="/x")  # type: ignore[arg-type]


async def test_a_create_is_not_sent_while_a_429_holds_it() -> None:
    inner, seen = Inner(Reply(status=429, headers={"retry-after": "60"})), Seen()
    limits = Limits(LAMBDA, seen)
    wire = NotingWire(inner, lambda: T0)
    wire.held_ms = limits.held_ms
    wire.heard = lambda request, reply, sent: limits.heard(request.op, reply, T0, T0)
    await wire.send(asked("list"))
    assert (await wire.send(asked("create"))).broke == "unreached"
    assert [one.op for one in inner.sent] == ["list"]
    assert seen.limits["terminate"] == T0 + 60_000, "the account has one limit"


async def test_a_question_is_not_held_until_midnight_by_a_429() -> None:
    inner, seen = Inner(Reply(status=429, headers={"retry-after": "3600"})), Seen()
    limits = Limits(LAMBDA, seen)
    wire = NotingWire(inner, lambda: T0)
    wire.held_ms = limits.held_ms
    wire.heard = lambda request, reply, sent: limits.heard(request.op, reply, T0, T0)
    await wire.send(asked("list"))
    assert (await wire.send(asked("offers"))).status == 429
    assert [one.op for one in inner.sent] == ["list"]


@pytest.mark.parametrize(("body", "why"), [("search_quota_exceeded", "quota"), ("slower", "429")])
def test_what_holds_the_longest_is_why(body: str, why: str) -> None:
    limits = Limits(VAST, Seen())
    limits.heard("offers", Reply(status=429, body=body), T0, T0)
    limits.heard("offers", Reply(status=429, headers={"retry-after": "1"}), T0, T0)
    assert limits.unread("offers") == Unread(why=why)
    assert limits.unread("list") == Unread(why="429")


async def test_what_an_adapter_sends_in_a_row_keeps_its_distance() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    wire = NotingWire(Inner(*[Reply(status=200)] * 3), lambda: T0, sleep)
    wire.account_wide = True
    for _ in range(3):
        await wire.send(asked("list"))
    assert slept == [1.0, 2.0]


def test_a_429_of_one_endpoint_holds_no_other_where_each_has_its_own() -> None:
    seen = Seen()
    limits = Limits(VAST, seen)
    limits.heard("list", Reply(status=429, body="threshold=3.0"), T0, T0)
    assert seen.limits == {"list": T0 + 15_000}
    limits.sent("create", T0)
    assert limits.wait_ms("create", T0) == 4_500
    assert limits.wait_ms("terminate", T0) == 0


def rows(*ids: str) -> tuple[Row, ...]:
    return tuple(
        Row(instance_id=one, label="", status="up", price_nusd=1, rate_nusd=1) for one in ids
    )


async def read(pages: Iterable[Page | Unread]) -> tuple[Row, ...] | Unread:
    left = iter(pages)

    async def ask(after: str) -> Page | Unread:
        return next(left)

    return await read_all(ask)


async def test_a_listing_is_all_of_its_pages() -> None:
    pages = [Page(rows=rows("1", "2"), after="2", total=3), Page(rows=rows("3"), total=3)]
    assert await read(pages) == rows("1", "2", "3")


@pytest.mark.parametrize(
    "pages",
    [
        [Page(rows=rows("1"), after="1"), Unread(why="5xx")],
        [Page(rows=rows("1"), total=2)],
        [Page(rows=rows("1"), after="1", total=2), Page(rows=rows("2"), total=3)],
        [Page(rows=rows("1"), after="1"), Page(rows=rows("1"))],
        [Page(rows=(), after="1"), Page(rows=(), after="1")],
        [Page(rows=(), after=str(n)) for n in range(MAX_PAGES)],
        [Unread(why="retired")],
    ],
)
async def test_what_is_less_or_changed_meanwhile_is_none(pages: list[Page | Unread]) -> None:
    assert isinstance(await read(pages), Unread)
