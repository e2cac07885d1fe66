"""A thief with the founder's key, real daemons, and how the news of the recovery gets around."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import aiohttp
import pytest

from mesh.edge.identity import load_or_create
from mesh.edge.transport.link import SERVER_NAME, Contexts, greet, own_anchor
from mesh.sync import messages
from mesh.sync.messages import Batch, Hello, Pull
from mesh.sync.quiet import SAID
from tests.mesh.conftest import Machine, Maker, up_all
from tests.support.waiting import wait_until

NOW = 1_790_000_000_000
NAMES = "ben cid dan"


def recover(one: Machine, words: Iterable[str], *args: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "recover", *args],
        env=one.env,
        input=" ".join(words),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def copied(one: Machine, thief: Machine) -> Machine:
    """The machine's key and ledger on a thief's disk, under the machine's own name."""
    shutil.copytree(one.home, thief.home, ignore=shutil.ignore_patterns("daemon.json", "*.lock"))
    thief.env["FLEET_NAME"] = one.name
    return thief


def carry(source: Machine, target: Machine, folder: Path) -> None:
    """What one ledger holds, into another: as it would have been heard before the link ended."""
    path = folder / f"{source.name}-{target.name}.jsonl"
    path.unlink(missing_ok=True)
    source.ok("export", path)
    target.ok("import", path)


def role(at: Machine, name: str) -> str:
    return str(at.peers().get(name, {}).get("role", ""))


async def refused(thief: Machine, host: Machine) -> list[int]:
    """What a member's port answers to the thief's key."""
    who, there = load_or_create(thief.home), load_or_create(host.home)
    tls = Contexts(who, thief.home).client([own_anchor(there)])
    port = host.get("/v1/doctor")["port"]
    found = []
    async with aiohttp.ClientSession() as session:
        asked = [("GET", "events"), ("GET", "status"), ("POST", "plan"), ("GET", "peers")]
        for method, path in asked:
            url = f"https://127.0.0.1:{port}/v1/{path}"
            async with session.request(
                method, url, ssl=tls, server_hostname=SERVER_NAME, json={}
            ) as said:
                found.append(said.status)
    return found


async def pulled(thief: Machine, host: Machine, authors: list[str]) -> list[messages.Message]:
    """What a member's session says to the thief's key that asks for every chain there is."""
    who, there = load_or_create(thief.home), load_or_create(host.home)
    tls = Contexts(who, thief.home).client([own_anchor(there)])
    url = f"https://127.0.0.1:{host.get('/v1/doctor')['port']}/v1/sync"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=tls, server_hostname=SERVER_NAME) as socket,
    ):
        await greet(socket, lambda: NOW)
        for one in (
            Hello(2, bytes(32), 0, bytes(32)),
            *(Pull(bytes.fromhex(a), 0) for a in authors),
        ):
            await socket.send_bytes(messages.encode(one))
        said: list[messages.Message] = []
        while sum(isinstance(one, Batch) for one in said) < len(authors):
            said.append(messages.decode(await socket.receive_bytes(timeout=30)))
    return said


@pytest.mark.slow
async def test_a_recovery_on_one_machine_reaches_those_whom_the_thief_removed(
    machines: Maker, tmp_path: Path
) -> None:
    ana, ben, cid, dan, evil = up_all(machines, f"ana {NAMES} evil")
    invited = ana.post("/v1/invites", role="runner", uses=3)
    words = invited["recovery_words"]
    for one in (ben, cid, dan):
        one.post("/v1/join", code=invited["code"], name=one.name)
    for one in (ben, cid, dan):
        for other in ("ana", *NAMES.split()):
            if other != one.name:
                wait_until(one.sees(other, "online"), f"{one.name} linked with {other}")
    ana.note("the last that ana wrote")
    for one in (ben, cid, dan):
        wait_until(one.has("the last that ana wrote"), f"it at {one.name}")
    key = load_or_create(ana.home).author
    signed = [one for one in json.loads(ben.ok("events", "-o", "json")) if one["author"] == key]
    good = max(signed, key=lambda one: one["seq"])["id"]
    ana.stop()

    thief = copied(ana, machines("thief")).up()
    for name in NAMES.split():
        thief.post(f"/v1/peers/{name}/remove", reason="mine now")
    evil.join(thief, "admin")
    for one in (ben, cid, dan):
        carry(thief, one, tmp_path)
    for one in (ben, cid, dan):
        for name in NAMES.split():
            wait_until(one.sees(name, "removed"), f"{one.name} sees {name} removed")
        assert role(one, "evil") == "admin"

    recover(ben, words, "--remove", "ana", "--keep", good, "-y")
    for one in (cid, dan):
        wait_until(one.sees("ana", "removed"), f"{one.name} heard of the recovery")
        wait_until(lambda one=one: role(one, "ben") == "admin", f"ben's new role at {one.name}")
    for one in (ben, cid, dan):
        for name in set(NAMES.split()) - {one.name}:
            wait_until(one.sees(name, "online"), f"{one.name} linked with {name} again")
        assert "evil" not in one.peers()
        assert role(one, "ana") == ""
    cid.note("a word of cid")
    for one in (ben, dan):
        wait_until(one.has("a word of cid"), f"cid's word at {one.name}")

    assert await refused(thief, cid) == [403] * 4
    authors = [load_or_create(one.home).author for one in (ana, ben, cid, dan)]
    said = await pulled(thief, cid, authors)
    hello, *others = said
    assert hello == Hello(2, SAID, 0, bytes(32))
    batches = [one for one in others if isinstance(one, Batch)]
    assert [messages.unpack(one.events) for one in batches] == [[]] * 4
    for one in (thief, evil):
        assert not one.has("a word of cid")()
