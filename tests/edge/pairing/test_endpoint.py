"""The endpoint strangers reach: what proves nothing gets nothing, and everything is bounded."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.edge.identity import Identity, load_or_create
from mesh.edge.pairing.book import BOOK_FILE, MAX_PENDING_PER_ADDRESS, PairingBook
from mesh.edge.pairing.client import Host, Self, ask, join
from mesh.edge.pairing.endpoint import ALL_ADDRESSES, LIFETIME_S, PER_ADDRESS, PairingHost, Welcome
from mesh.edge.transport.link import Contexts, certificate, own_anchor
from mesh.edge.transport.listen import Limiter, Listener, listen
from mesh.ledger import signing
from mesh.policy import pairing
from mesh.policy.pairing import Code
from mesh.state.peer_id import peer_id

NOW = 1_790_000_000_000
OPEN = Limiter(1e6, 10**6, 1e6, 10**6)


class Desk:
    """A host of this test: keeps who was let in."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home, self.who = home, load_or_create(home)
        self.granted: dict[str, str] = {}
        self.now = NOW
        self.book = PairingBook(home)
        self.fails = False
        key, self.tls = own_anchor(self.who)
        self.host = PairingHost(
            key, lambda: "studio", self.book, self.grant, self.known, lambda: self.now
        )
        self.host._limiter = OPEN

    async def grant(self, key: str, name: str, role: str, tls: str, at: str, port: int) -> Welcome:
        if self.fails:
            raise RequestError("StoreError", "the disk is full")
        self.granted[key] = role
        return self.welcome(role)

    def known(self, key: str) -> Welcome | None:
        return self.welcome(self.granted[key]) if key in self.granted else None

    def welcome(self, role: str) -> Welcome:
        return Welcome(
            role=role,
            root=self.who.author,
            name="studio",
            tls=self.tls.hex(),
            port=7433,
            addresses=["10.0.0.1"],
        )

    def invite(self, port: int, **more: Any) -> Code:
        made = self.book.invite(
            **({"role": "runner", "ttl_ms": 60_000, "uses": 1} | more), now=self.now
        )
        assert made is not None
        return Code(
            secret=bytes.fromhex(made.secret),
            port=port,
            addresses=("127.0.0.1",),
            fingerprint=pairing.fingerprint(bytes.fromhex(self.who.author)),
        )


def guest(folder: Path, name: str = "rig") -> Self:
    (folder / name).mkdir(exist_ok=True)
    return Self(who=load_or_create(folder / name), name=name, port=7433)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "host")


@asynccontextmanager
async def serving(desk: Desk, app: web.Application) -> AsyncIterator[int]:
    """A port that shows the key of `desk` over real TLS."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    context = Contexts(desk.who, desk.home).open_server()
    assert runner.server is not None
    listener = Listener(listen("127.0.0.1", 0), runner.server, lambda: context, OPEN, LIFETIME_S)
    running = asyncio.create_task(listener.run())
    yield listener.port
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runner.cleanup()


@pytest.fixture
async def port(desk: Desk) -> AsyncIterator[int]:
    """The pairing port of `desk`."""
    async with serving(desk, desk.host.app()) as port:
        yield port


async def test_a_code_lets_its_holder_in(desk: Desk, port: int, tmp_path: Path) -> None:
    me = guest(tmp_path)
    host = await join(me, desk.invite(port))
    assert isinstance(host, Host)
    assert (host.key, host.welcome.role) == (desk.who.author, "runner")
    assert desk.granted == {me.who.author: "runner"}


async def test_a_used_expired_or_unknown_code_lets_nobody_in(
    desk: Desk, port: int, tmp_path: Path
) -> None:
    code = desk.invite(port)
    await join(guest(tmp_path), code)
    again = await join(guest(tmp_path), code)  # its answer may have got lost on the way
    assert again.welcome.role == "runner"
    with pytest.raises(RequestError, match="used already"):
        await join(guest(tmp_path, "thief"), code)
    late = desk.invite(port)
    desk.now += 60_001
    with pytest.raises(RequestError, match="has expired"):
        await join(guest(tmp_path, "late"), late)
    with pytest.raises(RequestError, match="no such code"):
        await join(guest(tmp_path, "liar"), replace(code, secret=bytes(16)))
    assert len(desk.granted) == 1


async def test_a_code_for_two_lets_two_in(desk: Desk, port: int, tmp_path: Path) -> None:
    code = desk.invite(port, uses=2)
    for name in ("one", "two"):
        await join(guest(tmp_path, name), code)
    with pytest.raises(RequestError, match="used already"):
        await join(guest(tmp_path, "three"), code)


async def test_who_answers_in_the_inviters_place_is_found_out(
    desk: Desk, port: int, tmp_path: Path
) -> None:
    code = desk.invite(port)
    with pytest.raises(RequestError, match="another peer answers"):
        await join(guest(tmp_path), replace(code, fingerprint=b"\0\0\0\0"))


async def test_who_holds_the_key_but_not_the_code_is_found_out(desk: Desk, tmp_path: Path) -> None:
    async def made_up(request: web.Request) -> web.Response:
        welcome = msgspec.json.encode(desk.welcome("admin")).decode()
        return web.json_response({"welcome": welcome, "mac": "00" * 32})

    app = web.Application()
    app.router.add_post("/v1/pair/hello", desk.host.hello)
    app.router.add_post("/v1/pair/join", made_up)
    async with serving(desk, app) as port:
        with pytest.raises(RequestError, match="not made by who made the code"):
            await join(guest(tmp_path), desk.invite(port))


async def test_a_failed_grant_gives_the_code_back(desk: Desk, port: int, tmp_path: Path) -> None:
    code, desk.fails = desk.invite(port), True
    with pytest.raises(RequestError, match="disk is full"):
        await join(guest(tmp_path), code)
    desk.fails = False
    assert (await join(guest(tmp_path), code)).welcome.role == "runner"


async def test_a_full_disk_costs_no_code_and_leaves_none_usable_twice(
    desk: Desk, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    code = desk.invite(port)
    with monkeypatch.context() as at_once:
        at_once.setattr("mesh.edge.pairing.book.write_private", full)
        for _ in range(2):
            with pytest.raises(RequestError, match="No space left"):
                await join(guest(tmp_path), code)
    assert desk.granted == {}
    assert (await join(guest(tmp_path), code)).welcome.role == "runner"
    desk.host.book = desk.book = PairingBook(desk.home)  # type: ignore[misc]  # as after a restart
    with pytest.raises(RequestError, match="used already"):
        await join(guest(tmp_path, "thief"), code)


async def test_nobody_asks_to_be_let_in_by_itself(desk: Desk, port: int) -> None:
    me = Self(who=desk.who, name="host", port=7433)
    with pytest.raises(RequestError, match="this peer's own pairing address"):
        await ask(me, ("127.0.0.1", port))
    assert desk.book.waiting(desk.now) == []


async def test_who_asks_waits_until_a_person_says_yes(
    desk: Desk, port: int, tmp_path: Path
) -> None:
    me = guest(tmp_path)
    assert await ask(me, ("127.0.0.1", port)) == (desk.who.author, None)
    await ask(me, ("127.0.0.1", port))
    (one,) = desk.book.waiting(desk.now)
    assert (one.key, one.name, one.address) == (me.who.author, "rig", "127.0.0.1")
    desk.granted[me.who.author] = "member"
    _, host = await ask(me, ("127.0.0.1", port))
    assert host is not None
    assert host.welcome.role == "member"


async def test_a_yes_counts_only_from_the_peer_that_was_shown(
    desk: Desk, port: int, tmp_path: Path
) -> None:
    """Who asks at an address is shown a key to compare: another one's yes is none."""
    me, there = guest(tmp_path), ("127.0.0.1", port)
    shown = peer_id(desk.who.author)
    assert await ask(me, there, shown) == (desk.who.author, None)
    desk.granted[me.who.author] = "runner"
    with pytest.raises(RequestError, match="another peer than") as error:
        await ask(me, there, peer_id("0a" * 32))
    assert error.value.code == "Impostor"
    _, host = await ask(me, there, shown)
    assert host is not None


async def test_a_used_code_stays_used_when_the_power_fails(
    desk: Desk, port: int, tmp_path: Path
) -> None:
    code = desk.invite(port)
    await join(guest(tmp_path), code)
    desk.host.book = desk.book = PairingBook(desk.home)  # type: ignore[misc]  # as after a restart
    with pytest.raises(RequestError, match="used already"):
        await join(guest(tmp_path, "thief"), code)
    assert (desk.home / BOOK_FILE).stat().st_mode & 0o777 == 0o600


async def test_a_guest_learns_the_founding_and_the_recovery_key_by_the_code(
    desk: Desk, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"founding": "ab" * 32, "recovery": "cd" * 32, "admins": 1}
    whole = msgspec.structs.replace(desk.welcome("runner"), **more)
    monkeypatch.setattr(desk, "welcome", lambda _: whole)
    assert (await join(guest(tmp_path), desk.invite(port))).welcome == whole
    # A host of an earlier version says nothing of them.
    said = msgspec.json.decode(msgspec.json.encode(whole))
    for name in more:
        del said[name]
    old = msgspec.convert(said, Welcome)
    assert (old.founding, old.recovery, old.admins) == ("", "", 0)


async def test_one_machine_cannot_fill_the_list(desk: Desk, port: int, tmp_path: Path) -> None:
    for n in range(MAX_PENDING_PER_ADDRESS):
        await ask(guest(tmp_path, f"g{n}"), ("127.0.0.1", port))
    with pytest.raises(RequestError, match="too many are waiting"):
        await ask(guest(tmp_path, "more"), ("127.0.0.1", port))
    desk.book.ignore(guest(tmp_path, "g0").who.author)
    with pytest.raises(RequestError, match="ignored"):
        await ask(guest(tmp_path, "g0"), ("127.0.0.1", port))
    assert len(PairingBook(desk.home).waiting(desk.now)) == MAX_PENDING_PER_ADDRESS - 1


# The protocol below TLS: what a hostile guest may send.


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(desk.host.app())) as client:
        yield client


async def body_of(
    client: TestClient[Any, Any], desk: Desk, who: Identity, code: Code
) -> dict[str, object]:
    """A sound join request."""
    hello = await (await client.post("/v1/pair/hello", json={})).json()
    key, tls = own_anchor(who)
    talk = pairing.Talk(
        host_key=bytes.fromhex(desk.who.author),
        guest_key=key,
        tls=tls,
        name="rig",
        host_nonce=bytes.fromhex(hello["nonce"]),
        guest_nonce=bytes(32),
    )
    return {
        "key": key.hex(),
        "name": "rig",
        "tls": tls.hex(),
        "port": 1,
        "nonce": hello["nonce"],
        "guest_nonce": "00" * 32,
        "invite": pairing.invite_id(code.secret),
        "proof": signing.sign_bytes(who.seed, pairing.proof_text(talk)).hex(),
        "mac": pairing.guest_mac(code.secret, talk).hex(),
    }


async def refused(client: TestClient[Any, Any], body: object, path: str = "join") -> str:
    response = await client.post(f"/v1/pair/{path}", json=body)
    said = await response.json()
    assert 400 <= response.status < 500, said
    return str(said["code"])


async def test_a_request_sent_again_is_stale(
    client: TestClient[Any, Any], desk: Desk, tmp_path: Path
) -> None:
    body = await body_of(client, desk, guest(tmp_path).who, desk.invite(1, uses=2))
    assert (await client.post("/v1/pair/join", json=body)).status == 200
    assert await refused(client, body) == "StaleNonce"


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("key", "BadProof"),
        ("name", "BadProof"),
        ("tls", "BadProof"),
        ("nonce", "StaleNonce"),
        ("guest_nonce", "BadProof"),
        ("proof", "BadProof"),
        ("mac", "WrongCode"),
        ("invite", "UnknownCode"),
    ],
)
async def test_every_field_is_bound_by_a_proof(
    client: TestClient[Any, Any], desk: Desk, tmp_path: Path, field: str, code: str
) -> None:
    body = await body_of(client, desk, guest(tmp_path).who, desk.invite(1))
    text = str(body[field])
    body[field] = text[:-1] + ("a" if text[-1] != "a" else "b")
    assert await refused(client, body) == code
    assert desk.granted == {}


async def test_a_stolen_certificate_is_no_key(
    client: TestClient[Any, Any], desk: Desk, tmp_path: Path
) -> None:
    """Every member's certificate is in every ledger; only its owner can sign a talk."""
    victim, thief = guest(tmp_path, "victim").who, guest(tmp_path, "thief").who
    body = await body_of(client, desk, thief, desk.invite(1))
    body |= {"key": victim.author, "tls": certificate.signature_of(victim.seed).hex()}
    assert await refused(client, body) == "BadProof"


async def test_oversized_and_senseless_requests_are_refused(client: TestClient[Any, Any]) -> None:
    assert await refused(client, {"key": "x" * 20_000}) in ("TooLarge", "BadRequest")
    assert await refused(client, [1]) == "BadJson"
    assert await refused(client, {}) == "BadRequest"
    assert (await client.get("/v1/status")).status == 404
    assert (await client.get("/v1/pair/join")).status == 405


async def test_tries_are_bounded_per_address_and_in_all(
    client: TestClient[Any, Any], desk: Desk
) -> None:
    desk.host._limiter = Limiter(*PER_ADDRESS, *ALL_ADDRESSES)
    statuses = [(await client.post("/v1/pair/hello", json={})).status for _ in range(60)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert len(desk.host._nonces) <= 60


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 5)), max_size=200))
def test_no_pattern_of_tries_beats_the_rates(tries: list[tuple[str, float]]) -> None:
    limiter = Limiter(1.0, 5, 2.0, 8)
    now, passed = 0.0, {"a": 0, "b": 0, "c": 0}
    for address, pause in tries:
        now += pause
        passed[address] += limiter.allows(address, now)
    assert all(count <= 5 + now + 1 for count in passed.values())
    assert sum(passed.values()) <= 8 + 2 * now + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "name", "tls", "nonce", "proof", "mac"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(bodies=st.lists(JSON, min_size=1, max_size=5))
def test_no_body_breaks_the_endpoint(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[object]
) -> None:
    async def send() -> None:
        desk = Desk(tmp_path_factory.mktemp("fuzz") / "host")
        async with TestClient(TestServer(desk.host.app())) as client:
            for body in bodies:
                for path in ("join", "ask"):
                    response = await client.post(f"/v1/pair/{path}", data=json.dumps(body))
                    assert 400 <= response.status < 500
            assert desk.granted == {}

    asyncio.run(send())
