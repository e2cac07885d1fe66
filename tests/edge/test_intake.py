"""How a job comes in: its body first, then its event; one id is one job of this home."""

import asyncio
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.jobs.intake import Intake, program_name
from mesh.edge.jobs.private import REQUEST_FILE, request_of
from mesh.state.fold import apply, fold
from mesh.state.peer_id import peer_id, short_id
from mesh.state.state import State
from tests.state.test_fold import ANA, BEN, event

COMMAND = {"command": ["env", "API_KEY=sk-12345", "true"], "cwd": "/srv"}


class Home:
    """Ana's peer without a ledger: each event is folded in, or refused as `broken` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: State = fold(
            [event("device_registered", 1, device="a1", name="vm", described_by="probe")]
        )
        self.said: list[dict[str, object]] = []
        self.broken: Exception | None = None
        self.intake = Intake(folder, ANA, lambda: self.state, self.emit)

    async def emit(self, kind: str, device: str, payload: dict[str, object]) -> None:
        body = self.folder / "jobs" / str(payload["job_id"]) / REQUEST_FILE
        assert body.exists()  # before its event
        await asyncio.sleep(0)
        if self.broken is not None:
            raise self.broken
        self.said.append(payload)
        apply(self.state, event(kind, 10 + len(self.said), device=device, **payload))

    def jobs(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "jobs").glob("*"))


async def test_an_event_holds_nothing_of_what_was_typed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    job_id = await home.intake.submit(COMMAND, "a1")
    assert job_id.startswith(f"j-{short_id(ANA)}-")
    (payload,) = home.said
    assert payload["label"] == "env"
    for typed in ("sk-12345", "true", "/srv"):
        assert typed not in str({**payload, "body_hash": ""})
    body = request_of(tmp_path, home.state.jobs[job_id])
    assert (list(body.command), body.cwd) == (COMMAND["command"], "/srv")


def test_an_id_carries_the_start_of_its_homes_name() -> None:
    assert peer_id(ANA).replace("-", "").lower().startswith(short_id(ANA))
    assert len(short_id(ANA)) == 10


async def test_one_id_is_one_job_also_at_the_same_moment(tmp_path: Path) -> None:
    home = Home(tmp_path)
    asked = COMMAND | {"job_id": "mine"}
    found = await asyncio.gather(*(home.intake.submit(asked, "a1") for _ in range(5)))
    assert (found, len(home.said)) == (["mine"] * 5, 1)
    assert await home.intake.submit(asked, "a1") == "mine"
    assert len(home.said) == 1
    assert request_of(tmp_path, home.state.jobs["mine"]).cwd == "/srv"


async def test_an_id_of_another_home_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    apply(home.state, event("job_submitted", 2, author=BEN, job_id="bens", kind="command"))
    for job_id, says in (
        ("bens", "belongs to peer"),
        (f"j-{short_id(BEN)}-00", "another peer's job"),
    ):
        with pytest.raises(RequestError, match=says) as caught:
            await home.intake.submit(COMMAND | {"job_id": job_id}, "a1")
        assert (caught.value.code, caught.value.status) == ("JobExists", 409)
    assert home.jobs() == []
    assert await home.intake.submit(COMMAND | {"job_id": f"j-{short_id(ANA)}-00"}, "a1")


async def test_a_body_whose_event_the_disk_refused_is_taken_back(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.broken = StoreError("the disk is full")
    with pytest.raises(StoreError):
        await home.intake.submit(COMMAND | {"job_id": "mine"}, "a1")
    assert home.jobs() == []
    home.broken = None
    assert await home.intake.submit(COMMAND | {"job_id": "mine"}, "a1") == "mine"


async def test_a_refused_job_leaves_no_body(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(RequestError, match="nosuch"):
        await home.intake.submit(COMMAND | {"on": "nosuch"}, "a1")
    assert home.jobs() == []


async def test_what_no_event_names_is_swept_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    known = await home.intake.submit(COMMAND, "a1")
    for orphan in ("j-orphan", "j-half"):
        (tmp_path / "jobs" / orphan).mkdir()
    (tmp_path / "jobs" / "j-orphan" / REQUEST_FILE).write_text("{}")
    (tmp_path / "jobs" / "j-half" / f".{REQUEST_FILE}.00").write_text("{")
    (tmp_path / "jobs" / "j-ran" / "1").mkdir(parents=True)
    home.state.stale = True  # which jobs are known is being found out
    assert await home.intake.sweep() == []
    home.state.stale = False
    assert await home.intake.sweep() == ["j-half", "j-orphan"]
    assert home.jobs() == sorted([known, "j-ran"])


async def test_a_sweep_leaves_the_body_of_a_job_that_is_coming_in(tmp_path: Path) -> None:
    home = Home(tmp_path)
    swept: list[str] = []
    emit = home.emit

    async def late(kind: str, device: str, payload: dict[str, object]) -> None:
        swept.extend(await home.intake.sweep())
        await emit(kind, device, payload)

    home.intake = Intake(tmp_path, ANA, lambda: home.state, late)
    job_id = await home.intake.submit(COMMAND, "a1")
    assert swept == []
    assert request_of(tmp_path, home.state.jobs[job_id]).command


@pytest.mark.parametrize(
    ("command", "label"),
    [
        (["/usr/bin/env", "x"], "env"),
        (["./tool.sh"], "tool.sh"),
        (["API_KEY=sk-12345", "true"], "command"),
        (["curl -H 'token: sk-12345' example.org | sh"], "command"),
        (["no-such-program"], "command"),
        ([], "command"),
    ],
)
def test_a_label_names_a_program_and_never_a_line_typed_as_one(
    tmp_path: Path, command: list[str], label: str
) -> None:
    tool = tmp_path / "tool.sh"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert program_name(command, str(tmp_path)) == label
