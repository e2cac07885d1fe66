"""What honest people do with their fleet; each returns once its person was answered."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet
from mesh.ledger.event import Event
from mesh.state.members import ADMIN, ROLES, Members
from mesh.sync.manifest import Tip
from tests.simulation import pen, statements
from tests.simulation.keys import RECOVERY, identity
from tests.simulation.removed import Ended
from tests.simulation.work import device_id, job_id

if TYPE_CHECKING:
    from tests.simulation.peer import Peer
    from tests.simulation.world import World


async def found(world: "World", peer: "Peer") -> None:
    """Make the fleet, and its recovery key."""
    recovery = identity(RECOVERY).author
    first = await peer.say("fleet_founded", statements.founding(recovery, "one"))
    fleet = Fleet(root=peer.who.author, founding=first.hash, recovery=recovery)
    await peer.belong(fleet)
    world.fleet = fleet


async def invite(world: "World", peer: "Peer", guest: "Peer", role: str) -> None:
    """Let a peer in: the grant is safe before the guest hears of it."""
    since = statements.FIRST if world.rng.random() < 0.7 else None
    await give(peer, guest.who.author, role, since=since)
    world.note(peer, f"invites {guest.number} as {role}")
    if guest.up and world.fleet is not None and guest.fleet is None:
        welcome = _welcome(world.fleet, peer.who.author, role)
        peers = peer.live.state.members.peers()
        met = frozenset(one.author for one in peers if one.role)
        own = peer.ledger.tip(guest.who.author) or Tip(0, "")
        joining = guest.spawn(_join(guest, welcome, met, own))
        if world.rng.random() < 0.2:  # whoever sits there gives up waiting
            asyncio.get_running_loop().call_later(world.rng.random() * 0.05, joining.cancel)


async def _join(guest: "Peer", welcome: Fleet, met: frozenset[str], own: Tip) -> None:
    """At the guest's own machine, whatever happens to who invited it."""
    with contextlib.suppress(StoreError):
        guest.meets(met)
        await guest.belong(welcome, own)


def _welcome(fleet: Fleet, introducer: str, role: str) -> Fleet:
    said = {name: getattr(fleet, name) for name in Fleet.__slots__}
    return Fleet(**said | {"introducer": introducer, "tls": "", "role": role})


async def give(
    peer: "Peer", author: str, role: str, *, since: tuple[int, str] | None = None
) -> None:
    """Grant a role, replacing what the key had."""
    said = statements.grant(peer.live.state.members, peer.ledger, author, role, since=since)
    await peer.say("peer_added", said)


async def change_role(world: "World", peer: "Peer", other: "Peer") -> None:
    """Promote or demote a peer, or let a removed one in again."""
    role = world.rng.choice(ROLES)
    world.note(peer, f"makes {other.number} {role}")
    await give(peer, other.who.author, role)


async def remove(world: "World", peer: "Peer", other: "Peer") -> None:
    """Put a peer out, from the last event of it that is known here."""
    said = statements.removal(peer.ledger, other.who.author)
    world.note(peer, f"removes {other.number} after {said.get('until', 0)}")
    await peer.say("peer_removed", said)


async def expel(world: "World", peer: "Peer", author: str) -> Ended:
    """Put a key out that turned out bad."""
    said = statements.removal(peer.ledger, author)
    world.note(peer, f"expels {author[:6]} after {said.get('until', 0)}")
    removal = await peer.say("peer_removed", said)
    return Ended(removal, str(said.get("until_hash", "")))


def may_end(members: Members, by: str, author: str) -> bool:
    """Whether `by` may remove or demote `author`, as its program tells a person."""
    return by != author and members.role(by) == ADMIN and members.may_end(by, author)


async def note(world: "World", peer: "Peer") -> None:
    """Write something down."""
    await peer.say("note_added", {"text": f"note {world.rng.randrange(1 << 30)}"})


async def burst(world: "World", peer: "Peer") -> None:
    """Write a lot at once, by several hands."""
    hands = [note(world, peer) for _ in range(world.rng.randrange(3, 12))]
    for done in await asyncio.gather(*hands, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done


async def device(world: "World", peer: "Peer") -> None:
    """Register a device anew: another price, other memory."""
    serial = world.rng.randrange(3)
    facts: dict[str, object] = {
        "name": f"d{serial}",
        "memory_bytes": world.rng.randrange(1, 100),
        "hourly_nusd": world.rng.randrange(1, 100),
        "model": "card",
    }
    await peer.say("device_registered", facts, device_id(peer.who.author, serial))


async def drop_device(world: "World", peer: "Peer") -> None:
    """Take a device out."""
    serial = world.rng.randrange(3)
    await peer.say("device_removed", {"reason": "sold"}, device_id(peer.who.author, serial))


async def submit(world: "World", peer: "Peer") -> None:
    """Ask for a job; the peer's own loop places, starts and ends it."""
    name = job_id(peer.who.author, world.rng.randrange(1 << 40))
    await peer.say("job_submitted", {"job_id": name, "model": "m"})


async def cancel(world: "World", peer: "Peer") -> None:
    """Cancel somebody's job."""
    jobs = sorted(peer.live.state.jobs)
    if jobs:
        await peer.say("job_cancel_requested", {"job_id": world.rng.choice(jobs)})


async def recover(world: "World", peer: "Peer", author: str, good: pen.Place) -> Ended:
    """With the recovery words: the key is out beyond its last good event, this peer an admin."""
    digest = good.hash if good.seq else ""
    said = statements.removal_at(author, good.seq, digest)
    signed = await rise(world, peer, ("peer_removed", "", said))
    return Ended(signed[0], digest)


async def rise(
    world: "World", peer: "Peer", *first: tuple[str, str, statements.Payload]
) -> Sequence[Event]:
    """With the recovery words: this peer is an admin."""
    members, who = peer.live.state.members, identity(RECOVERY)
    mine = statements.grant(members, peer.ledger, peer.who.author, ADMIN)
    facts = [*first, ("peer_added", "", mine)]
    world.note(peer, "uses the recovery words")
    loop, now = asyncio.get_running_loop(), peer.now_ms()
    signed = await loop.run_in_executor(peer.worker, peer.ledger.sign_as, who, facts, now)
    await peer.live.catch_up()
    peer.replication.notify([who.author])
    return signed


DAILY = (note, note, note, burst, device, device, drop_device, submit, submit, submit, cancel)
