"""Rented machines as hosts: their keys, who may be entered, what runs there and for how long."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.rentals.rows import host_name
from mesh.config import Config
from mesh.edge.clouds.machines import KeyFiles, RentedMachines
from mesh.edge.clouds.renting.ports import Needs
from mesh.edge.ssh.book import Rent
from mesh.edge.ssh.devices import prefix, registrations
from mesh.edge.ssh.hosts import SshHosts
from mesh.state.rentals.account import Account
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import ABSENT, READY, RUNNING, TERMINATING
from mesh.state.state import State
from providers.rental.contract import SshAt
from providers.ssh.hosts import Host
from providers.ssh.reading.facts import Card, HostFacts
from tests.policy.rentals.test_choosing import asked

ME = "ab" * 32
AT = SshAt(host="203.0.113.7", port=40022, user="root")
MINUTE_MS = 60_000


class Hosts:
    """A test double of adopted hosts: it notes, and every look finds what it is told."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.given_back: list[str] = []
        self.answers = True
        self.facts: HostFacts | None = None
        self.registered = True
        self.status = "unreached"

    async def rent(self, host: Host, rent: Rent) -> Any:
        known = SimpleNamespace(
            name=host.name,
            adopted=SimpleNamespace(host=host, rent=rent),
            facts=self.facts,
            registered=self.registered,
            status=self.status,
        )
        self.kept[rent.rental_id] = known
        return known

    async def look(self, known: Any) -> bool:
        return self.answers

    def rents(self) -> list[tuple[str, Any]]:
        return list(self.kept.items())

    async def give_back(self, rental_id: str) -> None:
        self.given_back.append(rental_id)
        del self.kept[rental_id]


class Desk:
    """One peer with rented machines, a clock, and a note of what was booked as lost."""

    def __init__(self, home: Path) -> None:
        self.state, self.now = State(), 1_790_000_000_000
        self.hosts, self.lost = Hosts(), list[Set[str]]()
        self.machines = RentedMachines(
            home,
            ME,
            cast(SshHosts, self.hosts),
            lambda: self.state,
            lambda: self.now,
            self._lose,
            lambda: self.now,
        )
        self.account = Account("vastai", "main")
        self.state.rentals.accounts["vastai", "main"] = self.account

    async def _lose(self, device_ids: Set[str], now_ms: int) -> None:
        self.lost.append(device_ids)

    async def rented(self, **changed: Any) -> Rental:
        """One whose keys were made here."""
        keys = await self.machines.keys.make("r1x1x1xabc")
        one = Rental("r1x1x1xabc", "vastai", "main", request_id="r1", author=ME, state=READY)
        one.host_key, one.quote_nusd = keys.host_public_key, 340
        for name, value in changed.items():
            setattr(one, name, value)
        self.account.rentals[one.rental_id] = one
        return one

    def ask(self, **changed: Any) -> None:
        self.state.rentals.requests.views["r1"] = asked(**changed)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# Keys.


async def test_keys_are_there_before_anything_is_written_and_private(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    keys = await files.make("r1")
    login = files.login("r1")
    assert login is not None
    assert login.stat().st_mode & 0o777 == 0o600
    assert login.parent.stat().st_mode & 0o777 == 0o700
    assert "PRIVATE KEY" in login.read_text()
    assert "PRIVATE KEY" in keys.host_private_key
    assert keys.host_private_key != login.read_text()
    assert [path.name for path in login.parent.iterdir()] == ["login"], "the host's is not kept"
    for public in (keys.user_public_key, keys.host_public_key):
        assert public.startswith("ssh-ed25519 ")
        assert len(public.split()) == 2


async def test_no_two_machines_have_the_same_keys(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    found = [await files.make(f"r{n}") for n in range(3)]
    assert len({key.user_public_key for key in found}) == 3
    assert len({key.host_public_key for key in found}) == 3


async def test_keys_go_after_proved_absence_and_never_before(desk: Desk) -> None:
    one = await desk.rented()
    await desk.machines.keys.make("r9x1x1xnext")  # its intent is not written yet
    for state in (READY, RUNNING, TERMINATING, "terminating_unconfirmed", "unknown_create"):
        one.state = state
        one.wanted = state in (READY, RUNNING)
        await desk.machines.step()
        assert desk.machines.keys.login(one.rental_id) is not None, state
    one.state = ABSENT
    await desk.machines.step()
    assert desk.machines.keys.login(one.rental_id) is None
    assert desk.machines.keys.login("r9x1x1xnext") is not None


# Ways in.


async def test_a_machine_is_entered_by_its_own_key_and_known_by_ours(desk: Desk) -> None:
    one = await desk.rented(price_nusd=350)
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == "sshd"
    known = desk.hosts.kept[one.rental_id]
    hop = known.adopted.host.hop
    assert (hop.host, hop.port, hop.user, hop.pin) == (AT.host, AT.port, "root", one.host_key)
    assert hop.keys == (str(desk.machines.keys.login(one.rental_id)),)
    assert known.adopted.rent.hourly_nusd == 350, "what is charged, and the quote before"


async def test_a_machine_of_another_peers_rental_is_not_entered(desk: Desk) -> None:
    one = await desk.rented(rental_id="r2x1x1xother")
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == ""
    one = await desk.rented(host_key="")
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == ""
    assert desk.hosts.kept == {}


@given(
    host=st.text(max_size=80),
    port=st.integers(-5, 99_999),
    user=st.text(max_size=40),
)
async def test_whatever_a_provider_names_as_the_way_in_is_a_host_or_none(
    host: str, port: int, user: str
) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        desk = Desk(Path(folder))
        one = await desk.rented()
        at = SshAt(host=host, port=port, user=user)
        assert await desk.machines.probe(one, at, Needs(engine=True)) in ("", "sshd")


async def test_it_may_work_once_an_engine_was_found_or_where_none_is_needed(
    desk: Desk,
) -> None:
    one = await desk.rented()
    desk.hosts.answers = False
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == ""
    desk.hosts.status = "key_changed"
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == "host_key"
    desk.hosts.answers, desk.hosts.facts = True, HostFacts(whole=True)
    assert await desk.machines.probe(one, AT, Needs(engine=True)) == "sshd"
    assert await desk.machines.probe(one, AT, Needs(engine=False)) == "engine"
    desk.hosts.registered = False  # not a device yet: no job could go there
    assert await desk.machines.probe(one, AT, Needs(engine=False)) == "sshd"


@pytest.mark.parametrize(
    ("provider", "name"), [("vastai", "vast-r1"), ("lambdalabs", "lambda-r1"), ("new", "new-r1")]
)
def test_a_host_is_called_after_its_cloud_and_its_request(provider: str, name: str) -> None:
    assert host_name(Rental("r1x1x1xabc", provider, "main", request_id="r1")) == name
    long = Rental("r", provider, "main", request_id="r" * 60)
    assert len(host_name(long)) <= 32


# What runs there.


async def test_a_machine_without_work_is_idle_after_its_time_and_not_before(desk: Desk) -> None:
    one = await desk.rented()
    desk.ask(idle_ms=15 * MINUTE_MS)
    assert await desk.machines.work(one) == "none"
    desk.now += 15 * MINUTE_MS - 1
    assert await desk.machines.work(one) == "none"
    desk.now += 1
    assert await desk.machines.work(one) == "idle"


async def test_a_job_there_begins_its_time_anew(desk: Desk) -> None:
    one = await desk.rented()
    desk.ask(idle_ms=15 * MINUTE_MS)
    await desk.machines.work(one)
    start = f"{prefix(ME, host_name(one))}-"
    attempt = SimpleNamespace(owner=ME, device_id=f"{start}gpu0", alive=True)
    job = SimpleNamespace(attempts=[attempt], ended=False)
    desk.state.jobs["j1"] = cast(Any, job)
    desk.now += 60 * MINUTE_MS
    assert await desk.machines.work(one) == "begun"
    assert desk.machines.idle_ms(one.rental_id) is None
    attempt.alive = False
    assert await desk.machines.work(one) == "begun", "it has just ended"
    desk.now += 15 * MINUTE_MS
    assert await desk.machines.work(one) == "idle"
    assert desk.machines.idle_ms(one.rental_id) == 15 * MINUTE_MS


async def test_jobs_elsewhere_and_of_other_owners_are_none_of_its_work(desk: Desk) -> None:
    one = await desk.rented()
    desk.ask(idle_ms=MINUTE_MS)
    start = f"{prefix(ME, host_name(one))}-"
    others = [
        SimpleNamespace(owner=ME, device_id=f"{prefix(ME, 'vast-r11')}-gpu0", alive=True),
        SimpleNamespace(owner="cd" * 32, device_id=f"{start}gpu0", alive=True),
    ]
    desk.state.jobs["j1"] = cast(Any, SimpleNamespace(attempts=others, ended=False))
    await desk.machines.work(one)
    desk.now += MINUTE_MS
    assert await desk.machines.work(one) == "idle"


async def test_zero_is_never_idle(desk: Desk) -> None:
    one = await desk.rented()
    desk.ask(idle_ms=0)
    await desk.machines.work(one)
    desk.now += 10_000 * MINUTE_MS
    assert await desk.machines.work(one) == "none"


async def test_a_machine_for_one_job_is_done_when_that_ended(desk: Desk) -> None:
    one = await desk.rented()
    desk.ask(job_id="j1")
    desk.state.jobs["j1"] = cast(Any, SimpleNamespace(attempts=[], ended=False))
    assert await desk.machines.work(one) == "none"
    desk.state.jobs["j1"].ended = True  # type: ignore[misc]
    assert await desk.machines.work(one) == "job_done"


@pytest.mark.parametrize(
    "changed",
    [{"wanted": False, "state": TERMINATING}, {"state": "interrupted"}, {"state": ABSENT}, None],
    ids=["returned", "interrupted", "gone", "unknown"],
)
async def test_what_ran_on_a_machine_that_goes_is_booked_before_its_host_is_forgotten(
    desk: Desk, changed: dict[str, Any] | None
) -> None:
    one = await desk.rented()
    await desk.machines.probe(one, AT, Needs(engine=True))
    start = prefix(ME, host_name(one))
    for name in (f"{start}-cpu", f"{start}-gpu0", f"{start}1-gpu0", "dev-other-gpu0"):
        desk.state.devices[name] = cast(Any, None)
    await desk.machines.step()
    assert (desk.lost, desk.hosts.given_back) == ([], [])
    if changed is None:
        desk.account.rentals.clear()
    else:
        for name, value in changed.items():
            setattr(one, name, value)
    await desk.machines.step()
    assert desk.lost == [{f"{start}-cpu", f"{start}-gpu0"}]
    assert desk.hosts.given_back == ["r1x1x1xabc"]


# What its devices cost.


def facts(cards: int) -> HostFacts:
    found = [
        Card(index=n, vendor="nvidia", name="RTX 4090", uuid=f"GPU-{n}", memory_bytes=24 << 30)
        for n in range(cards)
    ]
    return HostFacts(whole=True, cards=tuple(found))


@given(hourly=st.integers(0, 10**13), cards=st.integers(0, 16))
def test_the_parts_of_a_rent_add_up_to_it_at_least(hourly: int, cards: int) -> None:
    found = facts(cards)
    order = [card.lock for card in found.cards]
    rent = Rent(rental_id="r1", provider="vastai", hourly_nusd=hourly)
    every = registrations(ME, "vast-r1", found, order, Config(name="here"), rent)
    paid = [cast(int, payload.get("hourly_nusd", 0)) for _, payload in every]
    assert hourly <= sum(paid) < hourly + max(1, cards)
    assert {payload["location"] for _, payload in every} == {"cloud"}
    assert {payload["provider"] for _, payload in every} == {"vastai"}
    own = registrations(ME, "rig", found, order, Config(name="here"))
    assert all(not payload.get("hourly_nusd") for _, payload in own)
