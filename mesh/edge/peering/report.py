"""Peers as rows: who is linked, who was seen where and when, and why a dial failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.discovery.whereabouts import Whereabouts
from mesh.edge.pairing.book import PairingBook, Pending
from mesh.edge.pairing.standing import Keeper
from mesh.edge.transport.links import Links
from mesh.state.address import read_addresses, show_address
from mesh.state.members import PeerView
from mesh.state.peer_id import peer_id

Row = dict[str, object]

# Of a neighbour that hears us and tells us nothing; its ledger knows of a removal that ours lacks.
NOT_ANSWERED = "takes this machine for removed: join anew, or recover"

# A clock further off than this makes ages wrong by minutes; events are then ordered oddly too.
SKEW_MS = 5_000


def peer_rows(
    keeper: Keeper, me: str, links: Links, sightings: Sightings, progress: Mapping[str, object]
) -> list[Row]:
    """One row per peer that was ever let in, this one first."""
    members = keeper.state.members
    views = sorted(members.peers(), key=lambda one: (one.author != me, one.role == "", one.name))
    return [_row(keeper, one, me, links, sightings, progress.get(one.author)) for one in views]


def _row(
    keeper: Keeper, view: PeerView, me: str, links: Links, sightings: Sightings, distance: Any
) -> Row:
    now, name = keeper.now(), peer_id(view.author)
    tip = keeper.tips().get(view.author)
    link = links.get(bytes.fromhex(view.author))
    answers = distance is None or bool(distance["answers"])
    online = (link is not None and answers) or view.author == me
    last = now if online else _last_met(view, links, sightings)
    return {
        "peer_id": name,
        "key": view.author,
        "name": view.name,
        "role": view.role,
        "seniority": view.seniority,
        "forked_at": tip.fork if tip and tip.fork else None,
        "shattered_at": keeper.state.members.shattered.get(view.author),
        "you": view.author == me,
        "state": "removed" if not view.role else "online" if online else "offline",
        "address": _address(view, link.address if link else "", sightings),
        "last_seen_ms": last,
        "age_ms": now - last if last else None,
        "sources": sources(sightings, name, now),
        "sync": distance,
        "apart": links.apart.get(bytes.fromhex(view.author), "" if answers else NOT_ANSWERED),
        "skew_ms": link.skew_ms if link else None,
        "added_ms": view.added_ms or None,
        "added_by": peer_id(view.added_by),
    }


def sync_rows(keeper: Keeper, me: str, links: Links, progress: Mapping[str, object]) -> Row:
    """What each neighbour sent and got, and how many of its events are still to come."""
    members = keeper.state.members
    rows = []
    for one in members.peers():
        distance: Any = progress.get(one.author)
        if one.author != me and one.role:
            rows.append(
                {
                    "peer_id": peer_id(one.author),
                    "name": one.name,
                    "linked": links.get(bytes.fromhex(one.author)) is not None
                    and (distance is None or bool(distance["answers"])),
                    "sync": distance,
                }
            )
    return {"events": keeper.state.event_count, "peers": rows}


def _last_met(view: PeerView, links: Links, sightings: Sightings) -> int:
    ended = links.ended_ms.get(bytes.fromhex(view.author), 0)
    return max(ended, sightings.last_met_ms(peer_id(view.author)))


def _address(view: PeerView, linked: str, sightings: Sightings) -> str:
    """Where the peer is linked, else where it would be dialled first."""
    first = next(sightings.candidates(peer_id(view.author), ()), None)
    if linked and (first is None or linked != first[0][0]):
        return linked
    return show_address(first[0]) if first else next(iter(view.addresses), "")


def sources(sightings: Sightings, name: str, now: int) -> dict[str, int]:
    """How long ago each source saw the peer, in ms."""
    found: dict[str, int] = {}
    for one in sightings.of(name):
        age = max(0, now - one.seen_ms)
        found[one.source] = min(age, found.get(one.source, age))
    met = sightings.last_met_ms(name)
    return found | ({"remembered": max(0, now - met)} if met else {})


def pending_rows(waiting: list[Pending], now: int) -> list[Row]:
    """Who asks to be let in."""
    return [
        {
            "peer_id": peer_id(one.key),
            "name": one.name,
            "address": one.address,
            "age_ms": max(0, now - one.asked_ms),
        }
        for one in waiting
    ]


def report(
    keeper: Keeper,
    links: Links,
    sightings: Sightings,
    book: PairingBook,
    where: Whereabouts,
    members: Collection[bytes],
) -> Row:
    """What the daemon knows of its surroundings, for `fleet doctor`."""
    now = keeper.now()
    ids = {peer_id(key.hex()) for key in members}
    return {
        "addresses": list(where.addresses),
        "port": where.port,
        "pairing_port": where.pairing_port,
        "dials": _dials(keeper, sightings, members, now),
        "skews": [
            {"peer_id": peer_id(link.peer_key.hex()), "skew_ms": link.skew_ms}
            for link in links.all()
            if abs(link.skew_ms) > SKEW_MS
        ],
        "strangers": [
            {
                "source": one.source,
                "peer_id": one.peer_id,
                "name": one.name,
                "address": show_address(one.address),
                "age_ms": max(0, now - one.seen_ms),
            }
            for one in sightings.strangers()
            if one.peer_id and one.peer_id not in ids
        ],
        "invites": [
            {"role": one.role, "expires_ms": one.expires_ms, "left": one.uses - len(one.used_by)}
            for one in book.open_invites(now)
        ],
    }


def _dials(keeper: Keeper, sightings: Sightings, members: Collection[bytes], now: int) -> list[Row]:
    """The last dial of every place a member may be at."""
    found: list[Row] = []
    for key in sorted(members):
        reach = keeper.state.members.reach.get(key.hex())
        written = read_addresses(reach[1], 1) if reach else []
        for address, source in sightings.candidates(peer_id(key.hex()), written):
            tried = sightings.tried(address)
            found.append(
                {
                    "peer_id": peer_id(key.hex()),
                    "address": show_address(address),
                    "source": source,
                    "age_ms": max(0, now - tried.at_ms) if tried else None,
                    "text": tried.text if tried else "not tried yet",
                }
            )
    for address in sightings.given():
        tried = sightings.tried(address)
        found.append(
            {
                "peer_id": "",
                "address": show_address(address),
                "source": "given",
                "age_ms": max(0, now - tried.at_ms) if tried else None,
                "text": tried.text if tried else "not tried yet",
            }
        )
    return found
