"""Where a job goes: to one free device of this peer, never to a set."""

import json
from pathlib import Path

import pytest

from mathcore.units import HOUR_MS
from mesh.api.bodies import Body
from mesh.api.market.asked import parse_offers
from mesh.api.market.offers import offers_answer
from mesh.api.requests import parse_plan
from mesh.edge.dispatch.candidates import plan_request
from mesh.edge.jobs.private import drop_request, keep_request, words_of
from mesh.edge.planning import make_plan
from mesh.edge.sweep import sweep_query
from mesh.ledger.event import Event
from mesh.policy.commands import StartJob, StopJob, WatchJob
from mesh.state.fleet import spec
from mesh.state.fold import apply
from mesh.state.state import State
from tests.edge.dispatch.stage import Stage
from tests.state.held import busy_devices
from tests.state.job_story import BEN, T0, event, told

GIB = 1 << 30


def card(name: str, gib: int) -> dict[str, object]:
    return {
        "name": name,
        "kind": "gpu",
        "model": "RTX 3090",
        "count": 1,
        "location": "local",
        "memory_bytes": gib * GIB,
        "free_bytes": gib * GIB,
        "engines": ["llama.cpp"],
        "bandwidth_bytes_per_s": 936 * 10**9,
        "bandwidth_basis": "catalogue",
        "described_by": "probe",
        "free_basis": "measured",
        "provider": "local",
    }


def fleet(*sizes: int, busy: str = "") -> State:
    story = [
        event("device_registered", i, device=f"gpu{i}", **card(f"gpu{i}", gib))
        for i, gib in enumerate(sizes)
    ]
    if busy:
        story += [
            event("job_submitted", 20, job_id="other", kind="command", command=["x"]),
            event("job_dispatched", 21, device=busy, job_id="other"),
        ]
    story.append(
        event(
            "job_submitted",
            30,
            job_id="j",
            kind="model",
            model="llama-2-13b",
            quant="Q8_0",
            context=4096,
        )
    )
    return told(story)


async def placed(state: State, tmp_path: Path, job_id: str = "j") -> list[tuple[str, str]]:
    """(event type, device) of what placing the job made known."""
    stage = Stage(tmp_path, state)
    await stage.home.place(state.jobs[job_id])
    return [(kind, device) for kind, device, _ in stage.said]


async def test_a_job_that_only_a_set_of_one_host_holds_is_sent_to_all_of_it(tmp_path: Path) -> None:
    state = fleet(12, 12)
    asked = parse_plan({"model": "llama-2-13b", "quant": "Q8_0"})
    assert [found.device_id for found in make_plan(state, asked).placements] == ["gpu0+gpu1"]
    said = await placed(state, tmp_path)
    assert said == [("job_dispatched", "gpu0")]
    assert state.jobs["j"].devices == ("gpu0", "gpu1")
    assert busy_devices(state) == {"gpu0", "gpu1"}


async def test_a_job_goes_to_the_one_device_that_holds_it(tmp_path: Path) -> None:
    assert await placed(fleet(12, 24, 12), tmp_path) == [("job_dispatched", "gpu1")]


async def test_a_job_waits_for_a_busy_device_that_may_hold_it(tmp_path: Path) -> None:
    """Its memory is another job's now; to fail would be to oversell the other way round."""
    state = fleet(12, 12, busy="gpu1")
    asked = {"job_id": "k", "kind": "model", "model": "llama-2-13b", "quant": "Q8_0"}
    apply(state, event("job_submitted", 31, on="gpu1", **asked))
    assert await placed(state, tmp_path, "k") == []


async def test_a_job_waits_in_the_queue_of_a_busy_device_that_it_fits_beside(
    tmp_path: Path,
) -> None:
    said = await placed(fleet(12, 24, busy="gpu1"), tmp_path)
    assert said == [("job_dispatched", "gpu1")]


async def test_a_job_is_planned_on_this_peers_own_devices_only(tmp_path: Path) -> None:
    """Another peer's better card is neither taken nor a reason to wait."""
    state = fleet(24)
    other = event("device_registered", 1, author=BEN, device="big", **card("big", 80))
    apply(state, other)
    assert await placed(state, tmp_path) == [("job_dispatched", "gpu0")]
    alone = fleet(12)
    apply(alone, other)
    assert await placed(alone, tmp_path) == [("job_failed", "none")]


async def test_a_peer_without_devices_fails_its_jobs_instead_of_keeping_them(
    tmp_path: Path,
) -> None:
    assert await placed(fleet(), tmp_path) == [("job_failed", "none")]


async def test_a_command_for_a_device_that_is_gone_fails_and_one_for_a_busy_device_queues(
    tmp_path: Path,
) -> None:
    queued = [("job_dispatched", "gpu0")]
    for busy, said in (("", [("job_failed", "none")]), ("gpu0", queued)):
        state = fleet(24, 24, busy=busy)
        wanted = "gpu0" if busy else "gone"
        apply(state, event("job_submitted", 40, job_id="c", kind="command", on=wanted))
        assert await placed(state, tmp_path, "c") == said


def test_a_job_cannot_ask_for_a_set() -> None:
    job = fleet(24).jobs["j"]
    job.request["sets"] = True
    assert plan_request(job, job.model).sets is False


def test_a_plan_counts_memory_that_is_promised_and_not_taken() -> None:
    story = [
        event("device_registered", 0, device="gpu0", **card("gpu0", 24)),
        event("job_submitted", 1, job_id="a", model="m"),
        event(
            "job_dispatched",
            2,
            device="gpu0",
            job_id="a",
            plan={"cards": 1, "footprint": {"total_bytes": 12 * GIB}},
        ),
    ]
    asked = parse_plan({"model": "llama-2-13b", "quant": "Q8_0"})
    before, after = make_plan(told(story[:1]), asked), make_plan(told(story), asked)
    assert before.placements
    assert after.refusals[0].code == "NoFit(mem)"


@pytest.mark.parametrize("given", [{"sets": "yes"}, {"sets": 1}])
def test_sets_is_a_yes_or_a_no(given: dict[str, object]) -> None:
    with pytest.raises(Exception, match="sets"):
        parse_plan({"model": "m", **given})


def sealed(tmp_path: Path, body: Body, **asked: object) -> Event:
    """A job whose body is a file of its home."""
    found = keep_request(tmp_path, "c", body)
    kind = "command" if body.command else "model"
    return event(
        "job_submitted",
        40,
        job_id="c",
        kind=kind,
        body_hash=found.body_hash,
        body_bytes=found.body_bytes,
        **asked,
    )


@pytest.mark.parametrize("status", ["waiting", "dispatched"])
async def test_a_job_whose_body_is_gone_fails_before_anything_starts(
    tmp_path: Path, status: str
) -> None:
    stage = Stage(tmp_path, fleet(24))
    apply(stage.state, event("job_cancelled", 31, job_id="j"))
    apply(stage.state, sealed(tmp_path, Body(command=("true",))))
    if status == "dispatched":
        apply(stage.state, event("job_dispatched", 41, device="gpu0", job_id="c"))
    drop_request(tmp_path, "c")
    if status == "waiting":
        await stage.home.place(stage.state.jobs["c"])
    else:
        await stage.effects.run(StartJob("c"))
    kind, _, fact = stage.said[-1]
    assert (kind, fact["reason"]) == ("job_failed", "setup")
    assert fact["text"] == "its request is gone from this machine"
    assert not (tmp_path / "jobs" / "c").exists()


async def test_why_a_model_cannot_be_planned_is_kept_here_and_signed_without_its_path(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, fleet(24))
    apply(stage.state, event("job_cancelled", 31, job_id="j"))
    path = str(tmp_path / "gone.gguf")
    apply(stage.state, sealed(tmp_path, Body(prompt="hi", model=path), model="gone.gguf"))
    await stage.home.place(stage.state.jobs["c"])
    ((kind, _, fact),) = stage.said
    assert (kind, fact["reason"]) == ("job_failed", "UnknownModel")
    assert str(tmp_path) not in str(fact)
    assert path in words_of(tmp_path, "c")


async def test_an_error_of_ours_is_signed_without_its_words(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fleet(24))
    apply(stage.state, event("job_dispatched", 41, device="gpu0", job_id="j"))
    await stage.effects.fail(StartJob("j"), "internal", "KeyError: 'sk-12345'")
    ((_, _, fact),) = stage.said
    assert fact["text"] == "an error of this program"
    assert words_of(tmp_path, "j") == "KeyError: 'sk-12345'"


@pytest.mark.parametrize("command", [StartJob("c"), WatchJob("c"), StopJob("c")])
async def test_no_end_cost_or_speed_is_booked_on_another_peers_device(
    tmp_path: Path, command: StartJob | WatchJob | StopJob
) -> None:
    stage = Stage(tmp_path, fleet(24))
    big = event("device_registered", 1, author=BEN, device="big", **card("big", 80))
    for one in (big, sealed(tmp_path, Body(command=("true",)))):
        apply(stage.state, one)
    apply(stage.state, event("job_dispatched", 41, device="big", job_id="c", owner=BEN))
    folder = tmp_path / "jobs" / "c" / "1"
    folder.mkdir(parents=True)
    (folder / "runner.json").write_text('{"pid": 0}')
    ended = {"exit_code": 0, "started_ms": 0, "ended_ms": 60_000, "duration_ms": 60_000}
    result = {**ended, "peak_memory_bytes": 5, "reason": "ok", "text": ""}
    (folder / "result.json").write_text(json.dumps(result))
    await stage.effects.run(command)
    assert stage.said == []
    own = event("device_registered", 2, device="gpu9", **card("gpu9", 24))
    for one in (own, event("job_submitted", 50, job_id="d", kind="command", command=["true"])):
        apply(stage.state, one)
    apply(stage.state, event("job_dispatched", 51, device="gpu9", job_id="d"))
    folder.parent.rename(tmp_path / "jobs" / "d")
    await stage.effects.run(WatchJob("d"))
    ((kind, device, fact),) = stage.said
    assert (kind, device, fact["actual_duration_ms"]) == ("job_completed", "gpu9", 60_000)


def dear(state: State, device: str = "gpu0") -> State:
    """The device costs $43.80 an hour, as its owner says: it has no rate by its registration."""
    price = {"price_micro": 31_974 * 10**6, "bought_ms": T0, "life_months": 1, "currency": "USD"}
    apply(state, event("device_rate_set", 35, device=device, from_ms=T0, count=1, **price))
    return state


async def test_what_an_attempt_cost_is_by_the_rate_that_its_devices_owner_said(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path, dear(fleet(24)))
    apply(stage.state, event("job_dispatched", 41, device="gpu0", job_id="j"))
    apply(stage.state, event("job_started", 42, device="gpu0", job_id="j", attempt=1, pid=9))
    await stage.effects.lose({"gpu0"}, T0 + 42 + HOUR_MS)
    ((_, _, fact),) = stage.said
    assert fact["actual_cost_nusd"] == 43_800_000_000


def test_a_plan_costs_what_the_owner_said_also_where_memory_was_read_just_now() -> None:
    state, asked = fleet(24), parse_plan({"model": "llama-2-13b", "quant": "Q8_0"})
    live = [spec(one) for one in state.devices.values()]
    now = T0 + HOUR_MS
    assert make_plan(state, asked, live, now).placements[0].cost_nusd.p50 == 0
    for known in (live, []):
        placed = make_plan(dear(state), asked, known, now).placements[0]
        assert placed.cost_nusd.p50 == pytest.approx(
            43.8e9 * placed.duration_ms.p50 / HOUR_MS, rel=1e-3
        )


def test_a_field_of_plans_costs_what_the_owner_said() -> None:
    query = {"model": "llama-2-13b", "quant": "Q4_K_M", "batch": "1", "context": "2048"}
    (cell,) = sweep_query(dear(fleet(24)), query, (), T0 + HOUR_MS)["cells"]
    assert cell["cost_nusd_p50"] > 0


def test_among_offers_a_device_costs_what_its_owner_said() -> None:
    (row,) = offers_answer(dear(fleet(24)), (), parse_offers({}), T0 + HOUR_MS)["offers"]
    assert (row["hourly_nusd"], row["lacks"]) == (43_800_000_000, ["power"])
