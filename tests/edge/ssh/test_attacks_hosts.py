"""What a host that is a stranger's may tell of itself: so much and no more, and of itself alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from mesh.config import Config
from mesh.edge.ssh.book import MAX_ORDER, Book, Rent
from mesh.edge.ssh.devices import is_of, numbered
from mesh.edge.ssh.hosts import MAX_TOLD, Known, SshHosts
from mesh.edge.ssh.merging import MAX_WARNINGS, merged
from mesh.state.peer_id import short_id
from mesh.state.state import State
from providers.ssh.hosts import Hop, Host
from providers.ssh.limits import MAX_CARDS
from providers.ssh.reading.facts import Card, HostFacts
from tests.state.job_story import event, told

AUTHOR = "a" * 64
PIN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkkLb5kWUcGUeYTCmVOHBbwgUYDqAqdYVpgSh0CXBQM"
RENT = Rent(rental_id="r1x1x1xabcdefgh", provider="vastai", hourly_nusd=10**9)


class Peer:
    """Hosts whose events are folded at once."""

    def __init__(self, home: Path) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.hosts = SshHosts(
            home, Config(name="here"), AUTHOR, self.state, self.emit, lambda: True
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

    async def rented(self, name: str = "vast-r1") -> Known:
        return await self.hosts.rent(host(name), RENT)


def host(name: str) -> Host:
    return Host(name=name, hop=Hop(host="192.0.2.1", user="root", pin=PIN))


def facts(*uuids: str, **changed: object) -> HostFacts:
    cards = tuple(
        Card(index=i, vendor="nvidia", name="RTX 4090", bus=uuid, memory_bytes=24 << 30)
        for i, uuid in enumerate(uuids)
    )
    return replace(HostFacts(whole=True, cards=cards), **changed)  # type: ignore[arg-type]


async def test_a_rented_machine_that_shows_other_cards_each_time_fills_no_ledger(
    tmp_path: Path,
) -> None:
    peer = Peer(tmp_path)
    known = await peer.rented()
    for at in range(20):
        await peer.hosts._register(known, facts(*(f"{at}-{n}" for n in range(8))))
    assert len(peer.events) == MAX_TOLD


async def test_a_host_with_ever_new_cards_leaves_a_file_that_can_be_read(tmp_path: Path) -> None:
    peer = Peer(tmp_path)
    known = await peer.rented()
    for at in range(6):
        await peer.hosts._register(known, facts(*(f"{at}-{n}" for n in range(MAX_CARDS))))
    book = Book(tmp_path)
    book.load()
    assert len(book.hosts["vast-r1"].cards) == MAX_ORDER


def test_the_cards_a_host_once_had_keep_their_numbers() -> None:
    first = numbered((), facts("a", "b").cards)
    assert numbered(first, facts("c").cards)[:2] == first


def test_what_a_host_tells_anew_at_each_probe_does_not_pile_up() -> None:
    known: HostFacts | None = None
    for at in range(30):
        now = facts(
            *(f"{at}-{n}" for n in range(MAX_CARDS)),
            whole=at == 0,
            states={"nvidia": ("lost", "x")},
            warnings=tuple(f"{at} {n}" for n in range(20)),
        )
        known = merged(known, now)
    assert known is not None
    assert (len(known.cards), len(known.warnings)) == (MAX_CARDS, MAX_WARNINGS)


@pytest.mark.parametrize("names", [("vast", "vast-r1"), ("vast-r1", "vast")])
async def test_a_host_is_not_taken_for_one_whose_name_begins_alike(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    peer = Peer(tmp_path)
    for name in names:
        rent = RENT if name == "vast-r1" else None
        known = await peer.hosts._take(host(name), rent)
        await peer.hosts._register(known, facts(name))
    for name in names:
        ids = [key for key in peer.state().devices if is_of(key, AUTHOR, name)]
        assert len(ids) == 2, ids
        assert all(peer.hosts.known(key).name == name for key in ids)  # type: ignore[union-attr]
    await peer.hosts.remove("vast")
    left = {device.removesuffix("-cpu").removesuffix("-gpu0") for device in peer.state().devices}
    assert {one.split("-", 2)[2] for one in left} == {"vast-r1"}


@pytest.mark.parametrize("tail", ["", "gpu", "gpu-1", "gpu0-cpu", "cpu-gpu0", "gpu0x", "cpu0"])
def test_what_is_no_device_of_a_host_is_none(tail: str) -> None:
    assert is_of(f"dev-{short_id(AUTHOR)}-rig-gpu11", AUTHOR, "rig")
    assert not is_of(f"dev-{short_id(AUTHOR)}-rig-{tail}", AUTHOR, "rig")
