"""A job on several devices of one owner: which of them it has, what it costs on each, and whose
word it takes."""

import pytest

from mesh.api.rows import device_rows, job_row
from mesh.edge.planning import with_waits
from mesh.ledger.event import Event
from mesh.state.answers import bills, devices_of, held_jobs
from mesh.state.fleet import spec
from mesh.state.jobs import MAX_GANG
from mesh.state.learning.observations import observations
from mesh.state.leases import with_leases
from mesh.state.state import State
from tests.state.held import busy_devices
from tests.state.job_story import BEN, T0, event, told

GIB = 1 << 30
CARD = {"kind": "gpu", "free_bytes": 24 * GIB, "ram_free_bytes": 50 * GIB, "described_by": "probe"}
PLAN = {
    "duration_ms": {"p10": 1, "p50": 60_000, "p90": 90_000},
    "footprint": {"total_bytes": 30 * GIB, "host_bytes": 3 * GIB},
    "members": [
        {"device_id": "a", "cards": 1, "layers": 9, "need_bytes": 20 * GIB},
        {"device_id": "b", "cards": 1, "layers": 9, "need_bytes": 10 * GIB},
    ],
}
ABC = tuple(enumerate("abc"))
DONE = {
    "actual_duration_ms": 60_000,
    "actual_cost_nusd": 9,
    "costs_nusd": [5, 4],
    "tokens_generated": 100,
    "throughput_mtps": 1000,
}


def gang(*, started: bool = False, over: bool = False, members: object = ("b",)) -> State:
    """A job of Ana's on her cards a and b; c is hers too, and z Ben's."""
    members = list(members) if isinstance(members, tuple) else members
    every = ((one, {**CARD, "name": one}) for one in "abc")
    told_of = [
        *(
            event("device_registered", n, device=one, **facts)
            for n, (one, facts) in enumerate(every)
        ),
        event("device_registered", 8, author=BEN, device="z", **CARD),
        event("job_submitted", 10, job_id="j", kind="model", model="m"),
        event("job_dispatched", 11, device="a", job_id="j", plan=PLAN, members=members),
    ]
    if started or over:
        told_of.append(event("job_started", 12, device="a", job_id="j", attempt=1))
    return told([*told_of, ended(**DONE)] if over else told_of)


def test_every_device_of_a_gang_is_held_by_it() -> None:
    state = gang(started=True)
    assert busy_devices(state) == {"a", "b"}
    rows = {str(row["name"]): row for row in device_rows(state, T0)}
    assert [rows[one]["job_id"] for one in "abc"] == ["j", "j", None]
    assert job_row(state, state.jobs["j"], T0)["members"] == ["b"]


def test_what_a_gang_was_promised_is_free_on_none_of_its_devices() -> None:
    state = gang()
    devices = {key: spec(view) for key, view in state.devices.items()}
    found = with_leases(held_jobs(state), devices, dict.fromkeys(devices, T0))
    assert [found[one].free_bytes // GIB for one in "abc"] == [4, 14, 24]
    assert [found[one].ram_free_bytes // GIB for one in "abc"] == [47, 47, 47]  # once
    waits = with_waits(state, devices, T0 + 11)
    assert [waits[one].wait_ms for one in "abc"] == [60_000, 60_000, 0]


@pytest.mark.parametrize("named", [("z",), ("b", "z"), ("unknown",)])
def test_nobody_holds_anothers_device_by_naming_it(named: tuple[str, ...]) -> None:
    """Such a dispatch has its first device alone, whose owner will not start it."""
    state = gang(started=True, members=named)
    assert busy_devices(state) == {"a"}
    assert devices_of(state, state.jobs["j"].attempts[0]) == ("a",)


HOSTS = [("ssh", "box"), ("ssh", "other")]


def test_devices_of_two_hosts_of_one_owner_are_no_gang() -> None:
    apart = [
        event("device_registered", n, device=one, **CARD, transport=how, host=host)
        for n, (one, (how, host)) in enumerate(zip("ab", HOSTS, strict=True))
    ]
    apart += [
        event("job_submitted", 10, job_id="j", kind="model", model="m"),
        event("job_dispatched", 11, device="a", job_id="j", members=["b"]),
    ]
    assert busy_devices(told(apart)) == {"a"}


@pytest.mark.parametrize(
    "members",
    [["a"], ["b", "a"], ["c", "b"], ["b", "b"], "b", 7, [f"x{n:02}" for n in range(MAX_GANG)]],
)
def test_members_that_are_no_sorted_list_of_others_are_none(members: object) -> None:
    assert gang(members=members).jobs["j"].members == ()


def test_a_device_that_left_the_ledger_stays_part_of_the_gang_that_has_it() -> None:
    removed = event("device_removed", 20, device="b", reason="sold")
    assert busy_devices(told([*story(), removed])) == {"a", "b"}


def story() -> list[Event]:
    """Ana's gang from the beginning to its start."""
    return [
        *(event("device_registered", n, device=one, **CARD) for n, one in ABC),
        event("job_submitted", 10, job_id="j", kind="model", model="m"),
        event("job_dispatched", 11, device="a", job_id="j", plan=PLAN, members=["b"]),
        event("job_started", 12, device="a", job_id="j", attempt=1),
    ]


def test_a_gang_costs_what_each_device_came_to_and_counts_once() -> None:
    found = list(bills(gang(over=True)))
    assert (sum(one.jobs for one in found), sum(one.tokens for one in found)) == (1, 100)
    costs = {one.device_id: (one.cost_nusd, one.duration_ms) for one in found}
    assert costs == {"a": (5, 60_000), "b": (4, 60_000)}


@pytest.mark.parametrize("costs", [[5, 5], [9], [], [12, -3], "5", [3, 3, 3]])
def test_shares_that_do_not_add_up_leave_all_with_the_first_device(costs: object) -> None:
    found = {one.device_id: one.cost_nusd for one in bills(_ended_with(costs))}
    assert found == {"a": 9}


def _ended_with(costs: object) -> State:
    return told([*story(), ended(**{**DONE, "costs_nusd": costs})])


def ended(**said: object) -> Event:
    return event("job_completed", 13, device="a", job_id="j", attempt=1, **said)


def test_retired_gangs_keep_each_devices_cost() -> None:
    state = told([*story(), ended(**DONE)], keep_ended=0)
    assert "j" not in state.jobs
    found = {(one.device_id, one.cost_nusd, one.jobs) for one in bills(state)}
    assert found == {("a", 5, 1), ("b", 4, 0)}


def test_nobody_puts_hours_on_anothers_device() -> None:
    state = gang(over=True, members=("z",))
    assert {one.device_id for one in bills(state)} == {"a"}


def test_a_gang_measures_no_device() -> None:
    state = gang(over=True)
    assert state.jobs["j"].throughput_mtps
    assert observations(state) == []
    assert len(observations(_single())) == 1


def _single() -> State:
    sent = event("job_dispatched", 11, device="a", job_id="j", plan=PLAN)
    return told([*story()[:4], sent, ended(**DONE)])
