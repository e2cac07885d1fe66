"""`fleet rentals`, `fleet orphans` and `fleet check`: how they look, and what they never say."""

import json
from pathlib import Path
from typing import Any

import pytest

from mesh.api.rentals.rows import orphan_row, rental_row
from mesh.cli import client
from mesh.cli.clouds.receipt import NO_CHARGES
from mesh.cli.exits import CANNOT, NOT_FOUND, OK, USAGE
from mesh.edge.store.ledger import Ledger
from mesh.state.rentals.rental import Rental
from mesh.state.state import State
from providers.lambdalabs.profile import PROFILE as LAMBDALABS
from providers.rental.contract import Row as Listed
from providers.runpod.profile import PROFILE as RUNPOD
from providers.vastai.profile import PROFILE as VAST
from tests.cli.clouds.conftest import Say, compare
from tests.cli.clouds.fixed_clouds import (
    BOOTS,
    FOUND,
    GONE,
    LAMBDA,
    MINUTE,
    NOW,
    STUCK,
    Clouds,
    cloud,
    found,
    no_key,
    orphan,
    refusal,
    rental,
    request,
)

WIDTHS = (60, 80)
ALARMS = [
    {"provider": "vastai", "account": "0123456789", "rental_id": STUCK["rental_id"],
     "why": "return_unconfirmed", "at_ms": NOW - age * MINUTE}
    for age in (30, 15, 2)
]  # fmt: skip
ALARMS += [{"provider": "runpod", "account": "98", "rental_id": None, "why": "auth", "at_ms": NOW}]
KEYS = {
    "clouds": [
        cloud("vastai"),
        cloud(
            "runpod",
            state="retired",
            text="the provider has retired the API that this program uses",
            hint="update fleet-ledger; until then return what is rented at https://console",
            listed_ms_ago=25 * MINUTE,
            seen=False,
        ),
        no_key("lambdalabs"),
    ]
}
BAD_KEY = {"text": "the provider does not take the key", "hint": "fleet clouds login runpod"}
TROUBLE = cloud("runpod", state="trouble", seen=False, listed_ms_ago=None, machines=None, **BAD_KEY)
ASKED = cloud("runpod", state="asking", seen=False, listed_ms_ago=None, machines=None)
VIEWS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "rentals": (
        ("rentals",),
        {"/v1/rentals": found(rental(), BOOTS, STUCK, FOUND, alarms=ALARMS,
            requests=[request("w41t5", "provider_cap"), request()])},
    ),
    "rentals-all": (("rentals", "-a"), {"/v1/rentals": found(rental(), GONE, LAMBDA)}),
    "rentals-none": (("rentals",), {}),
    "rentals-waits": (
        ("rentals",), {"/v1/rentals": found(requests=[request("w41t5", "offers_429")])}
    ),
    "receipt": (("rentals", "r7k2m9"), {"/v1/rentals": found(rental())}),
    "receipt-invoiced": (("rentals", "d0ne"), {"/v1/rentals": found(GONE)}),
    "receipt-lambda": (("rentals", "1ambda"), {"/v1/rentals": found(LAMBDA)}),
    "receipt-found": (("rentals", "16180339"), {"/v1/rentals": found(FOUND)}),
    "orphans": (
        ("orphans",),
        {"/v1/orphans": {"orphans": [
            orphan(),
            orphan(instance="27", known="absent", why="interrupted:outbid", rate_nusd=None),
        ]}},
    ),
    "orphans-none": (("orphans",), {}),
    "orphans-unseen": (("orphans",), {"/v1/clouds": {"clouds": [cloud("vastai"), TROUBLE]}}),
    "check": (("check",), {"/v1/clouds/keys": KEYS}),
    "check-trouble": (
        ("check",), {"/v1/clouds/keys": {"clouds": [TROUBLE, cloud("vastai", state="asking")]}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(VIEWS))
def test_a_command_looks_as_it_did(
    clouds: Clouds, say: Say, name: str, width: int, *, updates_golden: bool
) -> None:
    words, answers = VIEWS[name]
    clouds.answers |= answers
    said = say(*words, width=width)
    text = said.out + "".join(f"! {line}\n" for line in said.err.splitlines() if line)
    errors = [line for line in said.err.splitlines() if line.startswith("fleet: ")]
    assert len(errors) == (said.code != OK)
    shown = [line for line in text.splitlines() if not line.startswith("! fleet: ")]
    assert max((len(line.removeprefix("! ")) for line in shown), default=0) <= width
    compare(name, text, width, update=updates_golden)


def test_no_more_is_too_much_than_was_metered() -> None:
    one = Rental("r1", "lambdalabs", "main", state="running")
    one.meter.slack_nusd = 10**9
    row = rental_row(State(), one, NOW, "")
    assert (row["metered_nusd"], row["metered_less_nusd"]) == (0, 0)


def test_the_rows_here_are_those_of_the_daemon() -> None:
    row = rental_row(State(), Rental("r1", "vastai", "main", state="running"), NOW, "")
    assert set(row) == set(rental())
    label = "fl-m1-r1-6ab0f5c0"
    listed = Listed(instance_id="7", label=label, status="up", price_nusd=0, rate_nusd=0)
    found_row = orphan_row(State(), ("vastai", "main"), listed, ("m1",), NOW)
    assert found_row is not None
    assert set(found_row) == set(orphan())
    assert found_row["rate_nusd"] is None, "a price of nothing is none"


def test_whose_provider_tells_no_charges_is_never_told_to_wait_for_an_invoice() -> None:
    profiles = (VAST, RUNPOD, LAMBDALABS)
    assert {one.name for one in profiles if not one.has_charges} == NO_CHARGES


def test_a_rental_goes_by_each_of_its_names_and_no_other(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/rentals"] = found(rental(), GONE)
    for name in ("r7k2m9", "r7k2m9x1x1xq8w3e5t7", "27182818", "vast-r7k2m9"):
        (row, *_) = json.loads(say("rentals", name, "-o", "json").out)
        assert row["request_id"] == "r7k2m9"
    said = say("rentals", "r7k2")
    assert (said.code, said.error) == (
        NOT_FOUND,
        "fleet: no rental 'r7k2'. try: fleet rentals -a",
    )


def test_what_a_provider_calls_a_machine_can_not_move_the_cursor(clouds: Clouds, say: Say) -> None:
    evil = "\x1b[2J\x07evil"
    row = rental(gpu=evil, instance=evil, why=evil, state="terminating")
    clouds.answers["/v1/rentals"] = found(row, alarms=[ALARMS[0] | {"why": evil}])
    clouds.answers["/v1/orphans"] = {"orphans": [orphan(instance=evil, label=evil)]}
    clouds.answers["/v1/clouds"] = {"clouds": [cloud("vastai", text=evil, seen=False)]}
    for words in (("rentals",), ("rentals", "r7k2m9"), ("orphans",)):
        said = say(*words)
        assert "evil" in said.out
        assert "\x1b" not in said.out + said.err
        assert "\x07" not in said.out + said.err


# Without a daemon.


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger of this peer's, and no daemon."""
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    home = tmp_path / "home"
    home.mkdir()
    ledger = Ledger.open(home)
    account = {"provider": "vastai", "account": "0123456789"}
    author = ledger.author
    asked = {"request_id": "r1", "life_ms": 7_200_000, "cap_nusd": 10**9}
    named = {"rental_id": "r1x1x1xaaaaaaaa", "turn": NOW, "at_ms": NOW}
    intent = {
        "request_id": "r1", "label": "fl-m1-r1x1x1xaaaaaaaa-6ab0f5c0", "epoch": 1, "attempt": 1,
        "offer_id": "o1", "gpu": "RTX 4090", "gpu_count": 1, "memory_bytes": 24 << 30,
        "quote_nusd": 340_000_000, "first_rate_nusd": 0, "reserved_nusd": 743_750_000,
        "life_ms": 7_200_000, "expires_ms": NOW + 7_500_000,
    }  # fmt: skip
    for kind, payload in (
        ("account_taken", {"epoch": 1, "peer": author}),
        ("rental_requested", asked),
        ("rental_intended", {**named, **intent}),
    ):
        ledger.append(kind, ledger.peer_id, {**account, **payload}, NOW)
    ledger.close()
    return ledger


def test_without_a_daemon_the_ledger_tells_and_says_that_nobody_acts(
    alone: Ledger, say: Say
) -> None:
    said = say("rentals")
    assert said.code == OK
    assert "nobody here returns what is open. try: fleet up --detach" in " ".join(said.err.split())
    assert said.out.splitlines()[1].split()[:4] == ["r1", "RTX", "4090", "vastai"]
    (row,) = json.loads(say("rentals", "-o", "json").out)["rentals"]
    assert row["quote_nusd"] == 340_000_000
    assert "quoted    $0.3400/h, $0.7438 reserved" in say("rentals", "r1").out


def test_without_a_daemon_and_a_ledger_nothing_is_rented(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    said = say("rentals")
    assert (said.code, said.err) == (OK, "")
    assert said.out.startswith("nothing is rented. try: fleet offers")


@pytest.mark.parametrize(
    "words", [("orphans",), ("check",), ("return", "x"), ("clouds", "take", "vast")]
)
def test_what_needs_a_daemon_says_how_to_start_one(
    say: Say, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    assert say(*words).error == "fleet: no daemon is running. try: fleet up --detach"


# Orphans.


@pytest.mark.parametrize("unseen", [TROUBLE, ASKED], ids=["trouble", "not listed yet"])
def test_an_account_that_was_not_listed_is_never_called_clean(
    clouds: Clouds, say: Say, unseen: dict[str, Any]
) -> None:
    clouds.answers["/v1/clouds"] = {"clouds": [cloud("vastai"), unseen, no_key("lambdalabs")]}
    said = say("orphans")
    assert said.code == CANNOT
    assert "every machine" not in said.out
    assert said.error.startswith("fleet: RunPod: not seen, and may hide orphans: ")
    assert said.error.endswith(". try: fleet check")
    listed = json.loads(say("orphans", "-o", "json").out)
    assert listed == {"orphans": [], "killed": [], "unseen": ["runpod"]}


def test_without_a_key_nobody_can_say_anything_of_orphans(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/clouds"] = {"clouds": [no_key("vastai")]}
    said = say("orphans")
    assert (said.code, said.out) == (CANNOT, "")
    assert said.error == (
        "fleet: this peer has no key of any cloud. try: fleet clouds login PROVIDER"
    )


def test_a_kill_wants_a_yes_and_shows_what_it_would_end(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/orphans"] = {"orphans": [orphan(), orphan(instance="a/b")]}
    said = say("orphans", "--kill")
    assert said.code == USAGE
    assert "16180339" in said.err
    assert "end these 2 machines?" in said.err
    assert said.err.splitlines()[-1].endswith("try: the same command with -y")
    assert clouds.posted == []


def test_a_kill_says_what_the_provider_took(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/orphans"] = {"orphans": [orphan(), orphan(instance="a/b")]}
    clouds.answers["/v1/orphans/16180339/kill"] = {"instance": "16180339", "asked": True}
    clouds.answers["/v1/orphans/a%2Fb/kill"] = {"instance": "a/b", "asked": False}
    said = say("orphans", "--kill", "-y")
    assert said.out == "16180339: asked to end\na/b: not taken\n"
    assert (said.code, said.error) == (
        CANNOT,
        "fleet: the provider did not take the end of a/b. try: fleet orphans --kill -y",
    )
    listed = json.loads(say("orphans", "--kill", "-y", "-o", "json").out)
    assert [one["asked"] for one in listed["killed"]] == [True, False]


def test_a_machine_that_is_gone_meanwhile_keeps_no_other_running(clouds: Clouds, say: Say) -> None:
    rows = [orphan(instance=name) for name in ("1", "2", "3")]
    clouds.answers["/v1/orphans"] = {"orphans": rows}
    gone = refusal("NotFound", "no orphan '1' is listed", "fleet orphans", 404)
    clouds.answers["/v1/orphans/1/kill"] = gone
    clouds.answers["/v1/orphans/2/kill"] = {"instance": "2", "asked": True}
    clouds.answers["/v1/orphans/3/kill"] = {"instance": "3", "asked": True, "unwritten": "full"}
    said = say("orphans", "--kill", "-y")
    assert [path for path, _ in clouds.posted] == [f"/v1/orphans/{n}/kill" for n in (1, 2, 3)]
    assert said.out.splitlines() == [
        "1: not asked: no orphan '1' is listed",
        "2: asked to end",
        "3: asked to end; that could not be written down: full",
    ]
    assert (said.code, said.error) == (
        NOT_FOUND,
        "fleet: no end was asked for of 1. try: fleet orphans --kill -y",
    )
    clouds.answers["/v1/orphans/2/kill"] = {"instance": "2", "asked": False}
    said = say("orphans", "--kill", "-y")
    assert (said.code, said.error) == (
        CANNOT,
        "fleet: the provider did not take the end of 1, 2. try: fleet orphans --kill -y",
    )
    listed = json.loads(say("orphans", "--kill", "-y", "-o", "json").out)
    assert [one["asked"] for one in listed["killed"]] == [False, False, True]


def test_with_nothing_to_kill_nobody_is_asked(clouds: Clouds, say: Say) -> None:
    said = say("orphans", "--kill")
    assert (said.code, said.err) == (OK, "")
    assert clouds.posted == []


# Accounts.


def test_an_account_is_taken_by_name(clouds: Clouds, say: Say) -> None:
    done = {"provider": "vastai", "account": "0123456789"}
    clouds.answers["/v1/clouds/vastai/take"] = done
    said = say("clouds", "take", "vast")
    assert (said.code, said.err) == (OK, "")
    assert said.out == "Vast.ai: this peer alone rents with account 0123456789 from now on\n"
    assert json.loads(say("clouds", "take", "vastai", "-o", "json").out) == done


def test_what_can_not_be_taken_is_one_line(clouds: Clouds, say: Say) -> None:
    text = "this peer has no key of runpod"
    clouds.answers["/v1/clouds/runpod/take"] = refusal("NoAccount", text, "fleet clouds login")
    said = say("clouds", "take", "runpod")
    assert (said.code, said.error) == (CANNOT, f"fleet: {text}. try: fleet clouds login")
    said = say("clouds", "take", "sk-0123456789abcdef")
    assert said.code == USAGE
    assert "sk-0123456789abcdef" not in said.err
