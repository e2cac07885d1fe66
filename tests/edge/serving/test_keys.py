"""A key is made and shown once, found by its secret alone, and taken back by who may."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mathcore.units import DAY_MS, NUSD
from mesh.api.errors import RequestError
from mesh.edge.http.app import make_app
from mesh.edge.http.keys import key_routes
from mesh.edge.serving import keys as keys_module
from mesh.edge.serving.keys import PREFIX, Keys, find_by_secret, hash_of
from mesh.ledger import codec
from mesh.ledger.event import Event
from mesh.state.facts.serving import UsageRow
from mesh.state.fold import apply
from mesh.state.members import ADMIN, MEMBER
from mesh.state.peer_id import is_named_for
from mesh.state.state import State
from tests.edge.http.fake_node import AUTH, TOKEN, FakeNode
from tests.edge.http.test_roles import BETWEEN_PEERS
from tests.state.job_story import ANA, BEN, T0, event, life, owned, told


class Peer:
    """Ana or Ben: both see one ledger, and what one emits the other has at once."""

    def __init__(self, author: str, state: State) -> None:
        self.author, self.state, self.now = author, state, T0
        self.emitted: list[Event] = []
        self.keys = Keys(author, "peer", lambda: self.state, self.emit, lambda: self.now)

    async def emit(self, kind: str, device: str, payload: dict[str, object]) -> Event:
        codec.encode(payload)  # it can be signed
        one = event(kind, 100 + self.state.event_count, self.author, device, **payload)
        self.emitted.append(one)
        apply(self.state, one)
        return one


@pytest.fixture
def state() -> State:
    return told([*owned("d", "e"), *life(cost=NUSD)])


@pytest.fixture
def ana(state: State) -> Peer:
    return Peer(ANA, state)


@pytest.fixture
async def client(ana: Peer, tmp_path: Path) -> AsyncIterator[Any]:
    app = make_app(FakeNode(tmp_path), TOKEN, None, key_routes(ana.keys))
    async with TestClient(TestServer(app), headers=AUTH) as found:
        yield found


def use(cost: int, key_id: str = "", device: str = "d", **given: Any) -> UsageRow:
    fields = {"model": "m", "device_id": device, "job_id": "j1", "requests": 1}
    return UsageRow(**{**fields, **given}, key_id=key_id, cost_nusd=cost)


async def refused(asked: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        await asked
    return error.value


async def test_a_secret_opens_its_key_and_stands_in_no_event(ana: Peer) -> None:
    made: Any = await ana.keys.add({"name": "ci", "models": ["org/m"], "budget": "$5/day"})
    found = ana.keys.find(made["secret"])
    assert found is not None
    assert (found.key_id, found.name, found.models) == (made["key_id"], "ci", ("m",))
    assert (found.budget_nusd, found.budget_per) == (5 * NUSD, "day")
    assert made["secret"].startswith(PREFIX)
    assert len(made["secret"]) == len(PREFIX) + 64
    assert is_named_for(ANA, made["key_id"])
    (said,) = ana.emitted
    assert made["secret"][len(PREFIX) :] not in str(said.payload)
    assert said.payload["hash"] == hash_of(made["secret"])


@pytest.mark.parametrize("secret", ["", "fl-", "fl-é", "fl-\udcff", "0" * 64])
async def test_another_secret_opens_nothing(ana: Peer, secret: str) -> None:
    made: Any = await ana.keys.add({"name": "ci"})
    assert ana.keys.find(secret) is None
    assert ana.keys.find(hash_of(made["secret"])) is None


async def test_every_key_is_compared_in_full(ana: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = [await ana.keys.add({"name": f"k{n}"}) for n in range(5)]
    compared: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return a == b

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compare)
    assert find_by_secret(ana.state.keys.values(), made[0]["secret"]) is not None
    assert len(compared) == 5


async def test_a_revoked_key_is_refused_with_the_next_request(ana: Peer) -> None:
    made: Any = await ana.keys.add({"name": "ci"})
    assert ana.keys.find(made["secret"]) is not None
    for _ in range(2):
        row = await ana.keys.revoke("ci", MEMBER)
        assert row["works"] is False
    found = ana.keys.find(made["secret"])
    assert found is not None
    assert not found.works
    assert [one.event_type for one in ana.emitted] == ["key_added", "key_revoked"]


async def test_only_a_keys_author_or_an_admin_revokes_it(ana: Peer) -> None:
    await ana.keys.add({"name": "ci"})
    ben = Peer(BEN, ana.state)
    error = await refused(ben.keys.revoke("ci", MEMBER))
    assert (error.code, error.status) == ("NotOwner", 403)
    assert ben.emitted == []
    assert (await ben.keys.revoke("ci", ADMIN))["works"] is False


async def test_a_name_is_one_keys_until_that_is_revoked(ana: Peer) -> None:
    first: Any = await ana.keys.add({"name": "ci"})
    assert (await refused(ana.keys.add({"name": "ci"}))).code == "KeyExists"
    await ana.keys.revoke("ci", MEMBER)
    second: Any = await ana.keys.add({"name": "ci"})
    assert (await ana.keys.revoke("ci", MEMBER))["key_id"] == second["key_id"]
    assert (await refused(ana.keys.revoke("cj", MEMBER))).status == 404
    assert first["key_id"] != second["key_id"]


async def test_no_new_key_pushes_out_one_that_works(
    ana: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "MAX_KEYS", 3)
    for n in range(3):
        await ana.keys.add({"name": f"k{n}"})
    assert (await refused(ana.keys.add({"name": "k3"}))).code == "TooMany"
    await ana.keys.revoke("k0", MEMBER)
    await ana.keys.add({"name": "k3"})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "ci", "x": 1},
        {"name": "ci", "models": "m"},
        {"name": "ci", "models": [""]},
        {"name": "ci", "models": [f"m{n}" for n in range(65)]},
        {"name": "ci", "rate_per_min": "60"},
        {"name": "ci", "rate_per_min": True},
        {"name": "ci", "rate_per_min": -1},
        {"name": "ci", "budget": 5},
        {"name": "ci", "budget": "five"},
        {"name": "ci", "budget": "$5/week"},
        {"name": "ci", "budget": "$0"},
        {"name": "ci", "budget_per": "day"},
        {"name": "ci", "budget": "$5/day", "budget_per": "month"},
        {"name": "ci", "budget": "$5", "budget_per": "year"},
    ],
)
async def test_what_no_key_can_be_is_refused_in_words(ana: Peer, body: dict[str, object]) -> None:
    error = await refused(ana.keys.add(body))
    assert error.status == 400
    assert error.text
    assert error.hint
    assert ana.emitted == []


async def test_the_routes_tell_a_secret_once_and_never_a_hash(client: Any, ana: Peer) -> None:
    body = {"name": "ci", "rate_per_min": 60, "budget": "$5", "budget_per": "month"}
    async with client.post("/v1/keys", json=body) as response:
        assert response.status == 201
        made = await response.json()
    async with client.get("/v1/keys") as response:
        text = await response.text()
        (row,) = (await response.json())["keys"]
    assert (row["key_id"], row["rate_per_min"], row["budget_per"]) == (made["key_id"], 60, "month")
    assert row["works"] is True
    assert made["secret"] not in text
    assert hash_of(made["secret"]) not in text
    async with client.post("/v1/keys/ci/revoke") as response:
        assert (await response.json())["works"] is False
    async with client.post("/v1/keys/nobody/revoke") as response:
        assert response.status == 404


async def test_usage_is_told_by_whatever_is_asked(client: Any, ana: Peer) -> None:
    made: Any = await ana.keys.add({"name": "ci"})
    assert await ana.keys.tell_usage(T0, 60_000, [use(7, made["key_id"]), use(3)])
    assert not await ana.keys.tell_usage(T0, 60_000, [])
    async with client.get("/v1/usage") as response:
        said = await response.json()
    assert [(one["key"], one["cost_nusd"]) for one in said["groups"]] == [
        ("ci", 7),
        ("(no key)", 3),
    ]
    assert said["total"]["requests"] == 2
    for by, name in (("model", "m"), ("device", "d"), ("day", "2027-01-15")):
        async with client.get(f"/v1/usage?by={by}&since={T0 - DAY_MS}") as response:
            assert [one[by] for one in (await response.json())["groups"]] == [name]
    async with client.get(f"/v1/usage?since={T0 + DAY_MS}") as response:
        assert (await response.json())["groups"] == []
    for wrong in ("by=colour", "since=yesterday", "since=-1", "x=1"):
        async with client.get(f"/v1/usage?{wrong}") as response:
            assert response.status == 400


def test_no_other_peer_reaches_a_key() -> None:
    assert not [one for one in BETWEEN_PEERS if "keys" in one or "usage" in one]


async def test_what_a_key_spent_follows_the_ledger(ana: Peer) -> None:
    made: Any = await ana.keys.add({"name": "ci", "budget": "$5/day"})
    key = ana.keys.find(made["secret"])
    assert key is not None
    assert ana.keys.spent_nusd(key) == 0
    await ana.keys.tell_usage(T0, 60_000, [use(7, key.key_id)])
    assert ana.keys.spent_nusd(key) == 7
    ana.now += DAY_MS
    assert ana.keys.spent_nusd(key) == 0
