"""A job on several cards of one host: planned, asked for, held, started and billed as one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mathcore.catalogue.models import find_row
from mathcore.device import DeviceSpec
from mathcore.formats.config import convert
from mesh.api.bodies import SALT_BYTES, Body, seal
from mesh.api.errors import RequestError
from mesh.api.wire.claims import Ask, Claim, Offer, Share
from mesh.edge.dispatch.candidates import Candidate, Chooser, Nowhere
from mesh.edge.jobs.private import keep_body
from mesh.policy.commands import StartJob, WatchJob
from mesh.state.answers import bills, held_jobs
from mesh.state.fleet import spec
from mesh.state.fold import apply
from mesh.state.members import Members
from mesh.state.state import State
from providers.base import Handle, Launch, Outcome
from providers.engine.setup import setup_of
from providers.here import LocalAttempts
from tests.edge.dispatch.stage import LATER, Stage, asks
from tests.edge.test_effects import card
from tests.simulation.dispatch.machine import outcome
from tests.state.job_story import ANA, BEN, T0, event, told
from tests.support.sparse_gguf import write_gguf

GIB = 1 << 30
SALT = bytes(SALT_BYTES)
MODEL = {"kind": "model", "model": "llama-2-13b", "quant": "Q8_0", "context": 4096}
RATES = (3_600_000_000, 7_200_000_000)  # nano-dollars an hour: 1000 and 2000 a millisecond


def cards(*names: str, author: str = ANA, gib: int = 12, **more: object) -> list[Any]:
    """Cards of a peer's machine, which alone hold less than the model."""
    return [
        event("device_registered", n, author, device=name, **card(name, gib) | more)
        for n, name in enumerate(names)
    ]


def asked(state: State, body: Body, **more: object) -> None:
    sealed = seal(body, SALT)
    known = {"body_hash": sealed.body_hash, "body_bytes": sealed.body_bytes}
    apply(state, event("job_submitted", 30, job_id="j", **MODEL | known | more))


def planned(state: State, tmp_path: Path) -> Chooser:
    keep_body(tmp_path, "j", Body(model="llama-2-13b", prompt="x"), SALT)

    def live() -> Sequence[DeviceSpec]:
        return [spec(view) for view in state.devices.values()]

    stage = Stage(tmp_path, state)
    return Chooser(tmp_path, ANA, lambda: state, live, stage, lambda: T0 + LATER)


async def chosen(state: State, tmp_path: Path, **more: object) -> list[Candidate]:
    chooser = planned(state, tmp_path)
    asked(state, Body(model="llama-2-13b", prompt="x"), **more)
    return list(await chooser.candidates(state.jobs["j"]))


async def test_a_model_that_no_card_holds_goes_to_two_of_one_host(tmp_path: Path) -> None:
    (found,) = await chosen(told(cards("rig-gpu1", "rig-gpu0")), tmp_path)
    assert (found.device_id, found.ask.devices) == ("rig-gpu0", ("rig-gpu0", "rig-gpu1"))
    assert found.name == "rig-gpu0 + rig-gpu1"
    plan: Any = found.plan
    need = {one["device_id"]: one["need_bytes"] for one in plan["members"]}
    assert found.ask.memory_bytes == need["rig-gpu0"]
    assert found.ask.members == (Share(device_id="rig-gpu1", memory_bytes=need["rig-gpu1"]),)
    assert sum(need.values()) == plan["footprint"]["total_bytes"]
    rows = sorted(plan["members"], key=lambda one: one["first_layer"])
    assert rows[0]["first_layer"] == 0
    assert rows[1]["first_layer"] == rows[0]["layers"]
    assert rows[0]["layers"] + rows[1]["layers"] == 41  # and the output layer


async def test_a_card_that_holds_the_model_comes_before_a_set(tmp_path: Path) -> None:
    state = told([*cards("rig-gpu0", "rig-gpu1"), *cards("rig-gpu2", gib=24)])
    found = await chosen(state, tmp_path)
    assert found[0].ask.devices == ("rig-gpu2",)


async def test_a_set_of_two_makers_cards_is_refused_by_name(tmp_path: Path) -> None:
    story = cards("rig-gpu0") + cards("rig-gpu1", model="Radeon RX 7900 XTX")
    with pytest.raises(Nowhere) as caught:
        await chosen(told(story), tmp_path)
    assert " + " in caught.value.text
    assert caught.value.text.endswith("a job's devices are cards of one host and one maker")


async def test_a_set_of_two_peers_cards_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Members, "role", lambda *_: "runner")
    state = told(cards("rig-gpu0") + cards("ben-gpu0", author=BEN))
    with pytest.raises(Nowhere, match="a job's devices are cards of one host and one maker"):
        await chosen(state, tmp_path, on="any")


async def test_one_that_names_a_card_gets_that_card_alone(tmp_path: Path) -> None:
    with pytest.raises(Nowhere, match="rig-gpu0: "):
        await chosen(told(cards("rig-gpu0", "rig-gpu1")), tmp_path, on="rig-gpu0")


# The owner.


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Ana's two cards of one host, one of another, and one of Ben's."""
    story = cards("rig-gpu0", hourly_nusd=RATES[0]) + cards("rig-gpu1", hourly_nusd=RATES[1])
    story += cards("box-gpu0", transport="ssh", host="box") + cards("ben-gpu0", author=BEN)
    state = told(story)
    asked(state, Body(command=("true",)), kind="command", model=None)
    return Stage(tmp_path, state)


def wants(*devices: str) -> Ask:
    first, *more = devices
    return asks("j", first, members=tuple(Share(device_id=one) for one in more))


async def test_an_offer_holds_all_devices_of_a_gang_and_says_so(stage: Stage) -> None:
    said = await stage.dispatch.owner.offer(ANA, wants("rig-gpu0", "rig-gpu1"))
    assert said.devices == ("rig-gpu0", "rig-gpu1")
    one = await stage.dispatch.owner.offer(ANA, wants("rig-gpu0"))
    assert "members" not in msgspec.to_builtins(one)


@pytest.mark.parametrize(
    ("devices", "code"),
    [
        (("rig-gpu0", "ben-gpu0"), "NotHere"),
        (("rig-gpu0", "nothing"), "NotHere"),
        (("rig-gpu0", "box-gpu0"), "NoFit"),
        (("rig-gpu0", "rig-gpu0"), "NoFit"),
    ],
)
async def test_an_owner_offers_its_own_devices_of_one_host_and_each_once(
    stage: Stage, devices: tuple[str, ...], code: str
) -> None:
    with pytest.raises(RequestError) as caught:
        await stage.dispatch.owner.offer(ANA, wants(*devices))
    assert caught.value.code == code


async def test_a_claim_counts_for_the_devices_that_were_offered_alone(stage: Stage) -> None:
    sent = {"job_id": "b", "attempt": 1, "members": ["rig-gpu1"], "owner": ANA}
    apply(stage.state, event("job_submitted", 5, BEN, job_id="b", kind="command"))
    apply(stage.state, event("job_dispatched", 6, BEN, device="rig-gpu0", **sent))
    held = await stage.dispatch.owner.offer(BEN, asks("b", "rig-gpu0"))
    claim = Claim(offer_id=held.offer_id, job_id="b", attempt=1, body=Body(), salt=SALT.hex())
    with pytest.raises(RequestError) as caught:
        await stage.dispatch.owner.claim(BEN, claim)
    assert caught.value.code == "HoldLapsed"


def test_a_program_before_gangs_reads_asks_without_them_and_refuses_those_with() -> None:
    """It knows no field `members`; a job that asks for one device says nothing of it."""

    class Before(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
        job_id: str
        attempt: int
        device_id: str
        kind: str
        memory_bytes: int = 0

    one = msgspec.structs.replace(wants("rig-gpu0"), memory_bytes=5)
    assert msgspec.convert(msgspec.to_builtins(one), Before).memory_bytes == 5
    with pytest.raises(msgspec.ValidationError, match="members"):
        msgspec.convert(msgspec.to_builtins(wants("rig-gpu0", "rig-gpu1")), Before)


class Before:
    """An owner whose program knows no gangs: it refuses the field, or passes over it."""

    def __init__(self, *, strict: bool) -> None:
        self.strict, self.released = strict, list[str]()

    def owner(self, author: str) -> Any:
        return self

    def reachable(self, author: str) -> bool:
        return True

    async def offer(self, home: str, ask: Ask) -> Offer:
        if self.strict:
            raise RequestError("BadRequest", "Object contains unknown field `members`", "")
        return Offer(offer_id="0" * 31 + "1", device_id=ask.device_id)

    async def release(self, home: str, offer_id: str) -> None:
        self.released.append(offer_id)


@pytest.mark.parametrize("strict", [True, False])
async def test_a_place_on_one_device_is_none_for_a_gang(tmp_path: Path, *, strict: bool) -> None:
    state = told(cards("rig-gpu0", "rig-gpu1"))
    asked(state, Body(model="llama-2-13b", prompt="x"))
    keep_body(tmp_path, "j", Body(model="llama-2-13b", prompt="x"), SALT)
    stage, peers = Stage(tmp_path, state), Before(strict=strict)
    stage.home.peers = peers  # type: ignore[assignment]
    await stage.home.place(state.jobs["j"])
    assert stage.said == []
    code, text = stage.home.why(state.jobs["j"])
    assert (code, text) == (
        "NoFit",
        "rig-gpu0 + rig-gpu1: its peer's program gives a job one device alone",
    )
    assert len(peers.released) == (not strict)


# At work.


async def test_a_gang_is_started_on_all_its_cards_and_billed_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    async def poll(self: LocalAttempts, job_id: str, attempt: int) -> Outcome:
        return outcome(60_000, "ok")

    monkeypatch.setattr(LocalAttempts, "start", start)
    monkeypatch.setattr(LocalAttempts, "poll", poll)
    state = told(cards("rig-gpu0", hourly_nusd=RATES[0]) + cards("rig-gpu1", hourly_nusd=RATES[1]))
    stage = sent(state, tmp_path, "rig-gpu1")
    await stage.effects.run(StartJob("j"))
    assert held_jobs(state)["j"].devices == ("rig-gpu0", "rig-gpu1")
    await stage.effects.run(WatchJob("j"))
    _, _, fact = stage.said[-1]
    assert (fact["actual_cost_nusd"], fact["costs_nusd"]) == (
        180_000_000,
        [60_000_000, 120_000_000],
    )
    costs = {one.device_id: one.cost_nusd for one in bills(state)}
    assert costs == {"rig-gpu0": 60_000_000, "rig-gpu1": 120_000_000}
    assert held_jobs(state) == {}


async def test_a_gang_with_anothers_device_is_never_started(tmp_path: Path) -> None:
    state = told(cards("rig-gpu0") + cards("ben-gpu0", author=BEN))
    stage = sent(state, tmp_path, "ben-gpu0")
    await stage.effects.run(StartJob("j"))
    ((kind, _, fact),) = stage.said
    assert (kind, fact["reason"]) == ("job_failed", "no_resource")


def sent(state: State, tmp_path: Path, member: str) -> Stage:
    """A command of Ana's that she sent to a card of hers and another one."""
    asked(state, Body(command=("true",)), kind="command", model=None)
    keep_body(tmp_path, "j", Body(command=("true",)), SALT)
    apply(state, event("job_dispatched", 31, device="rig-gpu0", job_id="j", members=[member]))
    return Stage(tmp_path, state)


async def test_a_model_job_goes_all_the_way_to_the_engine_on_two_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the plan by offer and queue to what llama-server is told. The file is a hole."""
    launched = asyncio.get_running_loop().create_future()

    async def start(self: LocalAttempts, launch: Launch) -> Handle:
        launched.set_result(launch)
        return Handle(job_dir="", pid=1, start_ticks=1, boot_id="")

    monkeypatch.setattr(LocalAttempts, "start", start)
    row = find_row("llama-2-13b")
    assert row is not None
    write_gguf(tmp_path / "model.gguf", convert(dict(row.config)), "Q8_0")
    body = Body(model=str(tmp_path / "model.gguf"), prompt="x")
    state = told(cards("rig-gpu0", "rig-gpu1", gib=10, ram_free_bytes=64 * GIB))
    asked(state, body, model="model.gguf", quant=None)
    keep_body(tmp_path, "j", body, SALT)
    stage = Stage(tmp_path, state)
    async with asyncio.timeout(30):
        while not launched.done():
            stage.dispatch.step()
            await asyncio.sleep(0.01)
        await stage.dispatch.dispatcher.idle()
    setup, plan = setup_of(launched.result().spec), state.jobs["j"].predicted
    rows = sorted(plan.members, key=lambda one: one.first_layer)
    assert setup.cards == tuple(one.device_id[-1] for one in rows)
    assert setup.tensor_split == tuple(one.layers for one in rows)
    assert sum(setup.tensor_split) == 41
    assert [kind for kind, _, _ in stage.said] == ["job_dispatched", "job_started"]
    assert {device for _, device, _ in stage.said} == {"rig-gpu0"}
    assert state.jobs["j"].devices == ("rig-gpu0", "rig-gpu1")
    await stage.dispatch.close()
