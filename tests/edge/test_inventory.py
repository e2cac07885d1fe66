"""What a machine registers of itself, and what stands once it was measured."""

import os
from pathlib import Path

from mesh.config import Config
from mesh.edge.inventory import LocalDevices
from mesh.state.peer_id import peer_id
from mesh.state.state import State
from providers.probe.disk import measure_disk_read
from providers.telemetry.machine import this_machine
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
    sample = this_machine(tmp_path / "jobs").sample()
    assert here.live(state, sample)[0].disk_read_bytes_per_s == rate


def test_a_folder_nobody_may_write_to_has_no_reading(tmp_path: Path) -> None:
    assert measure_disk_read(tmp_path / "missing") == 0


def test_a_device_is_called_after_ten_characters_of_its_peers_id(tmp_path: Path) -> None:
    name = peer_id("a" * 64)
    here = LocalDevices(Config(name="here"), name, tmp_path)
    assert here.primary_id == f"dev-{name.replace('-', '').lower()[:10]}-cpu"
    assert {key.rpartition("-")[0] for key, _ in here.registrations(State())} == {
        here.primary_id.removesuffix("-cpu")
    }


def test_a_machine_registered_under_the_shorter_id_keeps_it_and_nobody_else_takes_it(
    tmp_path: Path,
) -> None:
    author, name = "a" * 64, peer_id("a" * 64)
    old = f"dev-{name.replace('-', '').lower()[:8]}-cpu"
    facts = dict(LocalDevices(Config(name="here"), name, tmp_path).registrations(State()))
    payload = next(iter(facts.values()))
    mine = told([event("device_registered", 1, device=old, author=author, **payload)])
    here = LocalDevices(Config(name="here"), name, tmp_path)
    assert here.registrations(mine) == []
    assert here.primary_id == old
    theirs = told([event("device_registered", 1, device=old, author="b" * 64, **payload)])
    other = LocalDevices(Config(name="here"), name, tmp_path)
    assert [key for key, _ in other.registrations(theirs)][0] == other.primary_id != old
