"""Adopted hosts as this peer's devices: registered once, free memory live, kept over a restart."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.disk import StoreError
from mesh.edge.ssh.book import Book
from mesh.edge.ssh.devices import numbered
from mesh.edge.ssh.hosts import SshHosts, merged
from mesh.state.fleet import spec
from mesh.state.state import State
from providers.base import Launch
from providers.engine.setup import Setup
from providers.engine.setup import launch as engine_launch
from providers.ssh.hosts import Host
from providers.ssh.reading.facts import Card, HostFacts
from tests.providers.ssh.test_attempts import ended, until_async
from tests.providers.ssh.test_probe import says
from tests.providers.ssh.test_reading import TWO, USERS
from tests.state.job_story import event, told
from tests.support.sshd import Sshd

AUTHOR = "a" * 64


class Peer:
    """A peer's ledger in memory around the hosts under test."""

    def __init__(self, home: Path) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.may = True
        self.hosts = SshHosts(
            home, Config(name="here"), AUTHOR, self.state, self.emit, lambda: self.may
        )

    def state(self) -> State:
        return told(
            [
                event(kind, i, device=device, author=AUTHOR, **payload)
                for i, (kind, device, payload) in enumerate(self.events, 1)
            ]
        )

    async def emit(self, kind: str, device_id: str, payload: dict[str, object]) -> None:
        self.events.append((kind, device_id, payload))


@pytest.fixture
def sshd(tmp_path: Path) -> AsyncIterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    server.start()
    yield server  # type: ignore[misc]
    server.stop()


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    found = Peer(tmp_path)
    task = asyncio.create_task(found.hosts.run())
    await asyncio.sleep(0)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def rig(sshd: Sshd) -> Host:
    host = sshd.account("rig")
    sshd.tool("rig", "nvidia-smi", says(query_gpu=TWO, query_compute=USERS, _L="GPU 0"))
    return host


async def test_a_host_is_adopted_with_its_devices_and_let_go_with_them(
    sshd: Sshd, peer: Peer
) -> None:
    row = await peer.hosts.adopt(msgspec.to_builtins(rig(sshd)))
    assert row["status"] == "ready", row
    state = peer.state()
    names = sorted(view.name for view in state.devices.values())
    assert names == ["rig", "rig-gpu0", "rig-gpu1"]
    card = next(view for view in state.devices.values() if view.name == "rig-gpu0")
    facts = card.facts
    assert (facts.transport, facts.described_by, facts.host) == ("ssh", "probe", "rig")
    assert (facts.model, facts.memory_bytes, facts.free_bytes) == (
        "GeForce RTX 4090",
        24564 << 20,
        17958 << 20,
    ) or facts.memory_bytes == 24564 << 20
    assert len({spec(view).host for view in state.devices.values()}) == 1
    before = len(peer.events)
    await peer.hosts.probe("rig")
    assert len(peer.events) == before  # the same host is no news
    live = {one.name: one for one in peer.hosts.live(state)}
    assert live["rig-gpu1"].free_bytes == 24136 << 20
    assert live["rig-gpu1"].free_basis == "measured"
    said = await peer.hosts.remove("rig")
    assert len(said["removed"]) == 3  # type: ignore[arg-type]
    assert peer.state().devices == {}
    with pytest.raises(RequestError):
        await peer.hosts.probe("rig")


async def test_jobs_on_a_device_of_a_host_run_there(sshd: Sshd, peer: Peer) -> None:
    await peer.hosts.adopt(msgspec.to_builtins(rig(sshd)))
    device = next(key for key in peer.state().devices if key.endswith("-gpu1"))
    attempts = peer.hosts.attempts(device)
    assert attempts is not None
    assert attempts.python.startswith("/")
    await attempts.start(Launch(job_id="j", attempt=0, kind="command", argv=("echo", "there")))
    await ended(attempts, "j")
    assert (await attempts.read("j", 0, "log.txt", 0, 99))[0] == b"there\n"
    assert peer.hosts.attempts("dev-other-gpu0") is None


async def test_a_models_job_is_told_its_hosts_paths_and_its_own_card_alone(
    sshd: Sshd, peer: Peer, tmp_path: Path
) -> None:
    host = rig(sshd)
    sshd.tool("rig", "llama-server", "exit 1\n")
    await peer.hosts.adopt(msgspec.to_builtins(host))
    device = next(key for key in peer.state().devices if key.endswith("-gpu1"))
    assert peer.state().devices[device].facts.engines == ("llama.cpp",)
    known = peer.hosts.known(device)
    assert known is not None
    assert known.facts is not None
    assert known.engines is not None
    assert [known.card(number) for number in ("0", "1", "7")] == [
        *(one.uuid for one in known.facts.cards),
        "7",
    ]
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    launch = engine_launch(
        Setup(
            engine="llama.cpp",
            model_path=str(tmp_path / "m.gguf"),
            vendor="nvidia",
            cards=("1",),
        ),
        job_id="j",
        attempt=1,
        python="here",
        task="prompt",
        work={"tokens": 1, "prompt": "a secret"},
    )
    there, holder = await known.engines.ready(launch, known.card)
    assert (there.argv, there.spec, there.cards) == ((known.facts.python,), {}, ())
    state = sshd.home("rig") / ".local/state/fleet-ledger"
    (spec,) = state.glob("*/jobs/j.1/launch.json")
    said = json.loads(spec.read_text())["spec"]
    assert said["prompt"] == "a secret"
    assert said["setup"]["cards"] == [known.facts.cards[1].uuid]
    assert said["setup"]["program"] == str(sshd.folder / "tools" / "rig" / "llama-server")
    (model,) = state.glob("*/models/*/m.gguf")
    assert said["setup"]["model_path"] == str(model)
    assert [path.name for path in state.glob("*/bin/engine-*")] == [holder]
    assert known.engines.again(launch) == (there, holder)


async def test_a_host_that_is_away_or_refuses_is_kept_and_says_why(sshd: Sshd, peer: Peer) -> None:
    host = rig(sshd)
    stranger = msgspec.structs.replace(host.hop, keys=(str(sshd.make_key("stranger")),))
    row = await peer.hosts.adopt(msgspec.to_builtins(Host(name="shut", hop=stranger)))
    assert (row["status"], row["devices"]) == ("needs_login", [])
    away = msgspec.structs.replace(host.hop, port=1)
    row = await peer.hosts.adopt(msgspec.to_builtins(Host(name="away", hop=away)))
    assert row["status"] == "unreached"
    assert [one["name"] for one in peer.hosts.rows()] == ["away", "shut"]
    assert peer.events == []


async def test_a_name_keeps_meaning_the_same_machine_with_the_same_key(
    sshd: Sshd, peer: Peer
) -> None:
    host = rig(sshd)
    await peer.hosts.adopt(msgspec.to_builtins(host))
    other = " ".join((sshd.folder / "key-rig.pub").read_text().split()[:2])
    for hop in ({"port": 1}, {"pin": other}):
        changed = msgspec.structs.replace(host.hop, **hop)
        with pytest.raises(RequestError) as caught:
            await peer.hosts.adopt(msgspec.to_builtins(Host(name="rig", hop=changed)))
        assert caught.value.status == 409
    assert caught.value.text.count("SHA256:") == 2


async def test_what_cannot_be_registered_yet_is_registered_once_it_can(
    sshd: Sshd, peer: Peer
) -> None:
    peer.may = False
    await peer.hosts.adopt(msgspec.to_builtins(rig(sshd)))
    assert peer.events == []
    peer.may = True
    await until_async(lambda: len(peer.events) >= 3)


def test_the_file_of_hosts_is_private_and_survives(tmp_path: Path) -> None:
    book = Book(tmp_path)
    hop = {"host": "h", "user": "u", "pin": "ssh-ed25519 " + "A" * 68}
    from mesh.edge.ssh.book import Adopted
    from providers.ssh.hosts import host_of

    book.put(Adopted(host=host_of({"name": "h", "hop": hop}), cards=("0000:01:00.0",)))
    assert (tmp_path / "ssh.json").stat().st_mode & 0o077 == 0
    again = Book(tmp_path)
    again.load()
    assert again.hosts == book.hosts
    (tmp_path / "ssh.json").write_text('[{"host": 1}]')
    damaged = Book(tmp_path)
    with pytest.raises(StoreError, match="cannot be read"):
        damaged.load()
    with pytest.raises(StoreError):  # and it is not written over
        damaged.drop("h")


def card(i: int) -> Card:
    return Card(
        index=i, vendor="nvidia", name="L4", uuid=f"GPU-{i}", bus=f"0000:0{i}:00.0", free_bytes=5
    )


def test_a_card_keeps_its_number_when_another_is_gone() -> None:
    order = numbered((), [card(0), card(1), card(2)])
    assert numbered(order, [card(2), card(3)]).index(card(2).lock) == 2


def test_a_driver_that_does_not_answer_leaves_the_last_inventory_without_readings() -> None:
    before = HostFacts(whole=True, cards=(card(0), card(1)))
    hung = HostFacts(
        whole=False, states={"nvidia": ("unresponsive", "hangs")}, warnings=("nvidia: hangs",)
    )
    after = merged(before, hung)
    assert [(c.uuid, c.free_bytes) for c in after.cards] == [("GPU-0", None), ("GPU-1", None)]
    assert after.warnings == ("nvidia: hangs",)
    fallen = HostFacts(whole=False, cards=(card(0),), states={"nvidia": ("lost", "fell off")})
    assert [(c.uuid, c.free_bytes) for c in merged(before, fallen).cards] == [
        ("GPU-0", 5),
        ("GPU-1", None),
    ]
    well = replace(hung, states={}, warnings=(), cards=(card(0), card(1)))
    assert [c.free_bytes for c in merged(after, well).cards] == [5, 5]
