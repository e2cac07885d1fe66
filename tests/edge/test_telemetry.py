"""This peer's telemetry over stand-in sources: rates, energy, summaries, and what planning gets."""

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mesh.api.telemetry import MAX_DEVICES, DeviceNow, PeerNow, read_message
from mesh.config import Config
from mesh.edge.disk import StoreError
from mesh.edge.inventory import LocalDevices
from mesh.edge.planning import plan_query
from mesh.edge.telemetry.recorder import IDLE_S, RING, Telemetry
from mesh.edge.telemetry.summaries import SPAN_MS, is_notable
from mesh.state.facts.fact import decode
from mesh.state.facts.telemetry import TelemetrySummarised
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from providers.telemetry.attempts import Owners
from providers.telemetry.guard import HUNG_S
from providers.telemetry.health import mismatch
from providers.telemetry.machine import Sampler
from providers.telemetry.sample import CPU, NVIDIA, Look, Process, Reading
from tests.state.job_story import T0, event, told
from tests.support.waiting import wait_until

AUTHOR = "a" * 64
GIB = 1 << 30
CARD: dict[str, Any] = {
    "memory_bytes": 24 * GIB,
    "free_bytes": 20 * GIB,
    "utilisation_percent": 50,
    "power_mw": 300_000,
    "temperature_c": 60,
}


class Stand:
    """A source that says what it is told; hangs while `open` is not set."""

    def __init__(self, look: Look) -> None:
        self.said, self.asked = look, 0
        self.open = threading.Event()
        self.open.set()

    def look(self) -> Look:
        self.asked += 1
        assert self.open.wait(60)
        return self.said


def card(key: str = "nvidia:a", **changes: object) -> Reading:
    return Reading(key=key, **{**CARD, **changes})


class Here:
    """A peer with one processor and one card, whose clock stands until it is moved."""

    def __init__(self, folder: Path) -> None:
        self.seconds = 1_000.0
        self.cpu = Stand(Look(source=CPU, found=(Reading(key=CPU, free_bytes=30 * GIB),)))
        self.cards = Stand(Look(source=NVIDIA, found=(card(),)))
        self.local = LocalDevices(Config(name="rig"), peer_id(AUTHOR), folder)
        self.facts: list[tuple[str, str, dict[str, object]]] = []
        self.state = told(self.registered())
        self.signs = True
        self.error: StoreError | None = None
        self.telemetry = self.made(folder)

    def made(self, folder: Path) -> Telemetry:
        sources = {CPU: self.cpu, NVIDIA: self.cards}
        sampler = Sampler(sources, Owners(folder), self.steady, patience_s=0.05)
        return Telemetry(
            sampler,
            self.local,
            lambda: self.state,
            self.emit,
            lambda: T0 + int(self.seconds * 1000),
            lambda: self.signs,
            peer_id(AUTHOR),
            self.steady,
        )

    def registered(self) -> list[Any]:
        shared = {
            "count": 1, "described_by": "probe", "engines": ["llama.cpp"], "watts": 400,
            "memory_bytes": 24 * GIB, "free_bytes": 23 * GIB, "bandwidth_bytes_per_s": 10**12,
            "free_basis": "measured", "ram_bytes": 32 * GIB,
        }  # fmt: skip
        return [
            event("device_registered", 1, device=self.id(None), name="rig", kind="cpu", **shared),
            event("device_registered", 2, device=self.id(0), name="rig-gpu0", kind="gpu", **shared),
        ]

    def id(self, index: int | None) -> str:
        return self.local.device_id(index)

    def steady(self) -> float:
        return self.seconds

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> None:
        if self.error is not None:
            raise self.error
        self.facts.append((event_type, device_id, payload))

    def runs(self, job_id: str = "j-1", *, ended: bool = False) -> None:
        at = int(self.seconds * 1000)
        story = [
            *self.registered(),
            event("job_submitted", 3, job_id=job_id, kind="command", command=["x"]),
            event("job_dispatched", 4, device=self.id(0), job_id=job_id),
            event("job_started", at, device=self.id(0), job_id=job_id),
        ]
        if ended:
            story.append(event("job_completed", at + 1, device=self.id(0), job_id=job_id))
        self.state = told(story)

    async def pass_time(self, seconds: float, every: float = 1.0) -> None:
        for _ in range(round(seconds / every)):
            self.seconds += every
            await self.telemetry.take()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def row(here: Here, name: str = "rig-gpu0") -> DeviceNow:
    return next(one for one in here.telemetry.now().devices if one.name == name)


async def test_a_device_s_row_says_what_was_read_and_how_old_that_is(here: Here) -> None:
    theirs = Process(pid=4242, program="ollama", memory_bytes=9 * GIB)
    here.cards.said = Look(source=NVIDIA, found=(card(processes=(theirs,)),))
    await here.telemetry.take()
    here.seconds += 2
    found = row(here)
    assert (found.age_ms, found.power_mw, found.free_bytes) == (2_000, 300_000, 20 * GIB)
    assert found.foreign is not None
    assert [(one.pid, one.program) for one in found.foreign] == [(4242, "ollama")]
    assert (found.health, found.core_mhz) == ("ok", None)


async def test_what_else_runs_on_a_machine_is_not_told_to_its_peers(here: Here) -> None:
    mine = Process(pid=7, program="diary", memory_bytes=9 * GIB)
    here.cpu.said = Look(source=CPU, found=(Reading(key=CPU, processes=(mine,)),))
    await here.telemetry.take()
    assert row(here, "rig").foreign is None


async def test_energy_of_an_attempt_is_its_device_s_while_it_ran(here: Here) -> None:
    await here.telemetry.take()
    here.runs()
    await here.telemetry.take()
    await here.pass_time(60)
    assert here.telemetry.energy("j-1", 1) == (18_000_000, "measured")
    assert row(here).jobs[0].energy_millijoules == 18_000_000
    here.runs(ended=True)
    await here.pass_time(1)
    assert here.telemetry.energy("j-1", 1) == (18_300_000, "measured")
    await here.pass_time(60)
    assert here.telemetry.energy("j-1", 1) == (18_300_000, "measured")
    assert here.telemetry.energy("nobody", 1) == (None, "unknown")


async def test_energy_of_a_card_that_hides_its_power_is_estimated_from_its_watts(
    here: Here,
) -> None:
    here.cards.said = Look(source=NVIDIA, found=(card(power_mw=None),))
    here.runs()
    await here.telemetry.take()
    await here.pass_time(10)
    assert here.telemetry.energy("j-1", 1) == (400 * 10_000 // 2, "estimated")


async def test_two_attempts_on_a_card_share_what_it_draws(here: Here) -> None:
    here.runs()
    one = here.state.jobs["j-1"]
    here.state.jobs["j-2"] = replace(one, job_id="j-2")
    await here.telemetry.take()
    await here.pass_time(10)
    assert here.telemetry.energy("j-1", 1) == (1_500_000, "measured")
    assert here.telemetry.energy("j-2", 1) == (1_500_000, "measured")


async def test_a_gang_draws_what_all_its_cards_draw_and_is_shown_on_each(here: Here) -> None:
    here.cards.said = Look(
        source=NVIDIA, found=(card("nvidia:a"), card("nvidia:b", power_mw=100_000))
    )
    shared = {"kind": "gpu", "described_by": "probe", "watts": 400}
    story = [
        *here.registered(),
        event("device_registered", 2, device=here.id(1), name="rig-gpu1", **shared),
        event("job_submitted", 3, job_id="j-1", kind="command"),
        event("job_dispatched", 4, device=here.id(0), job_id="j-1", members=[here.id(1)]),
        event("job_started", int(here.seconds * 1000), device=here.id(0), job_id="j-1"),
    ]
    await here.telemetry.take()
    here.state = told(story)
    await here.telemetry.take()
    await here.pass_time(60)
    assert here.telemetry.energy("j-1", 1) == (24_000_000, "measured")
    assert [row(here, name).jobs[0].job_id for name in ("rig-gpu0", "rig-gpu1")] == ["j-1", "j-1"]
    here.state = told(here.registered())
    await here.pass_time(1)
    assert here.telemetry.energy("j-1", 1) == (24_400_000, "measured")


async def test_readings_are_kept_in_bounds(here: Here) -> None:
    await here.pass_time(RING + 50)
    assert len(here.telemetry.points(here.id(0))) == RING


async def test_it_reads_seldom_until_a_job_runs_or_somebody_watches(here: Here) -> None:
    await here.telemetry.take()
    here.seconds += 2
    assert not here.telemetry._is_due()
    here.runs()
    assert here.telemetry._is_due()
    here.state = told(here.registered())
    assert not here.telemetry._is_due()
    async with aclosing(here.telemetry.watch()) as watching:  # type: ignore[type-var]
        await anext(watching)
        assert here.telemetry._is_due()
    assert not here.telemetry._is_due()
    here.seconds += IDLE_S
    assert here.telemetry._is_due()


async def test_a_driver_that_is_slow_is_asked_again_soon_to_tell_whether_it_hangs(
    here: Here,
) -> None:
    await here.telemetry.take()
    here.cards.open.clear()
    here.seconds += IDLE_S
    await here.telemetry.take()
    here.seconds += 1
    assert here.telemetry._is_due()
    here.cards.open.set()


async def test_whoever_watches_gets_every_sample(here: Here) -> None:
    async with aclosing(here.telemetry.watch()) as watching:  # type: ignore[type-var]
        first = await anext(watching)
        coming = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
        here.cards.said = Look(source=NVIDIA, found=(card(power_mw=1),))
        await here.pass_time(1)
        second = await coming
    assert [first.devices[1].power_mw, second.devices[1].power_mw] == [300_000, 1]


def plan(here: Here) -> dict[str, Any]:
    query = {"model": "llama-3.1-8b", "context": 4096}
    return plan_query(here.state, query, here.telemetry.devices())


async def test_plans_use_the_memory_that_is_free_at_this_moment(here: Here) -> None:
    specs = {one.device_id: one for one in here.telemetry.devices()}
    assert specs[here.id(0)].free_bytes == 20 * GIB
    assert specs[here.id(0)].ram_free_bytes == 30 * GIB
    here.seconds += 1
    here.cards.said = Look(source=NVIDIA, found=(card(free_bytes=GIB),))
    assert {one.device_id: one for one in here.telemetry.devices()}[here.id(0)].free_bytes == GIB


async def test_a_lost_card_is_refused_with_its_reason_and_its_numbers_are_no_longer_shown(
    here: Here,
) -> None:
    assert here.id(0) in {one["device_id"] for one in plan(here)["placements"]}
    here.seconds += 1
    here.cards.said = Look(source=NVIDIA)
    refusals = {one["device_id"]: one for one in plan(here)["refusals"]}
    assert refusals[here.id(0)]["code"] == "Unreachable"
    assert refusals[here.id(0)]["text"].startswith("lost: it was there and is gone")
    assert here.telemetry.health(here.id(0)).state == "lost"
    found = row(here)
    assert (found.power_mw, found.free_bytes, found.memory_bytes) == (None, None, 24 * GIB)


async def test_a_card_behind_a_mismatched_driver_keeps_its_place_and_says_what_to_do(
    here: Here,
) -> None:
    here.cards.said = Look(source=NVIDIA, fault=mismatch())
    refusals = {one["device_id"]: one for one in plan(here)["refusals"]}
    assert refusals[here.id(0)]["code"] == "DependencyMissing"
    assert "reboot" in refusals[here.id(0)]["text"]
    assert here.telemetry.health(here.id(None)).state == "ok"
    assert row(here).health == "driver_mismatch"


async def test_a_card_whose_driver_hangs_is_refused_and_plans_do_not_wait(here: Here) -> None:
    here.cards.open.clear()
    assert here.id(0) in {one["device_id"] for one in plan(here)["placements"]}
    here.seconds += HUNG_S
    refusals = {one["device_id"]: one for one in plan(here)["refusals"]}
    assert refusals[here.id(0)]["text"].startswith("unresponsive: its driver has not answered")
    assert here.cards.asked == 1
    here.cards.open.set()

    def well() -> bool:
        here.seconds += 1
        here.telemetry.look()
        return here.telemetry.health(here.id(0)).state == "ok"

    await asyncio.to_thread(wait_until, well, "the driver's return")


async def test_a_registered_card_that_is_not_found_at_the_start_is_lost(here: Here) -> None:
    here.cards.said = Look(source=NVIDIA)
    await here.telemetry.take()
    assert here.telemetry.health(here.id(0)).text.startswith("it was registered here")


async def hour(here: Here) -> None:
    await here.pass_time(SPAN_MS / 1000 + 30, every=10)


async def test_an_hour_s_work_is_one_event_and_the_same_again_is_none(here: Here) -> None:
    await hour(here)
    about = {device: payload for _, device, payload in here.facts}
    fact = decode(TelemetrySummarised, about[here.id(0)])
    assert (fact.utilisation_mean_percent, fact.utilisation_peak_percent) == (50, 50)
    assert fact.peak_memory_bytes == 4 * GIB
    assert fact.energy_joules is not None
    assert abs(fact.energy_joules - 300 * 3_600) <= 3_000
    assert (fact.energy_basis, fact.health, fact.health_changes) == ("measured", "ok", ())
    here.facts.clear()
    await hour(here)
    await hour(here)
    assert here.facts == []


async def test_an_hour_in_which_a_card_was_lost_says_so(here: Here) -> None:
    await hour(here)
    here.facts.clear()
    await here.pass_time(100, every=10)
    here.cards.said = Look(source=NVIDIA)
    await here.pass_time(100, every=10)
    here.cards.said = Look(source=NVIDIA, found=(card(),))
    await hour(here)
    ((_, device, payload),) = here.facts
    assert device == here.id(0)
    assert decode(TelemetrySummarised, payload).health_changes == ("lost", "ok")


async def test_what_may_not_be_signed_waits_and_what_no_disk_takes_is_passed_over(
    here: Here,
) -> None:
    here.signs = False
    await hour(here)
    assert here.facts == []
    here.signs, here.error = True, StoreError("the disk is full", "free some")
    await here.pass_time(10, every=10)
    here.error = None
    await hour(here)
    assert {device for _, device, _ in here.facts} >= {here.id(0)}


def test_a_device_that_does_nothing_is_no_news() -> None:
    quiet = TelemetrySummarised(
        begun_ms=0, span_ms=SPAN_MS, readings=240, health="ok", utilisation_mean_percent=2,
        utilisation_peak_percent=9, peak_memory_bytes=GIB, energy_joules=20_000,
    )  # fmt: skip
    assert not is_notable(None, quiet, 24 * GIB)
    assert is_notable(None, quiet, 4 * GIB)


def test_a_summary_folds_to_nothing_and_is_no_unknown_event() -> None:
    fact = event("telemetry_summarised", 9, health="ok", readings=1, begun_ms=0, span_ms=1)
    state: State = told([fact])
    assert (state.skipped_count, state.event_count) == (0, 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[" * 100_000,
        b'{"peer_id":"x","at_ms":-1}',
        b'{"peer_id":"' + b"x" * 500 + b'","at_ms":1}',
        b'{"peer_id":"x","at_ms":1,"devices":['
        + b",".join([b'{"device_id":"d","name":"n"}'] * (MAX_DEVICES + 1))
        + b"]}",
        b'{"peer_id":"x","at_ms":1,"devices":[{"device_id":"d","name":"n","power_mw":-1}]}',
        b" " * (2 << 20),
    ],
    ids=["empty", "deep", "negative", "long name", "many devices", "negative power", "long"],
)
def test_another_peer_s_message_that_breaks_a_bound_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"telemetry|message"):
        read_message(raw)


def test_another_peer_s_newer_message_is_read_without_what_is_new() -> None:
    said = b'{"peer_id":"x","at_ms":1,"devices":[{"device_id":"d","name":"n","fan":3}],"new":{}}'
    assert read_message(said) == PeerNow(
        peer_id="x", at_ms=1, devices=(DeviceNow(device_id="d", name="n"),)
    )
