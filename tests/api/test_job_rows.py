"""Which jobs a list has that is not to have all of them."""

from mesh.api.rows import job_rows, status_dict
from tests.state.job_story import ANA, BEN, event, told


def test_the_jobs_at_work_come_before_those_that_wait_and_the_newest_before_the_others() -> None:
    placed = {"job_id": "works", "attempt": 1}
    state = told(
        [
            event("device_registered", 0, author=BEN, device="rig", name="rig", kind="cpu"),
            event("job_submitted", 1, job_id="works", kind="command"),
            event("job_dispatched", 2, device="rig", owner=BEN, **placed),
            event("job_accepted", 3, author=BEN, device="rig", **placed),
            event("job_started", 4, author=BEN, device="rig", **placed),
            *(event("job_submitted", 5 + n, job_id=f"waits{n}", kind="command") for n in range(3)),
            *(event("job_submitted", 9 + n, job_id=f"over{n}", kind="command") for n in range(2)),
            *(event("job_cancelled", 12 + n, job_id=f"over{n}", by=ANA) for n in range(2)),
        ]
    )

    def ids(going: int | None, ended: int | None) -> list[object]:
        return [row["job_id"] for row in job_rows(state, 0, going=going, ended=ended)]

    assert ids(None, None) == ["over1", "over0", "waits2", "waits1", "waits0", "works"]
    assert ids(1, 1) == ["over1", "works"]
    assert ids(2, 0) == ["waits2", "works"]
    assert status_dict(state, 0, running=False)["running"] == []
    assert len(list(status_dict(state, 0)["running"])) == 4  # type: ignore[call-overload]
