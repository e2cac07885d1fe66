"""The daemon's part in bills: how long it watched is told once, and never what nobody watched."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from mathcore.units import HOUR_MS
from mesh.api.bills.asked import parse_bill
from mesh.api.errors import RequestError
from mesh.edge.bills import progress, schema, service
from mesh.edge.bills.progress import Making
from mesh.edge.bills.service import LEAST_MS, SLEPT_MS, TELL_MS, BillService
from mesh.edge.store.care.progress import Abandoned
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import current_state
from mesh.state.bills.inputs import Watched
from mesh.state.state import State

T0 = 1_796_000_000_000
STEP_MS = 30_000


class Node:
    """A ledger with two devices, one of them rented, and a clock that is set."""

    def __init__(self, home: Path) -> None:
        self.home, self.now, self.may = home, T0, True
        self.ledger = Ledger.open(home)
        self.author = self.ledger.author
        for name, hourly in (("own", 0), ("rented", 5)):
            payload = {"name": name, "hourly_nusd": hourly, "price_nusd": 10**12, "watts": 100}
            self.ledger.append("device_registered", f"dev-{name}", payload, T0)
        self.bills = BillService(self, self.author, "UTC", lambda: self.now)

    @property
    def state(self) -> State:
        return current_state(self.ledger)

    def may_register(self) -> bool:
        return self.may

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> object:
        return self.ledger.append(event_type, device_id, payload, self.now)

    async def passes(self, ms: int) -> None:
        """Time passes, with the service awake."""
        end = self.now + ms
        while self.now < end:
            self.now = min(end, self.now + STEP_MS)
            await self.bills._step()

    def told(self) -> list[tuple[str, int, int]]:
        """What was told: device, from, to; from the begin of the test."""
        believed = self.state.books.inputs(lambda *_: True)
        return [
            (one.device, one.from_ms - T0, one.to_ms - T0)
            for one in believed
            if isinstance(one, Watched)
        ]


@pytest.fixture
def node(tmp_path: Path) -> Any:
    made = Node(tmp_path)
    yield made
    made.ledger.close()


async def test_what_was_watched_is_told_each_six_hours_and_at_the_end(node: Node) -> None:
    await node.passes(7 * HOUR_MS)
    assert node.told() == [("dev-own", 0, TELL_MS)], "a rented one costs the same"
    await node.bills.close()
    assert node.told()[1:] == [("dev-own", TELL_MS, 7 * HOUR_MS)]


async def test_a_machine_that_slept_watched_nothing_meanwhile(node: Node) -> None:
    await node.passes(HOUR_MS)
    node.now += SLEPT_MS + 1
    await node.passes(HOUR_MS)
    await node.bills.close()
    slept = HOUR_MS + SLEPT_MS + 1
    assert node.told() == [("dev-own", 0, HOUR_MS), ("dev-own", slept + STEP_MS, slept + HOUR_MS)]


async def test_a_clock_that_is_set_back_tells_no_time_twice(node: Node) -> None:
    await node.passes(HOUR_MS)
    node.now = 0  # 1970
    await node.passes(HOUR_MS)
    await node.bills.close()
    spans = sorted(node.told(), key=lambda one: one[1])
    assert all(one[2] <= other[1] for one, other in zip(spans, spans[1:], strict=False))


async def test_a_daemon_that_ends_at_once_or_may_not_say_tells_nothing(node: Node) -> None:
    await node.passes(LEAST_MS - STEP_MS)
    await node.bills.close()
    assert node.told() == []
    node.may = False
    await node.passes(TELL_MS)
    assert node.told() == []


async def test_ten_who_ask_at_once_get_one_answer_that_knows_all(node: Node) -> None:
    await node.passes(HOUR_MS)
    asked = parse_bill({"by": "device"})
    found = await asyncio.gather(*(node.bills.ask(asked) for _ in range(10)))
    assert len({str(one["groups"]) for one in found}) == 1
    (own,) = [one for one in found[0]["groups"] if one["device"] == "dev-own"]  # type: ignore[attr-defined]
    assert own["idle_nusd"] > 0
    assert own["unknown_nusd"] == 0
    node.ledger.append("device_rate_set", "dev-own", {
        "from_ms": T0, "count": 0, "currency": "USD", "bought_ms": 0}, node.now)  # fmt: skip
    node.bills.expire()
    later = await node.bills.ask(asked)
    groups = later["groups"]
    assert [one["device"] for one in groups] == ["dev-rented"]  # type: ignore[attr-defined]


class Gate:
    """Holds the thread that makes bills until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(progress, "LONG_EVENTS", 1)
        monkeypatch.setattr(service, "PATIENCE_S", 0.01)
        self.open, self.reached = threading.Event(), threading.Event()
        told = Making.events

        def held(making: Making, done: int, count: int) -> None:
            told(making, done, count)
            self.reached.set()
            assert self.open.wait(60)
            told(making, done, count)

        monkeypatch.setattr(Making, "events", held)


async def test_who_asks_while_bills_are_made_for_the_first_time_is_told_how_far_they_are(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.passes(HOUR_MS)
    gate, asked = Gate(monkeypatch), parse_bill({"by": "device"})
    for _ in range(2):  # who begins it waits no longer than who comes later
        with pytest.raises(RequestError) as no:
            await node.bills.ask(asked)
        assert (no.value.code, no.value.status) == ("Starting", 503)
        assert await asyncio.to_thread(gate.reached.wait, 60)
    assert str(no.value) == "not ready: makes the bills, 2 of 2 events"
    with pytest.raises(RequestError):
        await node.bills.focus(asked)
    gate.open.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*node.bills._tasks)
    assert (await node.bills.ask(asked))["groups"]


async def test_a_daemon_that_ends_leaves_bills_half_made_and_the_next_goes_on(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.passes(HOUR_MS)
    gate, asked = Gate(monkeypatch), parse_bill({"by": "device"})
    with pytest.raises(RequestError):
        await node.bills.ask(asked)
    await node.bills.close()
    gate.open.set()
    ended = await asyncio.gather(*node.bills._tasks, return_exceptions=True)
    assert [type(one) for one in ended] == [Abandoned]
    monkeypatch.undo()
    node.bills = BillService(node, node.author, "UTC", lambda: node.now)
    assert (await node.bills.ask(asked))["groups"]


async def test_bills_of_another_version_are_made_anew_before_anybody_asks(node: Node) -> None:
    await node.passes(HOUR_MS)
    await node.bills.ask(parse_bill({"by": "device"}))
    db = sqlite3.connect(node.home / schema.DATABASE)
    db.execute(f"PRAGMA user_version={schema.FORMAT + 1}")
    db.close()
    assert schema.read_bills(node.home) is None
    running = asyncio.create_task(node.bills.run())
    async with asyncio.timeout(60):
        while schema.is_outdated(node.home) or node.bills._tasks:  # noqa: ASYNC110  a file says so
            await asyncio.sleep(0.01)
    running.cancel()
    kept = schema.read_bills(node.home)
    assert kept is not None
    assert kept.execute("SELECT COUNT(*) FROM days").fetchone()[0] > 0
    kept.close()


async def test_a_home_in_which_nothing_can_be_written_still_has_its_bill(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await node.bills.ask(parse_bill({"by": "device"}))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mesh.edge.bills.asking.open_bills", full)
    assert (await node.bills.ask(parse_bill({"by": "device"})))["groups"] == before["groups"]
