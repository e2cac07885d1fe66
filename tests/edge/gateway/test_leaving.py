"""Clients that go away: what was begun for them ends, and their slot is free within a second."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from mesh.edge.gateway import outlet
from tests.edge.gateway import stand_in
from tests.edge.gateway.stage import SOON_S, Stage, chat, until
from tests.edge.gateway.stand_in import PROGRESS, WHOLE, piece, says, says_nothing, says_then_waits

PHASES = {
    "before the head": says_nothing,
    "in the prompt": says_then_waits(PROGRESS),
    "in the answer": says_then_waits(PROGRESS, piece("one")),
}
BODIES = {"stream": chat(stream=True), "plain": chat()}


async def asks(stage: Stage, body: dict[str, object]) -> None:
    with suppress(aiohttp.ClientError):
        await stage.post("/v1/chat/completions", body)


async def leaves(asking: asyncio.Task[None]) -> None:
    """The client's connection is closed."""
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("body", BODIES)
async def test_a_client_that_leaves_frees_its_slot(stage: Stage, phase: str, body: str) -> None:
    server = await stage.serves(PHASES[phase])
    asking = asyncio.create_task(asks(stage, BODIES[body]))
    await until(lambda: server.here, "the server to be asked")
    await leaves(asking)
    await until(lambda: not stage.busy() and not server.here, "the slot to be free", SOON_S)
    (one,) = stage.book.served_ones
    assert one.failed
    assert one.tally.generated_tokens is None


@pytest.mark.parametrize("body", BODIES)
async def test_a_client_that_leaves_the_queue_takes_nobodys_turn(stage: Stage, body: str) -> None:
    server = await stage.serves(says_then_waits(piece("one")))
    first = asyncio.create_task(asks(stage, BODIES[body]))
    await until(lambda: server.here, "the first to be answered")
    second = asyncio.create_task(asks(stage, BODIES[body]))
    await until(lambda: stage.busy() == 2, "the second to wait")
    await leaves(second)
    await until(lambda: stage.busy() == 1, "the place to be free", SOON_S)
    assert (len(server.asked), stage.book.served_ones) == (1, [])
    await leaves(first)
    await until(lambda: not stage.busy(), "the slot to be free", SOON_S)
    server.script = says(*WHOLE)
    assert (await stage.chat())[0] == 200


async def test_a_client_that_leaves_while_a_model_loads_is_forgotten(stage: Stage) -> None:
    await stage.serves(says(*WHOLE))
    (stage.home / "jobs" / "j1" / "1" / "answer.txt").unlink()
    asking = asyncio.create_task(asks(stage, chat(stream=True)))
    await until(lambda: [one for one in stage.own._known.values() if one.callers], "a caller")
    await leaves(asking)
    (known,) = stage.own._known.values()
    await until(lambda: not known.callers, "nobody to wait", SOON_S)
    assert not stage.busy()


async def test_a_client_that_leaves_when_all_was_said_made_no_error(stage: Stage) -> None:
    async def lingers(request, _):
        response = await stand_in.begun(request)
        for part in WHOLE:
            await response.write(part)
        await asyncio.Event().wait()

    await stage.serves(lingers)
    url = stage.url + "/v1/chat/completions"
    async with stage.client.post(url, json=chat(stream=True)) as said:
        raw = b""
        while b'"stop"' not in raw:
            raw += await said.content.readany()
    await until(lambda: stage.book.served_ones, "the request to be booked", SOON_S)
    assert not stage.book.served_ones[0].failed


async def test_a_client_that_takes_nothing_is_cut_off(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "WRITE_S", 0.3)

    async def shouts(request, _):
        response = await stand_in.begun(request)
        while True:
            await response.write(piece("x" * 60_000))

    server = await stage.serves(shouts)
    async with stage.client.post(
        stage.url + "/v1/chat/completions", json=chat(stream=True)
    ) as said:
        await until(lambda: server.asked and not server.here, "the server to be let go")
        with pytest.raises(aiohttp.ClientError):
            await said.read()
    await until(lambda: not stage.busy(), "the slot to be free", SOON_S)


async def test_many_who_come_and_leave_leave_nothing_behind(stage: Stage) -> None:
    server = await stage.serves(says_then_waits(piece("one")), slots=3)
    asking = [asyncio.create_task(asks(stage, chat(stream=n % 2 == 0))) for n in range(24)]
    await until(lambda: stage.busy() == 24, "all to be there")
    assert server.here <= 3
    for one in asking[::2]:
        await leaves(one)
    await until(lambda: stage.busy() == 12, "half of them to be gone")
    for one in asking:
        await leaves(one)
    await until(lambda: not stage.busy() and not server.here, "all to be gone")
    (known,) = stage.own._known.values()
    assert (known.callers, known.slots.busy, known.slots.waiting) == (0, 0, 0)
    assert stage.gateway._at_once == 0
