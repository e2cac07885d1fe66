"""Where a job goes: to one free device of this peer, never to a set."""

from pathlib import Path

import pytest

from mathcore.device import DeviceSpec
from mesh.api.requests import parse_plan
from mesh.edge.effects import Effects, plan_request
from mesh.edge.planning import make_plan
from mesh.policy.commands import PlaceJob
from mesh.state.fleet import spec
from mesh.state.fold import State, apply, fold
from tests.state.test_fold import ANA, BEN, event

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
    return fold(story)


async def placed(state: State, tmp_path: Path, job_id: str = "j") -> list[tuple[str, str]]:
    """(event type, device) of what placing the job made known."""
    said: list[tuple[str, str]] = []

    async def emit(kind: str, device: str, fact: dict[str, object]) -> None:
        said.append((kind, device))

    def live() -> list[DeviceSpec]:
        return [spec(view) for view in state.devices.values()]

    effects = Effects(tmp_path, ANA, lambda: state, live, emit)
    await effects.run(PlaceJob(job_id))
    return said


async def test_a_job_that_only_a_set_holds_is_refused_not_sent_to_a_set(tmp_path: Path) -> None:
    state = fleet(12, 12)
    asked = parse_plan({"model": "llama-2-13b", "quant": "Q8_0"})
    assert [found.device_id for found in make_plan(state, asked).placements] == ["gpu0+gpu1"]
    assert await placed(state, tmp_path) == [("job_failed", "none")]


async def test_a_job_goes_to_the_one_device_that_holds_it(tmp_path: Path) -> None:
    assert await placed(fleet(12, 24, 12), tmp_path) == [("job_dispatched", "gpu1")]


async def test_a_job_waits_for_a_busy_device_that_may_hold_it(tmp_path: Path) -> None:
    """Its memory is another job's now; to fail would be to oversell the other way round."""
    assert await placed(fleet(12, 12, busy="gpu1"), tmp_path) == []


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


async def test_a_command_for_a_device_that_is_gone_fails_and_one_for_a_busy_device_waits(
    tmp_path: Path,
) -> None:
    for busy, said in (("", [("job_failed", "none")]), ("gpu0", [])):
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
    before, after = make_plan(fold(story[:1]), asked), make_plan(fold(story), asked)
    assert before.placements
    assert after.refusals[0].code == "NoFit(mem)"


@pytest.mark.parametrize("given", [{"sets": "yes"}, {"sets": 1}])
def test_sets_is_a_yes_or_a_no(given: dict[str, object]) -> None:
    with pytest.raises(Exception, match="sets"):
        parse_plan({"model": "m", **given})
