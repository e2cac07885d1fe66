"""What a bill calls things: which devices are machines that somebody rents."""

import pytest

from mathcore.units import NUSD
from mesh.api.bills.asked import parse_bill
from mesh.api.bills.report import report
from mesh.api.rentals.rows import host_name
from mesh.edge.bills.local import names_of
from mesh.state.runs.sums import DayRow, Group
from tests.state.job_story import ANA, T0, event, told
from tests.state.test_rentals import Tale, folded, rental


def used(device: str) -> DayRow:
    return DayRow(Group(device, ANA, "used"), NUSD, 3_600_000, 0, 0, [], T0)


@pytest.mark.parametrize("ended", [False, True])
def test_a_rented_machine_is_told_from_an_owned_one_also_once_it_is_gone(*, ended: bool) -> None:
    tale = Tale()
    tale.rented()
    if ended:
        tale.returned()
    state = folded(tale.events)
    machine = host_name(rental(state))
    rows = [("2026-01-01", used(machine)), ("2026-01-01", used("rig"))]
    (day,) = report(rows, parse_bill({"by": "day"}), names_of(state), T0)["groups"]
    assert {one["device_id"]: one["rented"] for one in day["devices"]} == {
        machine: True,
        "rig": False,
    }


def test_a_device_that_is_described_as_a_clouds_is_rented() -> None:
    state = told(
        [
            event("device_registered", 0, ANA, "vm", name="vm", location="cloud"),
            event("device_registered", 1, ANA, "rig", name="rig"),
        ]
    )
    assert names_of(state).rented == {"vm"}
