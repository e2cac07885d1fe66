"""Pairing and peers without a daemon: the guest's half of a talk, and what the files say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import final

from mesh.api.errors import RequestError
from mesh.config import Config, load_config, slug
from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, fleet_of, join_fleet, load_or_create
from mesh.edge.pairing.book import PairingBook
from mesh.edge.pairing.desk import Desk
from mesh.edge.peering.report import peer_rows
from mesh.edge.signing.highwater import HighWater
from mesh.edge.store.forks import forks
from mesh.edge.store.schema import DATABASE
from mesh.edge.store.state import load_state
from mesh.edge.transport.links import Links
from mesh.ledger.event import Event
from mesh.state.address import parse_address
from mesh.state.state import State
from mesh.sync.manifest import Tip


@final
class _Still:
    """A ledger at rest: it can be read, and its fleet written down, but nothing is signed."""

    def __init__(self, home: Path, now: int) -> None:
        self._home = home
        self._now = now
        self.state = _state(home)

    waits = False

    def now(self) -> int:
        return self._now

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        raise RequestError("NoDaemon", "no daemon is running", "fleet up --detach", 503)

    async def belong(self, fleet: Fleet, own: Tip | None = None) -> None:
        """The mark beside the ledger remembers what of ours the host has, until we sign."""
        join_fleet(self._home, fleet)
        me, mark = load_or_create(self._home).author, HighWater(self._home)
        noted = mark.read(me)
        if own is not None and own.seq > max(noted.seq if noted else 0, self._held(me)):
            mark.write(me, own)

    def _held(self, author: str) -> int:
        return self.state.members.seen(author)

    def tips(self) -> Mapping[str, Tip]:
        """Nothing is signed here, so it only matters who forked."""
        try:
            return {author: Tip(seq, "", seq) for author, seq in forks(self._home).items()}
        except StoreError:
            return {}


def _state(home: Path) -> State:
    fleet_of(home)  # one that can't be read is said, also where there is no ledger
    return load_state(home) if (home / DATABASE).exists() else State()


def _prepared(home: Path) -> Config:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return load_config(home)


async def join(
    home: Path, text: str, name: str | None, now: int, host: str = ""
) -> dict[str, object]:
    """Come into a fleet by a code before the first `fleet up`; pending at an address."""
    config = await asyncio.to_thread(_prepared, home)
    sightings = Sightings(home)
    desk = Desk(
        _Still(home, now),
        load_or_create(home),
        slug(name or config.name),
        (PairingBook(home), sightings),
        lambda: Whereabouts(addresses=(), port=0, pairing_port=0),
        lambda: fleet_of(home),
        home,
    )
    said = await desk.join(text, config.pairing_port, None, host)
    sightings.flush()
    return said


def peers(home: Path, now: int) -> list[dict[str, object]]:
    """The fleet's peers as the ledger has them; nobody can be seen without a daemon."""
    keeper = _Still(home, now)
    config = load_config(home)
    given = [parse_address(text, config.mesh_port) for text in config.peers]
    links = Links(b"", lambda _: False, _never, keeper.now)
    rows = peer_rows(keeper, "", links, Sightings(home, given), {})
    if not (home / "identity.key").exists():
        return rows
    me = load_or_create(home).author
    return [row | {"you": row["key"] == me} for row in rows]


async def _never(_: object) -> None:
    raise AssertionError("nothing links without a daemon")
