"""What a machine registers of itself, and what stands once it was measured."""

import os
from pathlib import Path

from mesh.config import Config
from mesh.edge.inventory import LocalDevices
from mesh.state.fold import State
from providers.probe.disk import measure_disk_read
from tests.state.job_story import event, told


def local(home: Path) -> LocalDevices:
    return LocalDevices(Config(name="here"), "abcdefgh", home)


def after(found: list[tuple[str, dict[str, object]]]) -> State:
    """The state once these registrations are in the ledger."""
    return told(
        [
            event("device_registered", i, device=device, **facts)
            for i, (device, facts) in enumerate(found)
        ]
    )


def test_compute_is_estimated_until_somebody_asks_to_measure_it(tmp_path: Path) -> None:
    here = local(tmp_path)
    first = dict(here.registrations(State()))[here.primary_id]
    asked = dict(here.registrations(State(), every=True))[here.primary_id]
    assert (first["flops_basis"], asked["flops_basis"]) == ("estimated", "measured")
    assert isinstance(asked["flops"], int)
    assert asked["flops"] > 10**8


def test_what_was_measured_stands_at_the_next_start(tmp_path: Path) -> None:
    here = local(tmp_path)
    state = after(here.registrations(State(), every=True))
    assert here.primary_id not in dict(here.registrations(state))


def test_the_disk_is_read_once_and_the_reading_stands(tmp_path: Path) -> None:
    here = local(tmp_path)
    first = here.registrations(State())
    (rate,) = {facts["disk_read_bytes_per_s"] for _, facts in first}
    assert isinstance(rate, int)
    assert rate > 0 or not hasattr(os, "posix_fadvise")
    assert [*tmp_path.iterdir()] == []
    state = after(first)
    assert state.devices[here.primary_id].payload["disk_read_bytes_per_s"] == rate
    assert here.registrations(state) == []  # nor is another reading a change
    assert here.live(state)[0].disk_read_bytes_per_s == rate


def test_a_folder_nobody_may_write_to_has_no_reading(tmp_path: Path) -> None:
    assert measure_disk_read(tmp_path / "missing") == 0
