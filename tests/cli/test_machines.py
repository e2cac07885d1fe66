"""Devices described by hand, peers and invitations, as a person meets them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mesh.api.errors import RequestError
from mesh.cli import client
from mesh.cli.app import fleet
from mesh.cli.exits import Stop
from mesh.cli.machines import doctor, extras, pairing, peers, recovery
from mesh.cli.machines.describe import as_described
from mesh.edge.store.ledger import Ledger
from mesh.policy.words import words_of
from mesh.state.peer_id import peer_id
from tests.cli.fixed_fleet import PEERS, SURROUNDINGS, FixedDaemon, write_ledger
from tests.support.homes import Home, forks


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ask(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(fleet, list(args), input=stdin)


def refused(*args: str, stdin: str = "") -> Stop:
    error = ask(*args, stdin=stdin).exception
    assert isinstance(error, Stop), error
    return error


def device(name: str) -> dict[str, Any]:
    rows = json.loads(ask("devices", "-o", "json").stdout)
    found: dict[str, Any] = next(row for row in rows if row["name"] == name)
    return found


def test_status_says_why_unasked_work_waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ledger(home)
    assert "saves power" not in ask("status").stdout
    online(monkeypatch, status={"resting": "on battery, 63 % left"})
    monkeypatch.setattr("mesh.cli.machines.status.find_daemon", client.find_daemon)
    assert "saves power: on battery, 63 % left; prices are asked for hourly" in " ".join(
        ask("status").stdout.split()
    )
    assert json.loads(ask("status", "-o", "json").stdout)["resting"] == "on battery, 63 % left"


def test_a_ledger_without_events_has_no_age(home: Path) -> None:
    Ledger.open(home).close()
    assert "ledger: no events yet\n" in ask("status").stdout
    write_ledger(home)
    assert re.search(r"ledger: \d+ events, the last \d+d ago\n", ask("status").stdout)


RIG = ("devices", "add", "rig", "--gpu", "RTX 4090")


def test_a_name_that_is_described_already_is_not_described_again_by_accident(home: Path) -> None:
    ask(*RIG, "--host", "cellar", "--network", "10Gbit/s")
    error = refused(*RIG)
    assert (error.exit_code, "rig is described already" in error.text) == (2, True)
    assert device("rig")["payload"]["host"] == "cellar"
    assert ask(*RIG, "--replace").exit_code == 0
    assert device("rig")["payload"]["host"] == ""


def test_a_change_keeps_what_it_does_not_mention(home: Path) -> None:
    ask(*RIG, "--host", "cellar", "--network", "10Gbit/s", "--price", "1600.25", "--watts", "300")
    before = device("rig")["payload"]
    assert ask("devices", "set", "rig", "--cores", "16").stdout.endswith("-rig\n")
    assert device("rig")["payload"] == {**before, "cores": 16}


def test_other_hardware_under_the_name_takes_its_own_memory_and_power(home: Path) -> None:
    ask(*RIG, "--memory", "48GiB", "--watts", "300", "--host", "cellar")
    ask("devices", "set", "rig", "--gpu", "RTX 3090")
    payload = device("rig")["payload"]
    assert (payload["model"], payload["memory_bytes"] >> 30) == ("RTX 3090", 24)
    assert (payload["watts"], payload["host"]) == (350, "cellar")


def test_what_a_device_is_described_by_describes_it_again(home: Path) -> None:
    said = {"hourly_nusd": 450_000_001, "price_nusd": 9, "ram_bytes": 5, "engines": ["mlx", "vllm"]}
    found = as_described({"model": "A100", "memory_bytes": 80 << 30, **said})
    assert found == {
        "gpu": "A100",
        "memory": f"{80 << 30}B",
        "ram": "5B",
        "rate": "0.450000001/h",
        "engines": "mlx,vllm",
    }


def test_the_name_of_a_device_a_daemon_found_is_taken(home: Path) -> None:
    write_ledger(home)
    error = refused("devices", "add", "Workstation", "--gpu", "RTX 4090")
    assert "its own daemon found" in error.text
    assert "not described by hand" in refused("devices", "remove", "workstation").text
    assert "not described by hand" in refused("devices", "set", "workstation", "--cores", "2").text


def test_a_device_is_removed_by_name_or_by_id(home: Path) -> None:
    write_ledger(home)
    assert ask("devices", "remove", "dev-rig").stdout == "removed rig\n"
    assert ask("devices", "remove", "RENTED-a100").stdout == "removed rented-a100\n"
    assert refused("devices", "remove", "nosuch").exit_code == 102


def test_two_devices_of_one_name_are_told_apart_by_the_ids_that_wide_shows(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesh.edge.store.ledger import Ledger
    from tests.cli.fixed_fleet import NOW
    from tests.cli.fixed_fleet import device as described

    write_ledger(home)
    ledger = Ledger.open(home)
    kind, _, payload = described("rig")
    ledger.append(kind, "dev-other", payload, NOW)
    ledger.close()
    error = refused("devices", "remove", "rig")
    assert "2 devices are called rig" in error.text
    assert "dev-rig" in error.hint
    assert "dev-other" in error.hint
    assert "dev-other" in ask("devices", "-o", "wide").stdout
    assert ask("devices", "remove", "dev-other").exit_code == 0


def test_engines_go_by_their_old_name_too(home: Path) -> None:
    ask(*RIG, "--backends", "vllm")
    assert device("rig")["engines"] == ["vllm"]
    ask("devices", "set", "rig", "--engines", "llama.cpp,vllm")
    assert device("rig")["engines"] == ["llama.cpp", "vllm"]
    assert "backends" not in ask("devices", "add", "--help").stdout


def online(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """A daemon that gives these answers."""

    class Daemon(FixedDaemon):
        def get(self, path: str) -> Any:
            return answers.get(path.rpartition("/")[2], super().get(path))

        def post(self, path: str, body: object) -> Any:
            raise AssertionError(f"nothing is to be changed: {path} {body}")

    for module in (client, peers, pairing, doctor):
        monkeypatch.setattr(module, "find_daemon", lambda _: Daemon())


def test_an_unknown_peer_is_said_so_before_the_question(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online(monkeypatch)
    error = refused("peers", "remove", "nosuch")
    assert (error.exit_code, error.hint) == (102, "fleet peers lists them")
    assert peers.known("BR5T6YU") == "living-room-mac"
    assert refused("peers", "remove", "old-nas").exit_code == 102


def test_a_question_nobody_answers_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    online(monkeypatch)
    error = refused("peers", "remove", "laptop")
    assert (error.exit_code, error.hint) == (2, "the same command with -y")


def test_a_peer_whose_knocks_are_refused_knows_that_it_was_removed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [{**row, "state": "online" if row["you"] else "offline"} for row in PEERS[:3]]
    dial = {**SURROUNDINGS["dials"][0], "peer_id": PEERS[1]["peer_id"]}
    dial["text"] = "it closed the connection: it does not know our key, or no longer"
    online(monkeypatch, peers={"peers": away}, doctor={**SURROUNDINGS, "dials": [dial]})
    said = ask("peers").stdout
    assert "removed by others" in said
    assert "refuses us" in said
    assert "it was removed" in said


@pytest.mark.parametrize("ttl", ["0s", "10ms", "31d"])
def test_how_long_a_code_holds_is_said_in_words(home: Path, ttl: str) -> None:
    assert refused("invite", "--ttl", ttl).text == f"--ttl {ttl}: a code holds from 1s to 30d"


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("127.0.0.1:7433", "fleet join 127.0.0.1:7434 asks"),
        ("127.0.0.1:7434", "fleet invite there makes a code"),
    ],
)
def test_an_address_nobody_answers_at_is_no_code(
    home: Path, monkeypatch: pytest.MonkeyPatch, address: str, hint: str
) -> None:
    from mesh.api.errors import RequestError
    from mesh.edge.peering import offline

    async def silent(*_: object) -> None:
        raise RequestError("Unreachable", "0 bytes read", "", 502)

    monkeypatch.setattr(offline, "join", silent)
    error = refused("join", address)
    assert error.text.startswith(f"{address} is no code")
    assert hint in error.hint


def test_who_asks_at_an_address_is_shown_both_keys_to_compare_and_the_safe_way(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mesh.edge.identity import load_or_create
    from mesh.edge.peering import offline

    there = peer_id("0b" * 32)
    tries: list[str] = []

    async def ask_there(*args: Any) -> dict[str, object]:
        tries.append(args[4])
        if len(tries) < 2:
            return {"state": "pending", "peer_id": there}
        return {"state": "joined", "peer_id": there, "name": "ana", "role": "runner", "admins": 2}

    home.mkdir()
    monkeypatch.setattr(offline, "join", ask_there)
    monkeypatch.setattr(pairing, "ASK_AGAIN_S", 0)
    done = ask("join", "192.168.7.2")
    me = load_or_create(home).peer_id
    for name in (there, me):
        assert name[:31] in done.stderr
        assert name[32:] in done.stderr
    assert f"fleet peers accept {me[:7]}" in done.stderr
    assert "the safe way is a code: fleet invite there" in done.stderr
    assert max(map(len, done.stderr.splitlines()[:-1])) <= 60  # the last says the daemon is down
    assert tries == ["", there]  # from the second try on only that peer's yes counts
    assert done.stdout == f"joined ana ({there}) as runner\n"


WORDS = words_of(bytes(range(32)))


def answering(monkeypatch: pytest.MonkeyPatch, said: Any) -> list[tuple[str, object]]:
    """A daemon that answers every request to change something with `said`; what it was asked."""
    asked: list[tuple[str, object]] = []

    class Daemon(FixedDaemon):
        def post(self, path: str, body: object = None) -> Any:
            asked.append((path, body))
            if isinstance(said, Exception):
                raise said
            return dict(said)

    for module in (client, peers, pairing, doctor):
        monkeypatch.setattr(module, "find_daemon", lambda _: Daemon())
    for module in (client, peers, pairing, recovery):
        monkeypatch.setattr(module, "need_daemon", lambda _: Daemon())
    return asked


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("invite",), "fleet join THE-CODE\n"),
        (("peers", "accept", "laptop"), "laptop is in as runner\n"),
        (("recovery", "new"), ""),
    ],
)
def test_the_recovery_words_are_shown_apart_from_what_scripts_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], line: str
) -> None:
    said = {"code": "THE-CODE", "expires_ms": 1, "name": "laptop", "recovery_words": WORDS}
    answering(monkeypatch, said)
    done = ask(*args)
    assert (done.exit_code, done.stdout) == (0, line)
    assert " 1. abandon    2. amount     3. liar" in done.stderr
    assert f"24. {WORDS[23]}" in done.stderr
    assert "fleet recover" in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 60
    found = json.loads(ask(*args, "-o", "json").stdout)
    assert found["recovery_words"] == WORDS


def test_no_words_are_shown_where_the_fleet_has_its_words_already(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"code": "THE-CODE", "expires_ms": 1, "recovery_words": []})
    done = ask("invite")
    assert done.stderr.count("\n") == 1


def test_a_role_is_changed_in_one_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, {"name": "laptop", "role": "admin", "was": "viewer"})
    assert ask("peers", "role", "laptop", "admin").stdout == "laptop is admin now, and was viewer\n"
    assert asked == [("/v1/peers/laptop/role", {"role": "admin"})]
    assert ask("peers", "role", "laptop", "god").exit_code != 0


def test_a_removal_of_a_forked_key_shows_each_history_and_how_to_keep_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ana = Home(tmp_path, "home")
    here, there = forks(ana, tmp_path)
    ana.ledger.close()
    row = {**PEERS[2], "key": ana.who.author}
    monkeypatch.setattr(peers, "_rows", lambda: [*PEERS[:2], row])
    asked = answering(monkeypatch, RequestError("Forked", "laptop's key signed two", "", 409))
    done = ask("peers", "remove", "laptop", "-y")
    assert isinstance(done.exception, Stop)
    assert done.exception.exit_code == 3
    for event in (here, there):
        assert f"fleet peers remove laptop --keep {event[:16]}\n" in done.stdout
    said = json.loads(ask("peers", "remove", "laptop", "-y", "-o", "json").stdout)
    assert {one["keep"] for one in said["histories"]} == {here, there}
    ask("peers", "remove", "laptop", "-y", "--keep", there)
    assert asked[-1] == (
        "/v1/peers/laptop/remove",
        {"reason": "removed by hand", "keep": there},
    )


def test_a_member_that_is_seen_under_an_old_key_is_no_stranger() -> None:
    at = {**SURROUNDINGS["strangers"][0], "address": PEERS[1]["address"], "name": "mac"}
    said = {**SURROUNDINGS, "strangers": [*SURROUNDINGS["strangers"], at]}
    known = doctor.members_at(said, PEERS)
    found = [check[0] for check in doctor._check_sources(said, known)]
    assert "stranger attic" in found
    assert "stranger mac" not in found


def test_a_state_directory_that_is_not_there_yet_is_not_called_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert doctor.check_home(tmp_path) == ("state directory", str(tmp_path), "")
    _, text, fix = doctor.check_home(Path("a/b"))
    assert (text, fix) == (f"{tmp_path}/a/b (not there yet)", "fleet up --detach makes it")
    assert "is not a folder" in doctor.check_home(tmp_path / "file")[1]


PINS = ["numpy>=1.26", 'xllamacpp==2026.1 ; extra == "llamacpp"', "gguf; extra == 'dev'"]


@pytest.mark.parametrize(
    ("marker", "hint"),
    [
        ("pipx_metadata.json", "pipx inject fleet-ledger xllamacpp==2026.1"),
        ("uv-receipt.toml", "uv tool install --with xllamacpp==2026.1 '/src/a b'"),
        ("pyvenv.cfg", "/bin/py -m pip install xllamacpp==2026.1"),
    ],
)
def test_the_engine_is_installed_where_this_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marker: str, hint: str
) -> None:
    prefix = tmp_path / "fleet-ledger"
    prefix.mkdir()
    (prefix / marker).write_text("")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", "/bin/py")
    monkeypatch.setattr(extras, "_requires", lambda: PINS)
    monkeypatch.setattr(extras, "_source", lambda: "/src/a b")
    monkeypatch.setattr(extras, "_has_pip", lambda: True)
    assert extras.install_hint("llamacpp") == hint
    monkeypatch.setattr(extras, "_has_pip", lambda: False)
    if marker == "pyvenv.cfg":
        assert (
            extras.install_hint("llamacpp") == "uv pip install --python /bin/py xllamacpp==2026.1"
        )
