"""The daemon's part in bills: how long it watched is told once, and never what nobody watched."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mathcore.units import HOUR_MS
from mesh.api.bills.asked import parse_bill
from mesh.edge.bills.service import LEAST_MS, SLEPT_MS, TELL_MS, BillService
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


async def test_a_home_in_which_nothing_can_be_written_still_has_its_bill(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await node.bills.ask(parse_bill({"by": "device"}))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mesh.edge.bills.asking.open_bills", full)
    assert (await node.bills.ask(parse_bill({"by": "device"})))["groups"] == before["groups"]
