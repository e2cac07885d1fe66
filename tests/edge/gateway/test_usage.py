"""What was used is signed once a minute, once each, and is not lost where the disk refuses."""

from types import SimpleNamespace
from typing import Any

import pytest

from mathcore.units import HOUR_MS
from mesh.edge.disk import StoreError
from mesh.edge.gateway import usage
from mesh.edge.gateway.admission import Admission
from mesh.edge.gateway.own import Served
from mesh.edge.gateway.usage import MAX_KEPT, UsageBook
from mesh.serving.tally import Tally
from mesh.state.facts.serving import UsageRow
from tests.edge.gateway.stage import Stage, server
from tests.edge.gateway.stand_in import USAGE, WHOLE, piece
from tests.state.job_story import T0, event


class Ledger:
    """A test double: what was told, and whether the disk refuses."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int, list[UsageRow]]] = []
        self.full = False
        self.meanwhile = lambda: None

    async def tell(self, begun_ms: int, span_ms: int, rows: list[UsageRow]) -> None:
        self.meanwhile()
        if self.full:
            raise StoreError("the disk is full")
        self.told.append((begun_ms, span_ms, rows))

    def tokens(self) -> int:
        return sum(row.generated_tokens for _, _, rows in self.told for row in rows)


def one(stage: Stage, key_id: str = "k1", share_s: float = 0.0) -> Served:
    """A request that ended, of two tokens."""
    now = iter([0.0, 0.25, 1.0, 1.0, 1.0])
    tally = Tally(lambda: next(now, 2.0))
    for part in WHOLE:
        tally.feed(part)
    job = stage.state.jobs["j1"]
    return Served(job=job, device_id="d", key_id=key_id, tally=tally, failed=False, share_s=share_s)


def book(stage: Stage, ledger: Ledger, now_ms: int = 0) -> UsageBook:
    stage.tell(*server("j1"))
    return UsageBook(lambda: stage.state, ledger.tell, lambda: now_ms)


async def test_a_minute_is_one_word_and_nothing_used_is_none(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger()
    made = book(stage, ledger)
    await made.step(last=True)
    for _ in range(3):
        made.served(one(stage))
    await made.step()
    assert ledger.told == []
    monkeypatch.setattr(usage, "SPAN_S", 0.0)
    await made.step()
    await made.step()
    ((begun_ms, _, (row,)),) = ledger.told
    assert (begun_ms, row.requests, row.generated_tokens, row.prompt_tokens) == (0, 3, 6, 27)
    assert row.duration_ms is not None


async def test_what_a_full_disk_refused_is_told_later_and_once(stage: Stage) -> None:
    ledger = Ledger()
    made = book(stage, ledger)
    made.served(one(stage))
    ledger.full = True
    ledger.meanwhile = lambda: made.served(one(stage)) and None
    for _ in range(2):
        with pytest.raises(StoreError):
            await made.step(last=True)
    ledger.full, ledger.meanwhile = False, lambda: None
    await made.step(last=True)
    await made.step(last=True)
    assert ledger.tokens() == 6


async def test_a_million_keys_of_a_peers_making_fill_nothing(stage: Stage) -> None:
    ledger = Ledger()
    made = book(stage, ledger)
    for n in range(MAX_KEPT + 50):
        made.served(one(stage, f"k{n}"))
    await made.step(last=True)
    assert len(ledger.told[0][2]) <= MAX_KEPT + 1
    assert ledger.tokens() == 2 * (MAX_KEPT + 50)


def test_an_answer_that_broke_off_counts_its_pieces() -> None:
    tally = Tally(lambda: 0.0)
    for part in (b": note\n\n", piece("one"), piece("two")[:-20]):
        tally.feed(part)
    assert (tally.tokens, tally.whole, tally.is_between) == (1, False, False)
    tally.feed(piece("two")[-20:] + USAGE)
    assert (tally.tokens, tally.prompt_tokens, tally.is_between) == (2, 9, True)


@pytest.mark.parametrize(
    "said",
    [b'{"usage":7}', b'{"usage":{"prompt_tokens":-1}}', b'"usage"', b"[" * 9999, b"\xff"],
    ids=range(5),
)
def test_counts_that_are_none_count_nothing(said: bytes) -> None:
    tally = Tally(lambda: 0.0)
    tally.read(said)
    tally.feed(b"data: " + said + b' "usage"\n\n')
    assert (tally.prompt_tokens, tally.cached_tokens, tally.generated_tokens) == (0, 0, None)


async def test_a_request_costs_what_the_devices_owner_said_it_does(stage: Stage) -> None:
    price = {"price_micro": 31_974 * 10**6, "bought_ms": T0, "life_months": 1, "currency": "USD"}
    made = book(stage, Ledger(), T0 + HOUR_MS)
    stage.tell(event("device_registered", 3, device="d", name="d", kind="gpu"))
    assert made.served(one(stage, share_s=1.0)) == 0
    stage.tell(event("device_rate_set", 4, device="d", from_ms=T0, count=1, **price))
    assert made.served(one(stage, share_s=1.0)) == 12_166_667


def test_a_request_may_cost_at_worst_what_the_devices_owner_said(stage: Stage) -> None:
    price = {"price_micro": 31_974 * 10**6, "bought_ms": T0, "life_months": 1, "currency": "USD"}
    stage.tell(*server("j1"), event("device_registered", 3, device="d", name="d", kind="gpu"))
    stage.tell(event("device_rate_set", 4, device="d", from_ms=T0, count=1, **price))
    jobs = [stage.state.jobs["j1"]]
    servers: Any = SimpleNamespace(jobs=lambda _: jobs)
    asked: Any = SimpleNamespace(model="m1", body={"max_tokens": 5})
    keys = stage.keys
    admission = Admission(lambda: stage.state, servers, keys, lambda: T0 + HOUR_MS)
    assert admission._worst_nusd(asked) == 12_166_667  # a second: 200 ms a token
