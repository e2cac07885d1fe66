"""One peer's part in the address, put together as the daemon does it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import pytest

from mesh.api.errors import RequestError
from mesh.edge.gateway import front as fronts
from mesh.edge.gateway.front import Front
from mesh.edge.serving.keys import Keys, hash_of
from mesh.state.jobs import JobView
from tests.edge.gateway.stage import SOON_S, Stage, chat, server, stands_at, until
from tests.edge.gateway.stand_in import WHOLE, StandIn, piece, says, says_then_waits
from tests.state.job_story import ANA, event

SECRET = "fl-" + "7" * 64


class Node:
    """A test double: a node without a mesh, whose jobs never start."""

    mesh = None
    gateway_url = ""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.home, self.emit = stage, stage.home, stage.emit

    @property
    def state(self) -> Any:
        return self.stage.state

    def now(self) -> int:
        return self.stage.at_ms

    async def submit(self, spec: Mapping[str, object]) -> str:
        raise RequestError("NoFit", "it fits nowhere")

    async def cancel(self, job_id: str) -> None:
        raise RequestError("NotFound", "no such job", "", 404)

    async def standings(self, jobs: Iterable[JobView]) -> dict[str, Any]:
        return {}


@pytest.fixture
async def front(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Front]:
    monkeypatch.setattr(fronts, "STEP_S", 0.01)
    monkeypatch.setattr(fronts, "RETRY_S", 0.01)
    node = Node(stage)
    keys = Keys(ANA, "none", lambda: stage.state, stage.emit, node.now)
    made = Front(node, ANA, keys)
    stage.url = await made.start(0)
    yield made
    await made.close()


async def serves(stage: Stage, script: Any) -> StandIn:
    stand_in = StandIn(script)
    stage.stand_ins.append(stand_in)
    stands_at(stage.home, "j1", await stand_in.open())
    stage.tell(*server("j1"))
    return stand_in


async def test_the_address_answers_and_a_client_that_leaves_frees_its_slot(
    stage: Stage, front: Front
) -> None:
    stand_in = await serves(stage, says(*WHOLE))
    assert front.url == stage.url
    assert front.url.startswith("http://127.0.0.1:")
    assert (await stage.chat())[0] == 200
    stand_in.script = says_then_waits(piece("one"))
    asking = asyncio.create_task(stage.chat())
    await until(lambda: stand_in.here, "the server to be asked")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not stand_in.here, "the slot to be free", SOON_S)


async def test_other_machines_ask_by_keys_alone(stage: Stage, front: Front) -> None:
    stand_in = await serves(stage, says(*WHOLE))
    stage.tell(event("key_added", 50, key_id="k1", name="bo", hash=hash_of(SECRET)))
    stage.url = await front.start_for_others("127.0.0.1", 0)
    for path in ("/v1/chat/completions", "/api/chat", "/v1/messages", "/api/show"):
        status, _, raw = await stage.post(path, chat(max_tokens=9))
        assert (status, "asks for a key" in json.dumps(json.loads(raw))) == (401, True)
    async with stage.client.get(stage.url + "/v1/models") as said:
        assert said.status == 401
    assert stand_in.asked == []
    assert (await stage.chat(secret="fl-" + "8" * 64))[0] == 401
    assert (await stage.chat(secret=SECRET))[0] == 200
    headers = {"Authorization": f"Bearer {SECRET}", "Host": "nas.lan"}
    assert (await stage.post("/v1/chat/completions", chat(), headers))[0] == 200


async def test_what_was_used_is_signed_though_services_fail_and_at_the_end(
    stage: Stage, front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed: list[int] = []

    async def step() -> None:
        failed.append(1)
        raise RequestError("Gone", "something is gone")

    monkeypatch.setattr(type(front.services), "step", lambda _: step())
    await serves(stage, says(*WHOLE))
    running = asyncio.create_task(front.run())
    await stage.chat()
    await until(lambda: len(failed) > 2, "some steps")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [one["type"] for one in stage.signed] == ["usage_summarised"]
    assert "something is gone" in capsys.readouterr().err
