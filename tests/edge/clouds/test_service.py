"""One peer's part in renting: where a request goes, whose names it answers to, what is told of
accounts and of machines that nobody wants."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mathcore.units import GIB, NUSD
from mesh.api.errors import RequestError
from mesh.api.market.asked import parse_offers
from mesh.api.market.offers import offers_answer
from mesh.api.rentals.rows import host_name, rental_rows
from mesh.config import Config
from mesh.edge.clouds.checking import MENDS, check_row
from mesh.edge.clouds.keys import PROVIDERS, Key
from mesh.edge.clouds.keys import Account as KeyedAccount
from mesh.edge.clouds.prices.market import Trouble, quote_of
from mesh.edge.clouds.service import Clouds, fleet_name
from mesh.ledger.event import Event
from mesh.policy.rentals.caps import usual_cap_nusd
from mesh.policy.rentals.timers import BLIND_MS
from mesh.state.fold import apply
from mesh.state.rentals.terms import GRACE_MS, HOUR_MS
from mesh.state.state import State
from providers.lambdalabs.profile import PROFILE as LAMBDALABS
from providers.rental.contract import Row
from providers.rental.labels import label_of
from providers.vastai.profile import PROFILE as VASTAI
from tests.edge.clouds.stand_in import offer
from tests.state.job_story import ANA, T0, event
from tests.state.test_rentals import INTENT

NAME = ("vastai", "main")
BODY = {"gpu": "24GB..", "life": "2h"}


class Node:
    """A peer's state; what it emits is folded, if its word counts."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, Config(name="here")
        self.state, self.clock, self.counts = State(), T0, True
        self.ssh = SimpleNamespace(rents=lambda: self.rented)
        self.rented: list[tuple[str, Any]] = []
        self.emitted: list[Event] = []

    def now(self) -> int:
        return self.clock

    def may_register(self) -> bool:
        return True

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        self.clock += 1
        made = event(event_type, self.clock - T0, ANA, device_id, **payload)
        self.emitted.append(made)
        if self.counts:
            apply(self.state, made)
        return made


class Account:
    """A test double of an account's actor: notes what it is told."""

    def __init__(self, *rows: Row) -> None:
        self.names: tuple[str, ...] = ()
        self.reasons = {"r1": "too_dear"}
        self.calls = SimpleNamespace(rows={row.instance_id: row for row in rows}, trouble="")
        self.clock = SimpleNamespace(now=lambda: T0)
        self.told: list[str] = []
        self.profile, self.owns = VASTAI, True
        self.listed_ms_ago: int | None = 9_000

    def notice(self) -> None:
        self.told.append("notice")

    async def take(self) -> bool:
        self.told.append("take")
        return True

    async def give_back(self, rental_id: str, why: str) -> bool:
        self.told.append(f"{rental_id} {why}")
        return True

    async def end_machine(self, instance_id: str) -> tuple[bool, str]:
        self.told.append(f"end {instance_id}")
        return True, ""


class Desk:
    """The service of a peer that has accounts."""

    def __init__(self, home: Path, *names: tuple[str, str], offers: Any = ()) -> None:
        self.node = Node(home)
        node: Any = self.node

        async def lose(*_: object) -> None:
            return None

        self.clouds = Clouds(node, ANA, "dev-here", lose)
        self.accounts = {name: Account() for name in names or (NAME,)}
        self.clouds.accounts.update(cast(Any, self.accounts))
        market: Any = SimpleNamespace(offers=tuple(offers), troubles={})
        vars(self.clouds)["market"] = market

    async def refused(self, **body: str) -> RequestError:
        with pytest.raises(RequestError) as caught:
            await self.clouds.rent({**BODY, **body})
        return caught.value


def quote(dollars: float, account: tuple[str, str] = NAME, **changed: object) -> Any:
    return quote_of(offer(dollars, **changed), account, T0)


# Renting.


async def test_a_request_goes_to_the_account_that_has_the_cheapest_that_fits(
    tmp_path: Path,
) -> None:
    other = ("runpod", "main")
    offers = [quote(0.4), quote(0.3, other), quote(0.1, other, spot=True)]
    desk = Desk(tmp_path, NAME, other, offers=offers)
    row = await desk.clouds.rent(BODY)
    assert (row["provider"], row["spot"]) == ("runpod", False)
    assert row["max_hourly_nusd"] == 315_000_000, "what was shown, and five per cent"
    assert row["cap_nusd"] == usual_cap_nusd(315_000_000, 2 * HOUR_MS, VASTAI)
    assert (await desk.clouds.rent({**BODY, "provider": "vastai"}))["provider"] == "vastai"
    assert desk.accounts[other].told[:1] == ["notice"], "it need not wait for its turn"


@pytest.mark.parametrize("provider", ["vastai", "runpod"])
async def test_what_is_asked_about_is_what_is_agreed_to_whatever_the_disk(
    tmp_path: Path, provider: str
) -> None:
    name = (provider, "main")
    disk = {"disk_bytes": 40 * GIB, "disk_hourly_nusd_per_gb": 136_986}
    dear = {"disk_bytes": 40 * GIB, "disk_hourly_nusd_per_gb": 500_000}
    offers = [quote(0.4, name, **disk), quote(0.3, name, **dear)]
    desk = Desk(tmp_path, name, offers=offers)
    shown = offers_answer(desk.node.state, offers, parse_offers({"disk": "2TB"}), T0)
    (best, *_) = cast(Any, shown["offers"])
    assert best["hourly_nusd"] == 400_000_000 + (2000 - 43) * 136_986
    row = await desk.clouds.rent({**BODY, "disk": "2TB"})
    assert row["max_hourly_nusd"] == best["hourly_nusd"] * 105 // 100
    assert row["cap_nusd"] == usual_cap_nusd(row["max_hourly_nusd"], 2 * HOUR_MS, VASTAI)
    assert (await desk.clouds.rent(BODY))["max_hourly_nusd"] == 315_000_000
    small = await desk.clouds.rent({**BODY, "disk": "2TB", "max_price": "0.5"})
    assert small["max_hourly_nusd"] == NUSD // 2
    tight = offers_answer(
        desk.node.state, offers, parse_offers({"disk": "2TB", "max_price": "0.5"}), T0
    )
    assert tight["offers"] == [], "with such a disk none costs so little"


async def test_the_same_request_id_is_the_same_request(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    first = await desk.clouds.rent({**BODY, "request_id": "mine"})
    assert await desk.clouds.rent({**BODY, "request_id": "mine", "life": "9h"}) == first
    assert len(desk.node.emitted) == 1


async def test_what_nobody_can_price_needs_a_limit(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    error = await desk.refused()
    assert (error.code, error.hint) == ("NoPrice", "say --max-price or --cap")
    assert desk.node.emitted == []
    row = await desk.clouds.rent({**BODY, "max_price": "0.5"})
    assert row["cap_nusd"] == usual_cap_nusd(NUSD // 2, 2 * HOUR_MS, VASTAI)
    assert (await desk.clouds.rent({**BODY, "cap": "3"}))["cap_nusd"] == 3 * NUSD


async def test_why_requests_ended_is_told_with_the_rentals_that_did(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    await desk.clouds.rent({**BODY, "request_id": "mine"})
    await desk.clouds.give_back("mine")
    ended = [{"request_id": "mine", "why": "cancelled"}]
    assert desk.clouds.rows(ended=True)["ended_requests"] == ended
    assert desk.clouds.rows(ended=False)["ended_requests"] == []


async def test_without_a_key_or_a_way_to_choose_a_line_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path, NAME, ("runpod", "main"))
    assert (await desk.refused()).code == "NothingFits"
    assert (await desk.refused(provider="lambdalabs")).code == "NoAccount"
    desk.clouds.accounts.clear()
    error = await desk.refused()
    assert (error.status, error.hint) == (409, "fleet clouds login PROVIDER")


async def test_a_peer_whose_word_does_not_count_is_told_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    desk.node.counts = False
    error = await desk.refused()
    assert (error.code, error.status) == ("WrongRole", 403)


# Returning.


async def rented(
    desk: Desk, author: str = ANA, name: tuple[str, str] = NAME, **changed: object
) -> None:
    """A request with a machine."""
    where = {"provider": name[0], "account": name[1]}
    said = [
        ("account_taken", {"epoch": 1, "peer": author}),
        ("rental_requested", {"request_id": "r1", "life_ms": HOUR_MS, "cap_nusd": NUSD}),
        ("rental_intended", {**named(T0), **INTENT, **changed}),
        ("create_called", named(T0 + 1)),
        ("create_answered", {**named(T0 + 2), "instance_id": "7", "why": "answered"}),
    ]
    for n, (kind, payload) in enumerate(said):
        apply(desk.node.state, event(kind, n, author, "dev-here", **where, **payload))


def named(turn: int) -> dict[str, Any]:
    return {"rental_id": "r1x1x1xabc", "turn": turn, "at_ms": turn}


@pytest.mark.parametrize("name", ["r1", "r1x1x1xabc", "7", "vast-r1"])
async def test_a_machine_goes_back_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    desk = Desk(tmp_path)
    await rented(desk)
    assert await desk.clouds.give_back(name) == {"request_id": "r1", "rental_id": None}
    (ended,) = desk.node.emitted
    assert (ended.event_type, ended.payload["why"]) == ("request_ended", "cancelled")
    again = await desk.clouds.give_back(name)
    assert again["rental_id"] == "r1x1x1xabc", "its request is over: the machine itself"
    assert "r1x1x1xabc cancelled" in desk.accounts[NAME].told


async def test_what_is_not_there_or_not_ours_to_return_is_one_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with pytest.raises(RequestError) as caught:
        await desk.clouds.give_back("r2")
    assert (caught.value.status, caught.value.hint) == (404, "fleet rentals")
    await rented(desk)
    await desk.clouds.give_back("r1")
    desk.clouds.accounts.clear()
    with pytest.raises(RequestError) as caught:
        await desk.clouds.give_back("r1")
    assert caught.value.code == "NoKey"
    taken = {"provider": NAME[0], "account": NAME[1], "epoch": 9, "peer": "be" * 32}
    apply(desk.node.state, event("account_taken", 9, "be" * 32, "dev-b", **taken))
    with pytest.raises(RequestError) as caught:
        await desk.clouds.give_back("r1")
    assert caught.value.code == "NotOpen", "who has the account returns it"


async def test_a_machine_that_another_peer_rented_for_us_has_its_hosts_name(
    tmp_path: Path,
) -> None:
    """The peer that has the account rents; its devices there are in the ledger."""
    desk, ben = Desk(tmp_path), "be" * 32
    await rented(desk, ben)
    state = desk.node.state
    (row,) = rental_rows(state, T0, {}, ended=False)
    assert (row["host"], row["devices"]) == (None, [])
    registered = {"name": "vast-r1-gpu0", "kind": "gpu", "host": "vast-r1", "memory_bytes": 1}
    apply(state, event("device_registered", 9, ben, "dev-b", **registered))
    apply(state, event("device_registered", 9, ANA, "dev-a", **registered | {"name": "mine"}))
    (row,) = rental_rows(state, T0, {}, ended=False)
    assert (row["host"], row["devices"]) == ("vast-r1", ["vast-r1-gpu0"])
    (one,) = state.rentals.every()
    assert host_name(one) == "vast-r1"


async def test_why_a_request_waits_is_told_with_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    await desk.clouds.rent({**BODY, "request_id": "r1"})
    (row,) = cast(Any, desk.clouds.rows(ended=False)["requests"])
    assert row["waits_for"] == "too_dear"


async def test_a_request_that_another_peer_would_have_to_meet_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    desk.accounts[NAME].reasons = {}
    taken = {"provider": NAME[0], "account": NAME[1], "epoch": 9, "peer": "be" * 32}
    apply(desk.node.state, event("account_taken", 0, "be" * 32, "dev-b", **taken))
    row = await desk.clouds.rent({**BODY, "request_id": "r1"})
    assert row["waits_for"] == "another_has_it"


async def test_a_request_whose_key_was_replaced_says_so_and_can_be_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path, offers=[quote(0.4)])
    await desk.clouds.rent({**BODY, "request_id": "r1"})
    desk.clouds.accounts.clear()
    (row,) = cast(Any, desk.clouds.rows(ended=False)["requests"])
    assert row["waits_for"] == "key_replaced"
    assert await desk.clouds.give_back("r1") == {"request_id": "r1", "rental_id": None}
    assert desk.clouds.rows(ended=False)["requests"] == []


async def test_that_nobody_here_can_return_a_machine_is_told_once_a_day(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not before the key that is here has listed what it opens."""
    desk = Desk(tmp_path)
    await rented(desk, name=("vastai", "the key before"))
    desk.accounts[NAME].listed_ms_ago = None
    desk.clouds._tell_untended()
    assert desk.clouds.alarms == []
    desk.accounts[NAME].listed_ms_ago = 0
    for _ in range(2):
        desk.clouds._tell_untended()
    assert [one["why"] for one in desk.clouds.alarms] == ["no_key"]
    assert "no_key" in capsys.readouterr().err


# Orphans.


def listed(rental_id: str, instance: str, name: str, expires_ms: int = T0 + HOUR_MS) -> Row:
    label = label_of(name, rental_id, expires_ms)
    return Row(instance_id=instance, label=label, status="up", price_nusd=1, rate_nusd=1)


async def test_orphans_are_machines_of_this_fleet_that_nobody_wants(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await rented(desk)
    ours, before = fleet_name("", ANA), fleet_name("cc" * 32, ANA)
    rows = [
        listed("r1x1x1xabc", "7", ours),  # wanted
        listed("lost", "8", ours, T0 - 5_000),
        listed("theirs", "9", "otherfleet"),
        Row(instance_id="10", label="a person's", status="up", price_nusd=1, rate_nusd=1),
        listed("older", "11", before),
    ]
    desk.accounts[NAME].calls.rows = {row.instance_id: row for row in rows}
    desk.accounts[NAME].names = (ours, before)
    found = {row["instance"]: row for row in await desk.clouds.orphans()}
    assert set(found) == {"8", "11"}
    assert (found["8"]["expired"], found["11"]["expired"]) == (True, False)
    assert found["8"]["known"] is None
    for strange in ("7", "9", "10", "12"):  # wanted, another fleet's, a person's, none
        with pytest.raises(RequestError) as caught:
            await desk.clouds.kill(strange)
        assert caught.value.status == 404
    done = {"instance": "8", "asked": True, "unwritten": None}
    assert await desk.clouds.kill("8") == done
    assert desk.accounts[NAME].told == ["end 8"]


async def orphans_among(desk: Desk, *rows: Row) -> list[str]:
    desk.accounts[NAME].names = (fleet_name("", ANA),)
    desk.accounts[NAME].calls.rows = {row.instance_id: row for row in rows}
    return [row["instance"] for row in await desk.clouds.orphans()]


async def test_what_another_account_of_the_provider_wants_is_no_orphan(tmp_path: Path) -> None:
    """Two keys of one account list the same machines."""
    desk, name = Desk(tmp_path), fleet_name("", ANA)
    await rented(desk, "be" * 32, ("vastai", "another key"))
    assert await orphans_among(desk, listed("r1x1x1xabc", "7", name)) == []
    late = listed("r1x1x1xabc", "7", name, T0 - GRACE_MS - 1_000)
    assert await orphans_among(desk, late) == ["7"], "its own peer let its time pass"
    (row,) = await desk.clouds.orphans()
    assert row["known"] == "provisioning"
    await rented(desk, "be" * 32, ("runpod", "another cloud"))
    apply(
        desk.node.state,
        event(
            "return_decided", 9, "be" * 32, "dev-b", provider="vastai", account="another key",
            why="cancelled", **named(T0 + 9),
        ),
    )  # fmt: skip
    assert await orphans_among(desk, listed("r1x1x1xabc", "7", name)) == ["7"]


async def test_a_machine_whose_makers_reply_is_not_known_yet_is_found_by_its_label(
    tmp_path: Path,
) -> None:
    desk, name = Desk(tmp_path), fleet_name("", ANA)
    where = {"provider": NAME[0], "account": NAME[1]}
    for n, (kind, payload) in enumerate(
        [
            ("account_taken", {"epoch": 1, "peer": ANA}),
            ("rental_intended", {**named(T0), **INTENT}),
            ("create_called", named(T0 + 1)),
            ("create_unclear", {**named(T0 + 2), "why": "timeout"}),
        ]
    ):
        apply(desk.node.state, event(kind, n, ANA, "dev-here", **where, **payload))
    assert await orphans_among(desk, listed("r1x1x1xabc", "7", name)) == []
    found = {**named(T0 + 3), "instance_id": "7", "why": "found_by_label", "begun_ms": T0}
    apply(desk.node.state, event("instance_found", 9, ANA, "dev-here", **where, **found))
    twins = [listed("r1x1x1xabc", instance, name) for instance in ("6", "7", "8")]
    assert await orphans_among(desk, *twins) == ["8"], "the lowest of one label stays"


async def test_an_account_is_taken_only_with_a_key_of_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert await desk.clouds.take("vastai") == {"provider": "vastai", "account": "main"}
    assert desk.accounts[NAME].told == ["take", "notice"]
    with pytest.raises(RequestError) as caught:
        await desk.clouds.take("runpod")
    assert caught.value.code == "NoAccount"


def test_a_fleets_name_is_the_same_on_each_of_its_peers_and_another_elsewhere() -> None:
    root = "aa" * 32
    assert fleet_name(root, "b1" * 32) == fleet_name(root, "b2" * 32)
    assert fleet_name("", "b1" * 32) != fleet_name("", "b2" * 32)
    assert label_of(fleet_name(root, ""), "r1", T0), "it fits a label"


# Checking.

KEYED = KeyedAccount(
    provider=PROVIDERS[0], key=Key("a-key-of-nobody"), source="environment", where="VAST_API_KEY"
)


def checked(account: Account | None, trouble: str = "", keyed: KeyedAccount = KEYED) -> Any:
    troubles = {}
    if trouble:
        name = (keyed.provider.name, keyed.account)
        troubles[name] = Trouble(why=trouble, text="", since_ms=T0, fails=1)
    return check_row(keyed, cast(Any, account), cast(Any, SimpleNamespace(troubles=troubles)))


def test_a_cloud_without_a_key_says_how_to_give_one() -> None:
    row = checked(None, keyed=KeyedAccount(provider=PROVIDERS[1]))
    assert (row["state"], row["text"], row["account"]) == ("no_key", "no key", None)
    assert row["hint"] == "fleet clouds login runpod, or set RUNPOD_API_KEY"
    noted = KeyedAccount(provider=PROVIDERS[1], note="what RUNPOD_API_KEY holds is no key")
    assert checked(None, keyed=noted)["text"] == noted.note


def test_a_cloud_is_ready_once_it_was_listed() -> None:
    account = Account()
    assert (checked(account)["state"], checked(account)["seen"]) == ("ready", True)
    account.listed_ms_ago = None
    assert (checked(account)["state"], checked(account)["seen"]) == ("asking", False)
    account.listed_ms_ago = BLIND_MS + 1
    assert not checked(account)["seen"], "what came since is not known"


@pytest.mark.parametrize("why", [*MENDS, "a code of theirs"])
def test_each_trouble_says_what_would_help(why: str) -> None:
    account = Account()
    account.calls.trouble = why
    row = checked(account)
    assert row["state"] == ("retired" if why == "retired" else "trouble")
    assert row["text"]
    assert row["hint"]
    assert "{" not in row["hint"]
    assert not row["seen"], "its last listing was none"


def test_trouble_with_prices_hides_no_machine() -> None:
    row = checked(Account(), "quota")
    assert (row["state"], row["seen"]) == ("trouble", True)


def test_what_a_cloud_lacks_is_told() -> None:
    account = Account()
    account.profile = LAMBDALABS
    row = checked(account)
    assert (row["has_dead_man"], row["has_charges"]) == (False, False)
