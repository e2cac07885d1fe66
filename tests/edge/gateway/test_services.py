"""Models that are kept up or come up when asked for: when one starts, when it ends, who is told."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from mesh.edge.disk import StoreError
from mesh.edge.gateway import services as homes
from mesh.edge.serving import settings
from mesh.edge.serving.loads import LAST_PAUSE_S
from mesh.state.jobs import JobView
from tests.edge.gateway.home import SPEC, Home
from tests.edge.gateway.stage import DEADLINE_S, MODEL, server, stands_at, until
from tests.edge.gateway.stand_in import WHOLE, says
from tests.state.job_story import BEN


async def test_what_is_always_up_is_started_and_started_again(home: Home) -> None:
    await home.keep(least=2, most=3)
    for _ in range(5):
        await home.services.step()
    assert len(home.submitted) == 2
    assert all(one["serve"] and not one["preemptible"] for one in home.submitted)
    await home.cancel(home.job_id)
    await home.services.step()
    await home.services.step()
    assert len(home.submitted) == 3


async def test_what_nobody_asks_is_not_started_and_one_is_when_somebody_does(home: Home) -> None:
    service = await home.keep(most=3)
    await home.services.step()
    assert home.submitted == []
    assert await home.services.demand(service.service_id) == f"{service.model} is starting"
    for _ in range(3):
        await home.services.step()
    (spec,) = home.submitted
    assert (spec["preemptible"], spec["context"], spec["model"]) == (True, 512, SPEC["model"])
    assert await home.services.demand(service.service_id) == f"{service.model} is loading"


async def test_a_server_that_gave_way_comes_back_for_those_who_ask_again_alone(home: Home) -> None:
    """Else each model that made room for another was loaded once more at once, for nobody."""
    service = await home.keep()
    await home.services.demand(service.service_id)
    await home.services.step()
    home.runs(home.job_id)
    await home.services.step()
    await home.cancel(home.job_id)
    for _ in range(3):
        await home.services.step()
    assert len(home.submitted) == 1
    await home.services.demand(service.service_id)
    await home.services.step()
    assert len(home.submitted) == 2


async def test_an_idle_server_ends_and_what_is_always_up_stays(home: Home) -> None:
    service = await home.keep(idle_ms=1)
    await home.services.demand(service.service_id)
    await home.services.step()
    home.runs(home.job_id)
    stands_at(home.stage.home, home.job_id, "http://127.0.0.1:9")

    async def step() -> list[str]:
        home.services._loads[service.service_id].look_s = 0.0
        await home.services.step()
        return home.cancelled

    async with asyncio.timeout(DEADLINE_S):
        while not await step():
            pass
    assert home.cancelled == [home.job_id]
    await home.keep(least=1, idle_ms=1)
    await home.services.step()
    home.runs(home.job_id)
    stands_at(home.stage.home, home.job_id, "http://127.0.0.1:9")
    for _ in range(5):
        await step()
    assert len(home.cancelled) == 1


async def test_a_crowd_gets_one_server_more_and_never_more_than_there_may_be(home: Home) -> None:
    service = await home.keep(least=1, most=2)
    await home.services.step()
    for _ in range(3):
        for spec in home.submitted:
            job = home.stage.state.jobs[spec["job_id"]]
            if job.status == "pending":
                home.runs(job.job_id)
                stands_at(home.stage.home, job.job_id, "http://127.0.0.1:9", load_ms=10)
        await home.stage.fleet.rows()
        for known in home.stage.own._known.values():
            known.slots.answer_s = 100.0
            while known.slots.waiting < 2:
                known.slots.join()
        home.services._loads[service.service_id].look_s = 0.0
        await home.services.step()
    assert [one["preemptible"] for one in home.submitted] == [False, True]


async def test_a_load_that_failed_is_told_to_all_who_wait_and_tried_later_each_time(
    home: Home,
) -> None:
    service = await home.keep()
    pauses = []
    for _ in range(9):
        home.may_try_again()
        await home.services.demand(service.service_id)
        await home.services.step()
        home.fails(home.job_id, "no memory for it")
        await home.services.step()
        await home.services.step()
        pauses.append(home.services._loads[service.service_id].pause_s)
    assert pauses[:3] == [5, 10, 20]
    assert pauses[-1] == LAST_PAUSE_S
    assert len(home.submitted) == 9
    for _ in range(2):
        with pytest.raises(RequestError, match="no memory for it") as told:
            await home.services.demand(service.service_id)
        assert (told.value.status, told.value.retry_after_s) == (503, 60)


async def test_a_job_that_is_refused_counts_as_a_load_that_failed(home: Home) -> None:
    service = await home.keep()
    await home.services.demand(service.service_id)
    home.refuses = RequestError("NoFit", "it fits nowhere")
    await home.services.step()
    home.refuses = None
    await home.services.step()
    assert home.submitted == []
    with pytest.raises(RequestError, match="it fits nowhere"):
        await home.services.demand(service.service_id)


async def test_a_disk_that_refuses_a_job_holds_up_no_other_service(home: Home) -> None:
    service = await home.keep(least=1)
    home.refuses = StoreError("the disk is full")
    await home.services.step()
    with pytest.raises(RequestError, match="the disk is full"):
        await home.services.demand(service.service_id)


@pytest.mark.parametrize("how", ["started again", "changed"])
async def test_old_failures_hold_back_no_service_that_was(home: Home, how: str) -> None:
    service = await home.keep()
    for _ in range(5):
        home.may_try_again()
        await home.services.demand(service.service_id)
        await home.services.step()
        home.fails(home.job_id, "no memory for it")
        await home.services.step()
    if how == "changed":
        await home.keep()
    else:
        home = again(home)
    await home.services.step()
    before = len(home.submitted)
    await home.services.demand(service.service_id)
    await home.services.step()
    assert len(home.submitted) == before + 1


def again(home: Home) -> Home:
    """The same peer after a restart."""
    new = Home(home.stage)
    new.at = home.at
    return new


async def test_what_a_service_runs_by_stays_on_its_homes_disk(home: Home) -> None:
    service = await home.keep(least=1)
    assert all("/models" not in json.dumps(one) for one in home.stage.signed)
    path = home.stage.home / "services" / f"{service.service_id}.json"
    assert json.loads(path.read_text()) == SPEC
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    await again(home).services.step()
    path.unlink()
    home.may_try_again()
    fresh = again(home)
    for job in list(home.stage.state.jobs.values()):
        await fresh.cancel(job.job_id)
    await fresh.services.step()
    with pytest.raises(RequestError, match="settings are gone"):
        await fresh.services.demand(service.service_id)


async def test_the_same_model_again_is_the_same_service_changed(home: Home) -> None:
    one, other = await home.keep(), await home.keep(least=1, most=4)
    assert one.service_id == other.service_id
    assert [each.max_replicas for each in home.services.all()] == [4]


async def test_the_end_of_a_service_ends_its_servers_and_forgets_its_settings(home: Home) -> None:
    service = await home.keep(least=2, most=2)
    for _ in range(3):
        await home.services.step()
    await home.services.end(service.service_id)
    assert sorted(home.cancelled) == sorted(one["job_id"] for one in home.submitted)
    assert (home.services.all(), list((home.stage.home / "services").iterdir())) == ([], [])
    await home.services.step()
    assert len(home.submitted) == 2
    with pytest.raises(RequestError) as gone:
        await home.services.end(service.service_id)
    assert gone.value.status == 404


async def test_a_server_that_ended_meanwhile_keeps_no_other_from_ending(home: Home) -> None:
    service = await home.keep(least=2, most=2)
    for _ in range(3):
        await home.services.step()
    alive = home.services._alive

    def as_seen_before(service_id: str) -> list[JobView]:
        found = alive(service_id)
        home.fails(found[0].job_id, "gone")
        return found

    home.services._alive = as_seen_before
    await home.services.end(service.service_id)
    assert len(home.cancelled) == 1


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [({}, 0, 1), (SPEC, 2, 1), (SPEC, 0, 0), (SPEC, -1, 1), ({"model": "m" * 300}, 0, 1)],
)
async def test_a_service_that_makes_no_sense_is_refused_in_words(
    home: Home, spec: dict[str, object], least: int, most: int
) -> None:
    with pytest.raises(RequestError) as refused:
        await home.services.keep(spec, least=least, most=most, idle_ms=0)
    assert refused.value.status in (400, 409)
    assert home.services.all() == []


async def test_a_full_disk_keeps_nothing_and_says_so(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(settings, "write_json", full)
    with pytest.raises(StoreError, match="cannot keep a service's settings"):
        await home.keep()
    assert (home.stage.signed, home.services.all()) == ([], [])


# Others


def others(home: Home, service_id: str, model: str = MODEL) -> None:
    fields = {"min_replicas": 0, "max_replicas": 1, "idle_ms": 0}
    home.tell("service_set", author=BEN, service_id=service_id, model=model, **fields)


async def test_a_service_of_another_home_is_asked_there(home: Home) -> None:
    others(home, "s-ben")
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        assert await anext(notes) == "it is loading there"
    assert home.called == [(bytes.fromhex(BEN), "/v1/services/s-ben/demand")]
    await home.services.step()
    assert home.submitted == []
    with pytest.raises(RequestError) as refused:
        await home.services.demand("s-ben")
    assert refused.value.status == 404
    with pytest.raises(RequestError) as refused:
        await home.services.end("s-ben")
    assert refused.value.status == 409


@pytest.mark.parametrize("said", [None, [], {"note": None}, {"note": "x" * 10**6}, "x"])
async def test_a_home_that_answers_nonsense_harms_nobody(home: Home, said: object) -> None:
    others(home, "s-ben")
    home.answers = said
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        assert len(await anext(notes)) <= 400


@pytest.mark.parametrize("error", [TimeoutError(), RequestError("Unanswered", "gone", "", 503)])
async def test_a_home_that_does_not_answer_is_said_in_words(home: Home, error: Exception) -> None:
    others(home, "s-ben")
    home.answers = error
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        with pytest.raises(RequestError) as refused:
            await anext(notes)
    assert refused.value.status == 503


async def test_of_two_homes_that_keep_a_model_up_ours_is_asked(home: Home) -> None:
    others(home, "a-first", "tiny.gguf")
    others(home, "s-ben")
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        await anext(notes)
    home.stage.linked.add(bytes.fromhex(BEN))
    await home.keep()
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        assert "starting" in await anext(notes)
    assert [path for _, path in home.called] == ["/v1/services/a-first/demand"]


async def test_ids_of_others_name_no_file_and_no_path_of_ours(home: Home) -> None:
    others(home, "../../escaped")
    await home.keep()
    await home.services.step()
    files = [one.name for one in (home.stage.home / "services").iterdir()]
    assert [name.startswith("s-") for name in files] == [True]
    assert not list(home.stage.home.parent.glob("**/escaped*"))
    others(home, "../../other", "other")
    async with aclosing(home.services.waits("other", 0)) as notes:
        await anext(notes)
    assert home.called[-1][1] == "/v1/services/..%2F..%2Fother/demand"


async def test_no_job_of_others_passes_for_a_server_of_ours(home: Home) -> None:
    service = await home.keep(least=1)
    for n, kind in enumerate(("server", "model")):
        name = f"j-{'a' * 10}-{'0' * 9}{n}-{service.service_id}"
        home.tell("job_submitted", author=BEN, job_id=name, kind=kind, model=MODEL)
    home.tell("job_submitted", job_id=f"x-{service.service_id}", kind="server", model=MODEL)
    home.tell("job_submitted", job_id=f"x-a-{service.service_id}", kind="model", model=MODEL)
    await home.services.step()
    assert len(home.submitted) == 1
    await home.services.end(service.service_id)
    assert home.cancelled == [home.job_id]


# Waiting


async def test_who_waits_hears_of_it_until_a_server_runs(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "LOOK_S", 0.01)
    await home.keep()
    heard: list[str] = []

    async def wait() -> None:
        async with aclosing(home.services.waits("Tiny", 0)) as notes:
            async for note in notes:
                heard.extend([note])

    waiting = asyncio.create_task(wait())
    await until(lambda: heard, "a note")
    await home.services.step()
    await until(lambda: heard[-1].endswith("is loading"), "another note")
    home.runs(home.job_id)
    await waiting


async def test_a_model_that_nobody_serves_is_refused_with_what_there_is(home: Home) -> None:
    await home.keep()
    async with aclosing(home.services.waits("other", 0)) as notes:
        with pytest.raises(RequestError, match=r"there is tiny\.gguf|there is tiny") as refused:
            await anext(notes)
    assert refused.value.status == 404


async def test_a_model_whose_server_cannot_be_asked_now_is_no_unknown_one(home: Home) -> None:
    home.stage.tell(*server("j1"))
    async with aclosing(home.services.waits(MODEL, 0)) as notes:
        with pytest.raises(RequestError, match="nobody who can be asked now") as refused:
            await anext(notes)
    assert refused.value.status == 503


async def test_a_client_waits_for_a_load_and_gets_its_answer(home: Home) -> None:
    stage = home.stage
    stage.relay._starts = home.services
    await home.keep()
    asking = asyncio.create_task(stage.chat(stream=True))
    await until(lambda: home.services._loads, "the demand")
    await home.services.step()
    stand_in = await stage.serves(says(*WHOLE), "elsewhere", slots=1)
    stage.events = [one for one in stage.events if one.payload.get("job_id") != "elsewhere"]
    stage.tell()
    stands_at(stage.home, home.job_id, stand_in.url)
    home.runs(home.job_id)
    status, headers, raw = await asking
    assert (status, headers["X-Fleet-Job"], b"one" in raw) == (200, home.job_id, True)
