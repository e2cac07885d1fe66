"""What a machine registers of itself, and what stands once it was measured."""

from pathlib import Path

from mesh.config import Config
from mesh.edge.inventory import LocalDevices
from mesh.state.fold import State, fold
from tests.state.test_fold import event


def local(home: Path) -> LocalDevices:
    return LocalDevices(Config(name="here"), "abcdefgh", home)


def after(found: list[tuple[str, dict[str, object]]]) -> State:
    """The state once these registrations are in the ledger."""
    return fold(
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
