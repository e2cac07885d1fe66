"""A key that comes or goes while the daemon runs: `fleet clouds login` and `logout` say what that
means; and `fleet run --rent`, whose options exclude each other."""

import io
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

import keyring
import pytest
from keyring.backends import fail

from mesh.api.errors import RequestError
from mesh.cli import client
from mesh.cli.clouds import staying
from mesh.cli.clouds.for_job import RentFor, rented
from mesh.cli.exits import OK, UNREACHABLE, USAGE, Stop
from mesh.edge.clouds.keys import PROVIDERS, Key
from tests.cli.clouds.conftest import Say
from tests.cli.clouds.fixed_clouds import Clouds, cloud, found, refusal, rental, request
from tests.edge.clouds.rings import MemoryRing

SECRET = "sk~0123456789abcdef"
MINE = Key(SECRET).account("vastai")
LOGIN = ("clouds", "login", "vastai")
LOGOUT = ("clouds", "logout", "vastai")


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryRing]:
    """A keyring, and no key in the environment."""
    for one in PROVIDERS:
        monkeypatch.delenv(one.variable, raising=False)
    made = MemoryRing()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(fail.Keyring())


@pytest.fixture
def typed(say: Say, ring: MemoryRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SECRET.encode())))


@pytest.mark.usefixtures("typed")
def test_a_running_daemon_is_told_of_a_new_key(clouds: Clouds, say: Say) -> None:
    clouds.answers["/v1/clouds/keys"] = {"clouds": [cloud("vastai", account=MINE)]}
    said = say(*LOGIN)
    assert (said.code, said.err) == (OK, "")
    assert clouds.posted == [("/v1/clouds/keys", {})]


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    "answer",
    [
        {"clouds": [cloud("vastai"), cloud("runpod", account=MINE)]},
        refusal("WrongRole", "this peer may not rent", "fleet peers", 403),
        Stop(UNREACHABLE, "the daemon does not answer", "fleet status"),
    ],
    ids=["another keyring", "refused", "gone"],
)
def test_where_the_daemon_does_not_get_it_that_is_said_and_the_key_is_kept(
    clouds: Clouds, say: Say, ring: MemoryRing, answer: object
) -> None:
    clouds.answers["/v1/clouds/keys"] = answer
    said = say(*LOGIN)
    assert said.code == OK
    assert "try: fleet down, then fleet up --detach" in " ".join(said.err.split())
    assert ring.kept == {("fleet-ledger", "vastai"): SECRET}


def test_a_daemon_keeps_a_removed_key_and_what_is_rented_there_is_told(
    clouds: Clouds, say: Say, ring: MemoryRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.kept["fleet-ledger", "vastai"] = SECRET
    there = {"machines": 2, "hourly_nusd": 840_000_000}
    monkeypatch.setattr(staying, "rented_at", lambda *_, provider: there)
    said = say(*LOGOUT)
    assert said.code == OK
    assert said.err.splitlines()[0] == "the running daemon keeps the key until it is started anew"
    told = " ".join(said.err.split())
    assert "returned by nobody without the key: 2 machines at $0.84/h. try: fleet rentals" in told


def test_with_nothing_rented_and_no_daemon_nothing_more_is_said(
    say: Say, ring: MemoryRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "find_daemon", lambda _: None)
    ring.kept["fleet-ledger", "vastai"] = SECRET
    assert say(*LOGOUT).err == ""


# fleet run --rent


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--rent", "24GB..", "--on", "rig"), "say --rent or --on, not both"),
        (("--rent", "24GB..", "-d"), "nobody to return its machine: say --rent or --detach"),
        (("--for", "2h"), "--for says how long --rent rents for: say --rent 24GB.., too"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(
    clouds: Clouds, say: Say, words: tuple[str, ...], text: str
) -> None:
    said = say("run", *words, "--", "true")
    assert said.code == USAGE
    assert text in said.error
    assert said.error.endswith("try: fleet run --help")
    assert (clouds.posted, clouds.asked) == ([], [])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--rent", ".."), "--gpu: '..' is no size and no name. try: "),
        (("--rent", "24GB..", "--for", "soon"), "--for: 'soon' is not a duration. try: "),
    ],
)
def test_a_wrong_size_or_time_rents_nothing(
    clouds: Clouds, say: Say, words: tuple[str, ...], text: str
) -> None:
    said = say("run", *words, "--", "true")
    assert said.code == USAGE
    assert said.error.startswith(f"fleet: {text}")
    assert clouds.posted == []


@pytest.fixture
def ready(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> Clouds:
    clouds.answers["POST /v1/rentals"] = request()
    clouds.answers["/v1/rentals"] = found(rental(), requests=[request()])
    clouds.answers["/v1/rentals/r7k2m9/return"] = {}
    return clouds


def posted(clouds: Clouds) -> list[str]:
    return [path for path, _ in clouds.posted]


def for_dollar(ready: Clouds) -> AbstractContextManager[None]:
    return rented(ready, {"max_price": "1"}, RentFor(gpu="24GB.."))  # type: ignore[arg-type]


def test_its_job_goes_to_the_machine_which_goes_back_after_it(ready: Clouds) -> None:
    spec: dict[str, object] = {"max_price": "1"}
    with rented(ready, spec, RentFor(gpu="24GB..")):  # type: ignore[arg-type]
        assert spec["on"] == "vast-r7k2m9"
        assert posted(ready) == ["/v1/rentals"]
    assert posted(ready) == ["/v1/rentals", "/v1/rentals/r7k2m9/return"]
    assert ready.posted[0][1] == {"gpu": "24GB..", "life": "1h", "max_price": "1"}


@pytest.mark.parametrize("error", [Stop(100, "it failed"), ValueError("a bug"), SystemExit(100)])
def test_however_its_job_ends_the_machine_goes_back(ready: Clouds, error: BaseException) -> None:
    with pytest.raises(type(error)), for_dollar(ready):
        raise error
    assert posted(ready)[-1] == "/v1/rentals/r7k2m9/return"


def test_ctrl_c_leaves_the_machine_with_its_job(ready: Clouds) -> None:
    with pytest.raises(KeyboardInterrupt), for_dollar(ready):
        raise KeyboardInterrupt
    assert posted(ready) == ["/v1/rentals"]


def test_a_machine_that_was_lost_meanwhile_hides_not_how_the_job_ended(ready: Clouds) -> None:
    ready.answers["/v1/rentals/r7k2m9/return"] = refusal("NotOpen", "it is absent", "")
    with (
        pytest.raises(Stop, match="interrupted"),
        for_dollar(ready),
    ):  # type: ignore[arg-type]
        raise Stop(100, "interrupted")


def test_what_keeps_it_from_going_back_is_said(ready: Clouds) -> None:
    ready.answers["/v1/rentals/r7k2m9/return"] = refusal("Forbidden", "no", "fleet peers", 403)
    with (
        pytest.raises(RequestError) as caught,
        for_dollar(ready),
    ):  # type: ignore[arg-type]
        pass
    assert caught.value.status == 403


def test_a_model_goes_to_a_machine_that_has_an_engine_and_a_command_to_any(ready: Clouds) -> None:
    model: dict[str, object] = {"max_price": "1", "model": "qwen3-8b"}
    command: dict[str, object] = {"max_price": "1", "command": ["true"]}
    with rented(ready, model, RentFor(gpu="24GB..")):  # type: ignore[arg-type]
        pass
    with rented(ready, model, RentFor(gpu="24GB..", image="me/mine:1")):  # type: ignore[arg-type]
        pass
    with rented(ready, command, RentFor(gpu="24GB..")):  # type: ignore[arg-type]
        pass
    bodies = [body for path, body in ready.posted if path == "/v1/rentals"]
    assert [one.get("engine") for one in bodies] == ["true", None, None]
    assert [one.get("image") for one in bodies] == [None, "me/mine:1", None]
