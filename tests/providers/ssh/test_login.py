"""Who a host is and whether it lets us in: keys pinned, refusals told apart, `ssh`'s own config
followed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import msgspec
import pytest
from msgspec import structs

from providers.base import ProviderError
from providers.ssh.client import (
    KeyChanged,
    NeedsLogin,
    NoShell,
    Unreached,
    fingerprint,
    known_keys,
    offered_key,
)
from providers.ssh.config import parse_destination, resolve
from providers.ssh.framing import Reader, TooLong, framed
from providers.ssh.hosts import Host, host_of
from providers.ssh.limits import MAX_NOISE_BYTES
from providers.ssh.pool import Gates, Reach
from tests.providers.ssh.conftest import Reaches
from tests.support.sshd import Sshd
from tests.support.waiting import wait_until


async def test_a_changed_host_key_stops_with_both_prints(own_sshd: Sshd, reaches: Reaches) -> None:
    host = own_sshd.account("pinned")
    assert (await reaches.to(host).run("true", 20)).status == 0
    before = fingerprint(own_sshd.pin)
    own_sshd.stop()
    own_sshd.new_host_key()
    own_sshd.start()
    with pytest.raises(KeyChanged) as caught:
        await reaches.to(host).run("true", 20)
    assert (caught.value.pinned, caught.value.offered) == (before, fingerprint(own_sshd.pin))
    assert before in caught.value.text
    assert fingerprint(own_sshd.pin) in caught.value.text


async def test_a_host_that_lost_the_pinned_type_of_key_is_another_host(
    own_sshd: Sshd, reaches: Reaches
) -> None:
    host = own_sshd.account("typed")
    own_sshd.stop()
    for name in ("host", "host.pub"):
        (own_sshd.folder / name).unlink()
    own_sshd.make_key("host", "ecdsa")
    own_sshd.start()
    with pytest.raises(KeyChanged, match="pinned SHA256:.*, offered SHA256:"):
        await reaches.to(host).run("true", 20)


async def test_a_refused_key_waits_for_a_person_and_is_not_tried_in_a_loop(
    own_sshd: Sshd, reaches: Reaches
) -> None:
    host = own_sshd.account("let-in")
    stranger = own_sshd.make_key("stranger")
    now = [0.0]
    refused = Host(name="x", hop=structs.replace(host.hop, keys=(str(stranger),)))
    reach, before = Reach(refused, Gates(), lambda: now[0]), tries(own_sshd)
    for _ in range(5):
        with pytest.raises(NeedsLogin, match="refuses our keys"):
            await reach.run("true", 20)
    assert tries(own_sshd) == before + 1
    now[0] = 61.0
    with pytest.raises(NeedsLogin):
        await reach.run("true", 20)
    assert tries(own_sshd) == before + 2


def tries(sshd: Sshd) -> int:
    return (sshd.folder / "log").read_text().count("Connection from")


async def test_a_key_with_a_passphrase_is_named_and_never_asked_for(
    sshd: Sshd, reaches: Reaches
) -> None:
    host = sshd.account("locked")
    locked = sshd.make_key("with-phrase", phrase="secret-words")
    hop = structs.replace(host.hop, keys=(str(locked),))
    with pytest.raises(NeedsLogin, match="with-phrase has a passphrase"):
        await reaches.to(Host(name="locked", hop=hop)).run("true", 20)


@pytest.fixture
def agent(sshd: Sshd, tmp_path: Path) -> Iterator[Path]:
    """An agent's socket; it holds the key of the account "agent"."""
    sshd.account("agent")
    socket = tmp_path / "agent.sock"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], **quiet) as process:  # type: ignore[call-overload]
        wait_until(socket.exists, "the agent")
        words = ["ssh-add", "-q", str(sshd.folder / "key-agent")]
        env = {"SSH_AUTH_SOCK": str(socket), "PATH": os.environ["PATH"]}
        subprocess.run(words, env=env, check=True)
        yield socket
        process.terminate()


async def test_the_agent_is_asked_only_where_it_was_chosen(
    sshd: Sshd, reaches: Reaches, agent: Path
) -> None:
    hop = structs.replace(sshd.account("agent").hop, keys=())
    with_agent = structs.replace(hop, agent=str(agent))
    assert (await reaches.to(Host(name="a", hop=with_agent)).run("true", 20)).status == 0
    with pytest.raises(NeedsLogin):
        await reaches.to(Host(name="b", hop=hop)).run("true", 20)


async def test_a_jump_host_is_gone_through_with_its_own_pin(
    sshd: Sshd, own_sshd: Sshd, reaches: Reaches
) -> None:
    jump, behind = sshd.account("jump"), own_sshd.account("behind")
    through = Host(name="behind", hop=behind.hop, jumps=(jump.hop,))
    assert (await reaches.to(through).run("echo hi", 20)).body == b"hi\n"
    key = await offered_key("127.0.0.1", own_sshd.port, (), (jump.hop,))
    assert key == own_sshd.pin
    wrong = structs.replace(jump.hop, pin=own_sshd.pin)
    with pytest.raises(KeyChanged):
        await reaches.to(Host(name="x", hop=behind.hop, jumps=(wrong,))).run("true", 20)


async def test_what_is_not_there_is_unreached_and_what_is_no_ssh_too(
    reaches: Reaches, sshd: Sshd
) -> None:
    host = sshd.account("gone")
    hop = structs.replace(host.hop, port=1)
    with pytest.raises(Unreached, match="not reached"):
        await reaches.to(Host(name="gone", hop=hop)).run("true", 5)
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreached):
            await reaches.to(Host(name="x", hop=structs.replace(host.hop, port=port))).run(
                "true", 5
            )


async def test_windows_is_refused_by_what_its_server_calls_itself(
    reaches: Reaches, sshd: Sshd
) -> None:
    host, key = sshd.account("windows"), sshd.folder / "host"
    server = await asyncssh.create_server(
        asyncssh.SSHServer,
        "127.0.0.1",
        0,
        server_host_keys=[str(key)],
        server_version="OpenSSH_for_Windows_9.5",
        authorized_client_keys=str(sshd.folder / "key-windows.pub"),
    )
    hop = structs.replace(host.hop, port=server.sockets[0].getsockname()[1])
    with pytest.raises(NoShell, match="windows is Windows") as caught:
        await reaches.to(Host(name="windows", hop=hop)).run("true", 10)
    assert "WSL" in caught.value.hint
    server.close()
    await server.wait_closed()


async def test_many_logins_at_once_shed_none(own_sshd: Sshd) -> None:
    own_sshd.settings["MaxStartups"] = "10:30:100"
    own_sshd.stop()
    own_sshd.start()
    gates = Gates()
    reaches = [Reach(own_sshd.account(f"many{i}"), gates) for i in range(20)]
    answers = await asyncio.gather(*(reach.run("true", 60) for reach in reaches))
    assert [one.status for one in answers] == [0] * 20
    for reach in reaches:
        await reach.close()


async def test_more_scripts_than_sessions_wait_for_one_and_a_cancel_does_not(
    sshd: Sshd, reaches: Reaches
) -> None:
    reach = reaches.to(sshd.account("sessions"))
    await reach.run("true", 20)
    many = [asyncio.create_task(reach.run("sleep 3", 60)) for _ in range(12)]
    await asyncio.sleep(0)
    assert (await reach.run("echo now", 20, urgent=True)).body == b"now\n"
    assert not any(task.done() for task in many[8:])
    assert [one.status for one in await asyncio.gather(*many)] == [0] * 12


async def test_a_server_that_is_slow_to_close_sessions_breaks_nothing_off(
    tmp_path: Path, reaches: Reaches
) -> None:
    """It refuses a session where ours are over and its own are not: that is no broken link."""
    sshd = Sshd(tmp_path / "narrow", settings={"MaxSessions": "8"})
    sshd.start()
    try:
        reach = reaches.to(sshd.account("narrow"))
        asked = [reach.run("true", 60) for _ in range(80)]
        assert {one.status for one in await asyncio.gather(*asked)} == {0}
    finally:
        sshd.stop()


async def test_a_host_that_never_stops_talking_fills_nothing(sshd: Sshd, reaches: Reaches) -> None:
    reach = reaches.to(sshd.account("chatty"))
    with pytest.raises(ProviderError, match="more than any answer"):
        await reach.run("yes", 30, limit=100_000)
    loud = sshd.account("loud", "/bin/bash", files={".bashrc": "yes\n"})
    with pytest.raises(ProviderError, match="more than any answer"):
        await reaches.to(loud).run("true", 30)


async def test_a_script_that_hangs_frees_its_session(sshd: Sshd, reaches: Reaches) -> None:
    reach = reaches.to(sshd.account("hung"))
    await reach.run("true", 20)
    for _ in range(10):
        with pytest.raises(Unreached, match="in time"):
            await reach.run("sleep 60", 0.1)
    assert (await reach.run("echo ok", 20)).body == b"ok\n"


def test_a_reader_takes_its_bytes_in_any_pieces() -> None:
    wire = b"noise\n@@ab+\nbody\n@@ab\n@@ab-x\n\n@@ab-7\nrest"
    for size in range(1, len(wire)):
        reader, answer = Reader("ab"), None
        for at in range(0, len(wire), size):
            answer = answer or reader.take(wire[at : at + size])
        assert answer is not None
        assert (answer.status, answer.body) == (7, b"body\n@@ab\n@@ab-x\n")
    with pytest.raises(TooLong):
        Reader("ab").take(b"x" * (MAX_NOISE_BYTES + 1))
    assert framed("true", "ab").startswith(b"\n\n\n")


CONFIG = """Include {folder}/more
Host box
  HostName 127.0.0.1
  Port {port}
  IdentityFile {folder}/key-cfg
  UserKnownHostsFile {folder}/known
  IdentityAgent none
"""
MORE = """Host box
  User somebody
Host far
  HostName 10.9.8.7
  ProxyJump me@box:2201
Host odd
  ProxyCommand nc %h %p
"""


async def test_names_mean_what_they_mean_to_ssh(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "more").write_text(MORE)
    config = tmp_path / "config"
    config.write_text(CONFIG.format(folder=tmp_path, port=sshd.port))
    box = await resolve("box", config=str(config))
    assert (box.host, box.port, box.user, box.agent) == ("127.0.0.1", sshd.port, "somebody", "")
    assert box.keys == (f"{tmp_path}/key-cfg",)
    far = await resolve("far", config=str(config))
    (jump,) = far.jumps
    assert (far.host, jump.host, jump.user, jump.port) == ("10.9.8.7", "127.0.0.1", "me", 2201)
    given = await resolve("you@box", port=5, key="/k", jump="box", config=str(config))
    assert (given.user, given.port, given.keys, len(given.jumps)) == ("you", 5, ("/k",), 1)
    with pytest.raises(ProviderError, match="ProxyCommand"):
        await resolve("odd", config=str(config))


def hash_names(file: Path) -> None:
    words = ["ssh-keygen", "-q", "-H", "-f", str(file)]
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)


async def test_known_hosts_name_the_keys_a_host_must_have(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.pin}\nother {sshd.pin}\n")
    hashed = tmp_path / "hashed"
    hashed.write_text(known.read_text())
    hash_names(hashed)
    for file in (known, hashed):
        assert known_keys((str(file),), "127.0.0.1", sshd.port) == (sshd.pin,)
    assert known_keys((str(known), "/none"), "127.0.0.1", 22) == ()
    assert await offered_key("127.0.0.1", sshd.port, (sshd.pin,)) == sshd.pin


@pytest.mark.parametrize(
    "text", ["-oProxyCommand=x", "a b", "", "u@-x", "h:99999", "a@b@c", "h;x:y"]
)
def test_a_destination_is_never_an_option(text: str) -> None:
    with pytest.raises(ProviderError):
        parse_destination(text)


def test_destinations_as_people_write_them() -> None:
    assert parse_destination("bob@box:2201") == ("bob", "box", 2201)
    assert parse_destination("ssh://bob@box:2201") == ("bob", "box", 2201)
    assert parse_destination("box") == ("", "box", 0)
    assert parse_destination("[::1]:22") == ("", "::1", 22)
    assert parse_destination("fe80::1%eth0") == ("", "fe80::1%eth0", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "../x"},
        {"name": "-x"},
        {"hop": {"host": "-x"}},
        {"hop": {"pin": "none"}},
        {"more": 1},
    ],
)
def test_a_stored_host_that_is_odd_is_refused(wrong: dict[str, object]) -> None:
    hop = {"host": "h", "user": "u", "pin": "ssh-ed25519 " + "A" * 68}
    base: dict[str, object] = {"name": "h", "hop": hop}
    assert host_of(base).hop.port == 22
    changed = {**base, **wrong}
    if isinstance(wrong.get("hop"), dict):
        changed["hop"] = {**hop, **wrong["hop"]}  # type: ignore[dict-item]
    with pytest.raises(msgspec.ValidationError):
        host_of(changed)


def test_asyncssh_is_loaded_by_no_cold_start() -> None:
    modules = "mesh.cli.app, mesh.node, mesh.edge.ssh.hosts, providers.ssh.adopting"
    program = f"import sys, {modules}; print('asyncssh' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
