"""A fleet from its founding to the day its founder's key is stolen, as its people live it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.policy.words import seed_of
from tests.mesh.conftest import Machine, Maker, up_all
from tests.mesh.conftest import machines as machines
from tests.support.waiting import wait_until

SEPARATORS = (" ", '","', '", "', ",", "\n")


def typed(one: Machine, words: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """`fleet recover` with the words on standard input."""
    return subprocess.run(
        [sys.executable, "-m", "mesh", "recover", *args],
        env=one.env,
        input=words,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def everything(home: Path) -> Iterator[bytes]:
    """What is on disk of a machine."""
    yield from (path.read_bytes() for path in home.rglob("*") if path.is_file())


def test_the_words_shown_at_the_founding_bring_the_fleet_back(machines: Maker) -> None:
    ana, ben, cid = up_all(machines, "ana ben cid")
    first = ana.run("invite")
    assert first.code == 0
    shown = first.err.partition("shown this once:")[2]
    assert max(map(len, first.err.splitlines()[1:])) <= 60
    words = " ".join(shown.partition("Write them")[0].split())
    ben.ok("join", first.out.split()[-1], "--name", "ben")
    again = json.loads(ana.ok("invite", "-o", "json"))
    assert again["recovery_words"] == []
    joined = cid.run("join", again["code"], "--name", "cid")
    assert "the fleet has one admin, ana" in joined.err
    wait_until(cid.sees("ben", "online"), "cid linked with ben")
    assert "one, ana" in cid.ok("doctor")

    refused = ben.run("invite")
    assert (refused.code, "the same on ana" in refused.err) == (106, True)
    assert ana.ok("peers", "role", "ben", "admin") == "ben is admin now, and was runner\n"
    wait_until(lambda: ben.peers()["ben"]["role"] == "admin", "the role at ben")
    refused = ben.run("peers", "remove", "ana", "-y")
    assert refused.code == 106
    assert "can't remove or demote the one who let you in" in refused.err

    signed = json.loads(ana.ok("events", "-o", "json"))
    key = ana.peers()["ana"]["key"]
    good = max((e for e in signed if e["author"] == key), key=lambda e: e["seq"])["id"]
    ana.ok("peers", "remove", "ben", "-y")  # what a thief does first
    wait_until(lambda: cid.peers()["ben"]["role"] == "", "the removal at cid")
    done = typed(cid, words, "-y", "--remove", "ana", "--keep", good)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: cid.peers()["cid"]["role"] == "admin", "cid an admin")
    roles = {name: row["role"] for name, row in cid.peers().items()}
    assert roles == {"ana": "", "ben": "admin", "cid": "admin"}
    wait_until(lambda: ben.peers()["ana"]["role"] == "", "the founder out at ben")
    assert cid.ok("invite").startswith("fleet join ")
    secret = seed_of(words)
    alone = [one for one in words.split() if one.isalpha()]
    traces = [secret, secret.hex().encode(), *(sep.join(alone[:3]).encode() for sep in SEPARATORS)]
    for one in (ana, ben, cid):
        assert not [found for data in everything(one.home) for found in traces if found in data]
        assert one.ok("verify").startswith("ledger verified")


@pytest.mark.slow
def test_a_founder_with_a_copied_disk_comes_back_by_another_admin(machines: Maker) -> None:
    ana, ben = up_all(machines, "ana ben")
    words = " ".join(ana.post("/v1/invites")["recovery_words"])
    ben.join(ana)
    wait_until(ben.sees("ana", "online"), "ben linked with ana")
    ana.stop()
    copy = machines("copy")
    copy.home.mkdir()
    for path in ana.home.iterdir():
        if path.is_file():
            (copy.home / path.name).write_bytes(path.read_bytes())
            (copy.home / path.name).chmod(path.stat().st_mode)
    copy.ok("note", "one history")
    copy.ok("export", copy.home / "copy.jsonl")
    ana.ok("note", "another history")
    ana.run("import", copy.home / "copy.jsonl")
    ana.up()
    refused = ana.run("invite")
    assert refused.code == 3
    assert "fleet recover on another machine" in refused.err
    wait_until(ben.has("one history", "another history"), "both histories at ben")
    assert typed(ben, words, "-y").returncode == 0
    wait_until(lambda: ben.peers()["ben"]["role"] == "admin", "ben an admin")
    ana.stop()
    said = ana.run("identity", "reset", "-y")
    assert "on ben: fleet invite, and fleet peers remove ana" in said.err
    ana.ok("join", ben.invite(), "--name", "ana-2")
    ana.up()
    wait_until(ben.sees("ana-2", "online"), "the new key linked")
