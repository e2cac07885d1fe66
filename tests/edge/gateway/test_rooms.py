"""Who gives its device up for whom: a server that nobody asks soon, a busy one in the end."""

import asyncio

import pytest

from mesh.edge.gateway import own as servers
from mesh.edge.gateway import rooms
from mesh.edge.gateway.rooms import Rooms
from tests.edge.gateway.stage import Stage, stands_at, until
from tests.edge.gateway.stand_in import WHOLE, piece, says, says_then_waits
from tests.state.job_story import ANA, Event, event


def queued(job_id: str = "w1", at: int = 100, device: str = "d", kind: str = "server"):
    return [
        event("job_submitted", at, job_id=job_id, kind=kind, model="large"),
        event("job_dispatched", at + 1, device=device, job_id=job_id, attempt=1),
        event("job_accepted", at + 2, device=device, job_id=job_id, attempt=1),
    ]


def runs(job_id: str, *, preemptible: bool, at: int = 10, device: str = "d") -> list[Event]:
    asked = {"kind": "server", "model": "tiny", "preemptible": preemptible}
    return [
        event("job_submitted", at, job_id=job_id, **asked),
        event("job_dispatched", at + 1, device=device, job_id=job_id, attempt=1),
        event("job_started", at + 2, device=device, job_id=job_id, attempt=1, pid=9),
    ]


class Scene:
    """Rooms on a stage, and the jobs they ended."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ended: list[str] = []
        self.rooms = Rooms(ANA, lambda: stage.state, stage.own, self.cancel)

    async def cancel(self, job_id: str) -> None:
        self.ended.append(job_id)
        self.stage.tell(event("job_cancel_requested", 500 + len(self.ended), job_id=job_id))


@pytest.fixture
def scene(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(rooms, "LINGER_S", 1e-9)
    monkeypatch.setattr(servers, "UNASKED_S", 0.0)
    return Scene(stage)


async def serves(scene: Scene, script, job_id: str = "j1", *, preemptible: bool = True):
    stand_in = await scene.stage.serves(script, job_id)
    scene.stage.events = [one for one in scene.stage.events if one.payload.get("job_id") != job_id]
    scene.stage.tell(*runs(job_id, preemptible=preemptible))
    return stand_in


async def test_an_idle_server_gives_way_to_one_that_waits_for_its_device(scene: Scene) -> None:
    await serves(scene, says(*WHOLE))
    await scene.stage.chat()
    await scene.rooms.step()
    assert scene.ended == []
    scene.stage.tell(*queued())
    await scene.rooms.step()
    await scene.rooms.step()
    assert scene.ended == ["j1"]


async def test_a_server_that_nobody_ever_asked_gives_way_too(scene: Scene) -> None:
    await serves(scene, says(*WHOLE))
    scene.stage.tell(*queued())
    await scene.rooms.step()
    await until(lambda: next(iter(scene.stage.own._known.values())).slots.idle_s > 0, "idleness")
    await scene.rooms.step()
    assert scene.ended == ["j1"]


@pytest.mark.parametrize("kind", ["model", "command"])
async def test_an_idle_server_gives_way_to_any_job_that_waits_for_its_device(
    scene: Scene, kind: str
) -> None:
    """A command needs its device alone: else it waited until the service is idle long enough."""
    await serves(scene, says(*WHOLE))
    await scene.stage.chat()
    scene.stage.tell(*queued(kind=kind))
    for _ in range(2):
        await scene.rooms.step()
    assert scene.ended == ["j1"]


async def test_an_idle_server_gives_way_to_one_of_ours_that_fits_nowhere(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two idle models fill the memory: a third is placed nowhere, and stands in no owner's line."""
    monkeypatch.setattr(rooms, "PENDING_S", 1e-9)
    await serves(scene, says(*WHOLE))
    await scene.stage.chat()
    scene.stage.tell(event("job_submitted", 100, job_id="w1", kind="server", model="large"))
    for _ in range(3):
        await scene.rooms.step()
    assert scene.ended == ["j1"]


async def test_nobody_gives_way_to_one_whom_it_is_not_in_the_way_of(scene: Scene) -> None:
    await serves(scene, says(*WHOLE))
    scene.stage.tell(event("device_registered", -90, device="e"), *queued(device="e"))
    for _ in range(3):
        await scene.rooms.step()
    assert scene.ended == []


async def test_a_server_that_is_to_stay_stays(scene: Scene) -> None:
    await serves(scene, says(*WHOLE), preemptible=False)
    scene.stage.tell(*queued())
    for _ in range(3):
        await scene.rooms.step()
    assert scene.ended == []


async def test_a_server_that_is_asked_all_the_time_is_closed_in_the_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = await serves(scene, says_then_waits(piece("one")))
    asking = asyncio.create_task(scene.stage.chat(stream=True))
    await until(lambda: stand_in.here, "the server to be asked")
    waiting = asyncio.create_task(scene.stage.chat(stream=True))
    await until(lambda: scene.stage.busy() == 2, "another one to wait")
    scene.stage.tell(*queued())
    await scene.rooms.step()
    assert scene.ended == []
    monkeypatch.setattr(rooms, "PATIENCE_S", 0.0)
    await scene.rooms.step()
    status, headers, _ = await waiting
    assert (status, "Retry-After" in headers or status == 404) == (404, True)
    assert (scene.ended, stand_in.here) == ([], 1)  # who is in is answered
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not scene.stage.busy(), "the slot to be free")
    await scene.rooms.step()
    assert scene.ended == ["j1"]


async def test_a_server_that_loads_for_somebody_is_left_alone_however_long_it_takes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await serves(scene, says(*WHOLE))
    path = scene.stage.home / "jobs" / "j1" / "1" / "answer.txt"
    said = path.read_text()
    path.unlink()
    asking = asyncio.create_task(scene.stage.chat())
    await until(lambda: [one for one in scene.stage.own._known.values() if one.callers], "a caller")
    scene.stage.tell(*queued())
    await scene.rooms.step()
    key = next(iter(scene.rooms._since_s))
    scene.rooms._since_s[key] -= 10 * rooms.PATIENCE_S
    await scene.rooms.step()
    assert scene.ended == []
    path.write_text(said)
    assert (await asking)[0] == 200
    await until(lambda: next(iter(scene.stage.own._known.values())).slots.idle_s > 0, "idleness")
    await scene.rooms.step()
    assert scene.ended == ["j1"]


async def test_a_further_attempt_is_another_server(stage: Stage) -> None:
    stand_in = await stage.serves(says(*WHOLE))
    (stage.home / "jobs" / "j1" / "1" / "answer.txt").unlink()
    asking = asyncio.create_task(stage.chat())
    await until(lambda: stage.own._known, "somebody to wait")
    stage.tell(
        event("job_failed", 40, device="d", job_id="j1", attempt=1),
        event("job_dispatched", 41, device="d", job_id="j1", attempt=2),
        event("job_started", 42, device="d", job_id="j1", attempt=2, pid=9),
    )
    stands_at(stage.home, "j1", stand_in.url, attempt=2)
    assert ((await asking)[0], len(stand_in.asked)) == (200, 1)
    assert [one.callers for one in stage.own._known.values()] in ([0], [0, 0])
