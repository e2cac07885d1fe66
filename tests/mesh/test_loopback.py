"""Three daemons as three processes: they pair, share one ledger, split, agree again, and part."""

import json
import signal
import socket
import ssl
from pathlib import Path

import pytest

from mesh.api.errors import RequestError
from tests.mesh.conftest import Machine, Maker, fleet_of_three, up_all
from tests.support.waiting import wait_until

Three = tuple[Machine, Machine, Machine]


def test_what_one_peer_writes_every_peer_shows(three: Three) -> None:
    ana, ben, cid = three
    for one in three:
        one.note(f"from {one.name}")
    for one in three:
        wait_until(one.has("from ana", "from ben", "from cid"), f"all notes at {one.name}")
    for one in three:
        wait_until(
            lambda one=one: all(
                row["sync"]["behind"] == 0 for row in one.get("/v1/sync/status")["peers"]
            ),
            f"{one.name} says in sync",
        )
    assert "in sync" in ana.ok("sync")
    rows = json.loads(cid.ok("devices", "-o", "json"))
    assert {row["peer"] for row in rows} == {"ana", "ben", "cid"}
    assert all(row["age_ms"] >= 0 for row in rows)
    assert ben.notes() == {"from ana", "from ben", "from cid"}  # also from the store, by the CLI


def test_peers_that_were_apart_agree_again_and_a_reader_needs_no_daemon(three: Three) -> None:
    ana, ben, cid = three
    cid.stop(signal.SIGKILL)
    wait_until(ana.sees("cid", "offline"), "the dead link noticed")
    ana.note("while cid was away")
    wait_until(ben.has("while cid was away"), "the note at ben")
    assert "while cid was away" not in cid.notes()
    cid.ok("note", "written with the daemon down")
    cid.up()
    for one in three:
        wait_until(
            one.has("while cid was away", "written with the daemon down"),
            f"both notes at {one.name}",
        )


def test_a_removal_reaches_everyone_and_a_new_invite_brings_back(machines: Maker) -> None:
    ana, ben, cid = fleet_of_three(machines)
    ana.ok("peers", "remove", "cid", "-y")
    wait_until(ben.sees("cid", "removed"), "the removal at ben")
    wait_until(
        lambda: all(row["state"] != "online" for name, row in cid.peers().items() if name != "cid"),
        "cid cut off from both",
    )
    wait_until(lambda: "for removed" in cid.peers()["ana"]["apart"], "the reason at cid")
    cid.note("in exile")
    ana.note("after")
    wait_until(ben.has("after"), "the note at ben")
    assert not ben.has("in exile")()
    assert not cid.has("after")()
    devices = {row["peer"]: row["state"] for row in ana.get("/v1/devices")["devices"]}
    assert devices == {"ana": "idle", "ben": "idle", "cid": "peer removed"}
    asked = {"model": "llama-2-70b", "context": 4096}
    plan = ben.post("/v1/plan", **asked)
    assert "cid" not in {row["device"] for row in plan["placements"] + plan["refusals"]}
    with pytest.raises(RequestError, match="nobody called 'cid'"):
        ana.post("/v1/peers/cid/remove")
    cid.post("/v1/join", code=ana.invite(role="member"), name="cid")
    cid.note("home again")
    wait_until(ben.has("in exile", "home again"), "cid's notes at ben")
    assert ben.peers()["cid"]["role"] == "member"


@pytest.mark.slow
@pytest.mark.parametrize("role", ["member", "viewer"])
def test_a_role_binds_its_peer_and_what_others_believe_of_it(machines: Maker, role: str) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana, role)
    wait_until(lambda: ben.peers().get("ben", {}).get("role") == role, "the role at ben")
    with pytest.raises(RequestError, match="only an admin decides who belongs"):
        ben.invite()
    with pytest.raises(RequestError, match="needs the role runner"):
        ben.post("/v1/devices", name="box", gpu="RTX 4090")
    if role == "viewer":
        with pytest.raises(RequestError, match="needs the role member"):
            ben.note("no")
    assert "ben" not in {row["peer"] for row in ana.get("/v1/devices")["devices"]}
    assert ben.get("/v1/devices")["devices"] == ana.get("/v1/devices")["devices"] or role


def test_a_code_lets_one_machine_in_once_and_the_next_may_ask(machines: Maker) -> None:
    ana, ben, cid = up_all(machines, "ana ben cid")
    code = ana.invite()
    ben.post("/v1/join", code=code)
    with pytest.raises(RequestError, match="used already"):
        cid.post("/v1/join", code=code)
    with pytest.raises(RequestError, match="has expired"):
        cid.post("/v1/join", code=ana.invite(ttl_ms=1))
    assert set(ana.peers()) == {"ana", "ben"}
    assert cid.peers() == {}
    where = f"127.0.0.1:{ana.get('/v1/doctor')['pairing_port']}"
    assert cid.post("/v1/join", code=where)["state"] == "pending"
    assert [row["name"] for row in ana.get("/v1/peers/pending")["pending"]] == ["cid"]
    ana.ok("peers", "accept", "cid", "--role", "member")
    assert cid.post("/v1/join", code=where)["state"] == "joined"
    wait_until(cid.sees("ben", "online"), "cid linked with ben, whom it never met")
    assert ana.peers()["cid"]["role"] == "member"
    assert ana.get("/v1/peers/pending")["pending"] == []


def test_joining_works_before_the_daemon_ever_ran(machines: Maker) -> None:
    ana, ben = machines("ana").up(), machines("ben")
    line = ana.ok("invite").strip()
    said = ben.ok(*line.removeprefix("fleet ").split())
    assert said.startswith("joined ana (")
    ben.up()
    wait_until(ben.sees("ana", "online"), "ben linked with ana")
    assert ben.ok("peers").splitlines()[1].split()[:1] == ["ben"]


def test_an_unknown_key_ends_in_the_handshake(three: Three, tmp_path: Path) -> None:
    from mesh.edge.identity import load_or_create
    from mesh.edge.transport.link import Contexts

    port = three[0].get("/v1/doctor")["port"]
    contexts = Contexts(load_or_create(tmp_path), tmp_path)
    stranger = contexts.client([])
    stranger.verify_mode = ssl.CERT_NONE
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    assert heard(stranger, port) == heard(plain, port) == b""


def heard(context: ssl.SSLContext, port: int) -> bytes:
    """What the mesh port says to somebody with these TLS settings."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as raw,
            context.wrap_socket(raw, server_hostname="fleet.invalid") as secure,
        ):
            secure.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            return secure.recv(100)
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.slow
def test_a_fleet_too_large_for_a_full_mesh_still_hangs_together(machines: Maker) -> None:
    every = up_all(machines, " ".join(f"p{n}" for n in range(12)))
    code = every[0].invite(uses=len(every))
    for one in every[1:]:
        one.post("/v1/join", code=code, name=one.name)
    for one in every:
        one.note(f"from {one.name}")
    for one in every:
        wait_until(one.has(*(f"from p{n}" for n in range(12))), f"all notes at {one.name}")
    wait_until(
        lambda: (
            sum(sum(r["state"] == "online" for r in one.peers().values()) - 1 for one in every)
            < 12 * 9
        ),
        "links nobody needs to end",
    )


@pytest.mark.slow
def test_a_copied_disk_is_named_everywhere_and_a_new_key_ends_it(machines: Maker) -> None:
    ana, ben = up_all(machines, "ana ben")
    ben.join(ana)
    wait_until(ben.sees("ana", "online"), "ben linked with ana")
    ben.stop()
    copy = machines("copy")
    copy.home.mkdir()
    for path in ben.home.iterdir():
        if path.is_file():
            (copy.home / path.name).write_bytes(path.read_bytes())
            (copy.home / path.name).chmod(path.stat().st_mode)
    copy.ok("note", "one history")
    ben.ok("note", "another history")
    ben.up()
    wait_until(ana.has("another history"), "ben's history at ana")
    copy.up()
    for one in (ana, copy):
        wait_until(
            lambda one=one: json.loads(one.ok("status", "-o", "json"))["forks"],
            f"the fork at {one.name}",
        )
    assert "FORK" in ana.ok("status")
    assert "FORKED" in ana.ok("doctor")
    with pytest.raises(RequestError, match="two different histories"):
        copy.note("a frozen key signs nothing")
    copy.stop()
    known = copy.notes()
    said = json.loads(copy.ok("identity", "reset", "-y", "-o", "json"))
    assert said["old"] != said["new"]
    assert copy.notes() == known
    copy.ok("join", ana.invite(), "--name", "copy")
    copy.up()
    wait_until(ana.sees("copy", "online"), "the new key linked")
    copy.note("somebody else")
    wait_until(ana.has("somebody else"), "the note at ana")
