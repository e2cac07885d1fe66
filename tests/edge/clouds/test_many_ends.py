"""An account with one limit for all calls, and more machines to end than there are seconds between
two asks for one end."""

from dataclasses import replace

import pytest

from mesh.policy.rentals.timers import AGAIN_MS, POLL_MS
from mesh.state.rentals.terms import HOUR_MS, MIN_MS
from providers.rental.contract import Accepted, Ended, Op, Page, Unclear, Unread
from providers.rental.labels import label_of
from providers.runpod.profile import PROFILE as RUNPOD
from tests.edge.clouds.attacked import ME, Attacked
from tests.state.test_rentals import INTENT


class Many(Attacked):
    """Machines that run, and are then all to be returned."""

    def __init__(self, count: int, answer: Ended, *, ends: bool = True) -> None:
        super().__init__(known=replace(RUNPOD, name="vastai"))
        self.answer, self.ends = answer, ends
        self.listed = list[int]()
        self.asked = list[str]()
        self.ids = [f"r{n:03d}x1x1xaaaaaaaa" for n in range(count)]
        self._page = self.cloud.page
        vars(self.cloud).update(page=self.page, terminate=self.terminate)

    async def page(self, after: str) -> Page | Unread:
        self.listed.append(self.inner.now_ms)
        return await self._page(after)

    async def terminate(self, instance_id: str) -> Ended:
        self.asked.append(instance_id)
        if self.ends:
            self.cloud.rows = [one for one in self.cloud.rows if one.instance_id != instance_id]
        return self.answer

    async def return_all(self, minutes: int) -> None:
        await self.steps(10)
        for n, rental_id in enumerate(self.ids):
            at_ms = self.inner.now_ms
            expires_ms = at_ms + 2 * HOUR_MS
            label = label_of("m1", rental_id, expires_ms)
            intent = {**INTENT, "label": label, "expires_ms": expires_ms, "life_ms": HOUR_MS}
            for turn, (kind, fields) in enumerate(
                (
                    ("rental_intended", {**intent, "request_id": f"r{n:03d}"}),
                    ("create_called", {}),
                    ("create_answered", {"instance_id": f"p{n:03d}", "why": "answered"}),
                    ("return_decided", {"why": "cancelled"}),
                )
            ):
                named = {"rental_id": rental_id, "at_ms": at_ms, "turn": at_ms + turn}
                self.write(kind, ME, **named, **fields)
            self.cloud.rows.append(self.row(f"p{n:03d}", label))
        self.listed.clear()
        end_ms = self.inner.now_ms + minutes * MIN_MS
        while self.inner.now_ms < end_ms and (not self.ends or self.actor.view.open_ids):
            await self.steps(pause_ms=200)

    def longest_blind_ms(self) -> int:
        pairs = zip(self.listed, self.listed[1:], strict=False)
        return max(later - first for first, later in pairs)


@pytest.mark.parametrize("count", [26, 32, 60])
@pytest.mark.parametrize("answer", [Accepted(), Unclear(code="5xx")])
async def test_all_end_and_are_proved_absent_within_minutes(count: int, answer: Ended) -> None:
    many = Many(count, answer)
    await many.return_all(6)
    assert not many.cloud.rows
    assert not many.actor.view.open_ids
    assert many.longest_blind_ms() <= POLL_MS + 5_000


async def test_while_no_end_helps_each_is_asked_for_as_often_and_listings_go_on() -> None:
    many = Many(45, Unclear(code="5xx"), ends=False)
    await many.return_all(10)
    counts = [many.asked.count(f"p{n:03d}") for n in range(45)]
    assert max(counts) - min(counts) <= len(AGAIN_MS)
    assert min(counts) >= 10
    assert many.longest_blind_ms() <= POLL_MS + 5_000


@pytest.mark.parametrize("op", ["list", "terminate", "offers"])
async def test_whom_another_call_came_before_has_the_next_turn(op: Op) -> None:
    """The second page of a listing, an end that a person asks for, a question for offers."""
    many, passed = Many(1, Accepted()), list[float]()

    async def sleep(seconds: float) -> None:
        await Attacked.sleep(many, seconds)
        passed.append(seconds)
        if many.actor._limits.wait_ms("terminate", many.actor.clock.now()) == 0:
            many.actor.sent("terminate")  # whoever looks first when a turn comes has it
        assert len(passed) < 5

    vars(many.actor)["_sleep"] = sleep
    many.actor.sent("terminate")
    assert await many.actor.until_allowed(op)
    assert sum(passed) <= 2.0
