"""A device is drained and reserved by its owner, at whoever's wish who may wish that."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mathcore.planner.render import plan_dict
from mesh.api.errors import RequestError
from mesh.api.requests import parse_plan
from mesh.api.rows import device_rows
from mesh.api.upkeep import MAX_AHEAD_MS, MAX_RESERVED_MS
from mesh.cli.planning.plan_view import verdict
from mesh.edge.http import roles
from mesh.edge.http.app import make_mesh_app
from mesh.edge.http.upkeep import peer_upkeep_routes, upkeep_routes
from mesh.edge.planning import make_plan
from mesh.edge.upkeep import Upkeep
from mesh.ledger.event import Event
from mesh.state.fold import apply
from mesh.state.members import ADMIN, MEMBER, RUNNER
from mesh.state.state import State
from mesh.state.upkeep import MAX_RESERVATIONS
from tests.edge.http.fake_node import FakeNode
from tests.edge.http.test_roles import FakeMesh
from tests.edge.test_effects import card
from tests.state.job_story import ANA, BEN, T0, event, told

HOUR = 3_600_000


class Peer:
    """Ana or Ben: both see one ledger, and what one emits the other has at once."""

    def __init__(self, author: str, state: State, call: Any = None) -> None:
        self.author, self.state, self.now = author, state, T0
        self.emitted: list[str] = []
        self.upkeep = Upkeep(author, lambda: state, self.emit, call, lambda: self.now)

    async def emit(self, kind: str, device: str, payload: dict[str, object]) -> Event:
        self.emitted.append(kind)
        one = event(kind, 100 + self.state.event_count, self.author, device, **payload)
        apply(self.state, one)
        return one


@pytest.fixture
def state() -> State:
    return told([event("device_registered", 0, ANA, "gpu0", **card("rig", 24))])


@pytest.fixture
def ana(state: State) -> Peer:
    return Peer(ANA, state)


@pytest.fixture
async def there(
    ana: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[dict[str, Any]]:
    """Ana's port for peers, asked by Ben, whose role "role" says."""
    said: dict[str, Any] = {"role": ADMIN}
    mesh: Any = FakeMesh("")
    mesh.role_of = lambda _: said["role"]
    monkeypatch.setattr(roles, "key_behind", lambda _: bytes.fromhex(BEN))
    app = make_mesh_app(FakeNode(tmp_path), mesh, peer_upkeep_routes(ana.upkeep))
    async with TestClient(TestServer(app)) as client:

        async def call(key: bytes, method: str, path: str, body: Mapping[str, object]) -> Any:
            assert key.hex() == ANA
            async with client.request(method, path, json=dict(body)) as response:
                found = await response.json()
                if response.status >= 400:
                    raise RequestError(found["code"], found["text"], "", response.status)
                return found

        said["call"] = call
        yield said


async def refused(asked: Any) -> str:
    with pytest.raises(RequestError) as error:
        await asked
    return error.value.code


async def test_an_owner_drains_and_resumes_once_however_often_it_is_said(ana: Peer) -> None:
    for _ in range(2):
        said = await ana.upkeep.ask("drain", "rig", {"reason_code": "upgrade"})
        assert said["drained"] == "upgrade"
    for _ in range(2):
        assert (await ana.upkeep.ask("resume", "gpu0", {}))["drained"] == ""
    assert ana.emitted == ["device_drained", "device_resumed"]


async def test_an_admin_drains_another_peers_device_by_asking_its_owner(
    ana: Peer, there: dict[str, Any]
) -> None:
    ben = Peer(BEN, ana.state, there["call"])
    said = await ben.upkeep.ask("drain", "rig", {})
    assert said["drained"] == "maintenance"
    assert (ben.emitted, ana.emitted) == ([], ["device_drained"])


@pytest.mark.parametrize(("role", "code"), [(RUNNER, "NotOwner"), (MEMBER, "WrongRole")])
async def test_whoever_is_no_admin_is_refused_by_the_owner(
    role: str, code: str, ana: Peer, there: dict[str, Any]
) -> None:
    there["role"] = role
    ben = Peer(BEN, ana.state, there["call"])
    for verb, body in (("drain", {}), ("reserve", {"for_ms": HOUR}), ("resume", {})):
        assert await refused(ben.upkeep.ask(verb, "rig", body)) == code
    assert ana.emitted == []


async def test_a_peer_passes_nobodys_wish_on(ana: Peer, there: dict[str, Any]) -> None:
    ben = Peer(BEN, ana.state, there["call"])
    assert await refused(ben.upkeep.serve("drain", "rig", {}, ANA, ADMIN)) == "NotOwner"
    assert await refused(Peer(BEN, ana.state).upkeep.ask("drain", "rig", {})) == "Unreachable"
    assert ana.emitted == []


async def test_a_reservation_is_for_whoever_asked(ana: Peer, there: dict[str, Any]) -> None:
    ben = Peer(BEN, ana.state, there["call"])
    said = await ben.upkeep.ask("reserve", "rig", {"for_ms": HOUR})
    (one,) = said["reservations"]  # type: ignore[misc]
    assert (one["by"], one["from_ms"], one["until_ms"]) == (BEN, T0, T0 + HOUR)
    assert await refused(ana.upkeep.ask("reserve", "rig", {"for_ms": HOUR})) == "Reserved"
    later = await ana.upkeep.ask("reserve", "rig", {"for_ms": HOUR, "from_ms": T0 + HOUR})
    assert [each["by"] for each in later["reservations"]] == [BEN, ANA]  # type: ignore[attr-defined]
    left = await ana.upkeep.ask("unreserve", "rig", {})
    assert [each["by"] for each in left["reservations"]] == [BEN]  # type: ignore[attr-defined]
    named = {"reservation_id": one["reservation_id"]}
    assert (await ana.upkeep.ask("unreserve", "rig", named))["reservations"] == []
    assert await refused(ana.upkeep.ask("unreserve", "rig", {})) == "NotFound"


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("drain", {"reason_code": "my secret project"}),
        ("drain", {"reason": "upgrade"}),
        ("resume", {"x": 1}),
        ("reserve", {}),
        ("reserve", {"for_ms": True}),
        ("reserve", {"for_ms": "2h"}),
        ("reserve", {"for_ms": 1}),
        ("reserve", {"for_ms": MAX_RESERVED_MS + 1}),
        ("reserve", {"for_ms": HOUR, "from_ms": T0 + MAX_AHEAD_MS + 1}),
        ("reserve", {"for_ms": HOUR, "from_ms": T0 - HOUR}),
        ("unreserve", {"reservation_id": ["x"]}),
    ],
)
async def test_what_makes_no_sense_is_refused_and_written_nowhere(
    ana: Peer, verb: str, body: dict[str, object]
) -> None:
    assert await refused(ana.upkeep.ask(verb, "rig", body)) in (
        "BadField",
        "UnknownField",
        "NotFound",
    )
    assert ana.emitted == []


async def test_nobody_fills_the_ledger_with_reservations(ana: Peer) -> None:
    for _ in range(MAX_RESERVATIONS):
        await ana.upkeep.ask("reserve", "rig", {"for_ms": HOUR})
    assert await refused(ana.upkeep.ask("reserve", "rig", {"for_ms": HOUR})) == "TooMany"


async def test_devices_and_plans_say_that_it_is_drained_or_reserved(ana: Peer) -> None:
    asked = parse_plan({"model": "llama-2-13b", "quant": "Q8_0"})
    assert make_plan(ana.state, asked, now=T0).placements
    await ana.upkeep.ask("drain", "rig", {"reason_code": "upgrade"})
    made = make_plan(ana.state, asked, now=T0)
    assert made.placements == ()
    rows: Any = plan_dict(made)["refusals"]
    assert verdict(rows) == "Its devices take no new jobs now."
    assert [(one.code, one.text) for one in made.refusals] == [
        ("Drained", "drained (upgrade): fleet resume rig")
    ]
    assert device_rows(ana.state, T0)[0]["state"] == "drained"
    await ana.upkeep.ask("resume", "rig", {})
    await ana.upkeep.ask("reserve", "rig", {"for_ms": 2 * HOUR})
    made = make_plan(ana.state, asked, now=T0, me=BEN)
    assert [one.code for one in made.refusals] == ["Reserved"]
    assert made.refusals[0].text.endswith("for another 2 h 00 min")
    assert make_plan(ana.state, asked, now=T0, me=ANA).placements
    assert make_plan(ana.state, asked, now=T0 + 2 * HOUR, me=BEN).placements
    assert device_rows(ana.state, T0)[0]["state"] == "reserved"


def test_every_verb_needs_a_runner_on_both_sides(ana: Peer) -> None:
    for routes in (upkeep_routes(ana.upkeep), peer_upkeep_routes(ana.upkeep)):
        assert [one.path.rpartition("/")[2] for one in routes] == [
            "drain", "resume", "reserve", "unreserve",
        ]  # fmt: skip
        assert {one.role for one in routes} == {RUNNER}
