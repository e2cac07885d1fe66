"""Memory promised to a job and not taken yet is not free, however fresh the reading."""

import pytest

from mathcore.device import DeviceSpec
from mesh.state.fleet import spec
from mesh.state.leases import loaded_ms, promised, with_leases
from mesh.state.state import State
from tests.state.job_story import ANA, T0, event, told

GIB = 1 << 30
CARD = {
    "name": "card",
    "kind": "gpu",
    "model": "RTX 4090",
    "count": 2,
    "free_bytes": 20 * GIB,
    "ram_free_bytes": 50 * GIB,
    "described_by": "probe",
}
HOST = {"name": "host", "kind": "cpu", "free_bytes": 60 * GIB, "described_by": "probe"}
PLAN = {
    "cards": 2,
    "terms_ms": {"load": 5000},
    "footprint": {"total_bytes": 8 * GIB, "host_bytes": 3 * GIB},
}


def after(*, started: bool = False, ended: bool = False, device: str = "card") -> State:
    """Two devices of one host, one of which was given a job."""
    story = [
        event("device_registered", 0, device="card", **CARD),
        event("device_registered", 1, device="host", **HOST),
        event("job_submitted", 2, job_id="j", model="m"),
        event("job_dispatched", 3, device=device, job_id="j", plan=PLAN),
    ]
    if started:
        story.append(event("job_started", 4, device=device, job_id="j"))
    if ended:
        story.append(event("job_completed", 5, device=device, job_id="j"))
    return told(story)


def free(state: State, read_ms: int) -> dict[str, DeviceSpec]:
    devices = {key: spec(view) for key, view in state.devices.items()}
    return with_leases(state.jobs, devices, dict.fromkeys(devices, read_ms))


def test_a_dispatched_job_takes_its_share_of_each_card_and_of_its_host() -> None:
    found = free(after(), T0 + 10**9)
    assert found["card"].free_bytes == 16 * GIB  # 8 GiB over two cards
    assert found["card"].ram_free_bytes == 47 * GIB
    assert found["host"].free_bytes == 57 * GIB


def test_a_job_on_the_processor_takes_from_the_cards_host_memory() -> None:
    found = free(after(device="host"), T0 + 10**9)
    assert found["card"].free_bytes == 20 * GIB
    assert found["card"].ram_free_bytes == 46 * GIB
    assert found["host"].free_bytes == 60 * GIB - 4 * GIB - 3 * GIB


@pytest.mark.parametrize(("later", "counted"), [(9_999, True), (10_000, False)])
def test_a_started_job_is_part_of_readings_made_once_it_surely_loaded(
    later: int,
    *,
    counted: bool,
) -> None:
    """Loading is planned at 5 s, ten at the worst."""
    state = after(started=True)
    found = free(state, state.jobs["j"].started_ms + later)
    assert (found["card"].free_bytes < 20 * GIB) is counted


def test_an_ended_job_takes_nothing() -> None:
    assert free(after(started=True, ended=True), 0)["card"].free_bytes == 20 * GIB


def test_more_than_there_is_leaves_nothing_and_never_less() -> None:
    state = after()
    low = {"card": spec(state.devices["card"])}
    for _ in range(6):
        low = with_leases(state.jobs, low, {})
    assert low["card"].free_bytes == 0
    assert low["card"].ram_free_bytes > 0  # 0 would mean that nobody knows


def test_a_plan_without_figures_promises_nothing() -> None:
    state = told([event("job_submitted", 0, job_id="j"), event("job_dispatched", 1, job_id="j")])
    assert promised(state.jobs["j"]) == (0, 0)
    assert loaded_ms(state.jobs["j"]) == 0


def test_probed_devices_of_a_peer_share_a_host_and_described_ones_name_theirs() -> None:
    state = after()
    assert spec(state.devices["card"]).host == spec(state.devices["host"]).host != ""
    typed = {**CARD, "described_by": "hand", "host": "cellar", "network_bps": 10**10}
    other = told([event("device_registered", 0, device="x", author=ANA, **typed)])
    assert spec(other.devices["x"]).host == "cellar"
    assert spec(other.devices["x"]).network_bps == 10**10
    alone = told([event("device_registered", 0, device="x", **{**typed, "host": 7})])
    assert spec(alone.devices["x"]).host == ""
