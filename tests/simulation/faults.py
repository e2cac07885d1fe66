"""What goes wrong: each fault takes a peer and the step it was at; False where it can't happen."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.simulation.clock import VirtualLoop
from tests.simulation.disk import Crash
from tests.simulation.peer import START_MS, Peer

if TYPE_CHECKING:
    from tests.simulation.world import World

# UTC milliseconds of 1970 and 2100, where a wrong clock may stand.
FIRST_MS, LAST_MS = 0, 4_102_444_800_000
AWAY_S = 10.0
SHIELDED = ("Live.", "Replication._take")


def crash(world: "World", peer: Peer, step: str) -> bool:
    """The power goes: at a commit, after it counts and before anybody hears of it."""
    if step in ("commit", "snapshot"):
        raise Crash
    _soon(peer.crash)
    return True


def torn(world: "World", peer: Peer, step: str) -> bool:
    """The power goes while the next commit is being written."""
    peer.disk.fragile = True
    return True


def shutdown(world: "World", peer: Peer, step: str) -> bool:
    """The daemon is told to stop, in the middle of all, and started again."""

    async def stop() -> None:
        await peer.shut_down()
        peer.come_back(world.rng.random() * AWAY_S)

    world.spawn(stop())
    return True


def restore_database(world: "World", peer: Peer, step: str) -> bool:
    """The database alone comes back from a backup."""
    return _restore(world, peer, whole=False)


def restore_home(world: "World", peer: Peer, step: str) -> bool:
    """The whole home comes back from a backup."""
    return _restore(world, peer, whole=True)


def _restore(world: "World", peer: Peer, *, whole: bool) -> bool:
    if not peer.backups or peer.copied:
        return False
    backup = world.rng.choice(peer.backups)

    def put_back() -> None:
        if peer.up:
            peer.crash(back_s=world.rng.random() * AWAY_S)
            peer.home.restore(backup, peer.disk, whole=whole)
            world.restored(peer, "restores " + ("its home" if whole else "its database"))

    _soon(put_back)
    return True


def lose_database(world: "World", peer: Peer, step: str) -> bool:
    """The database is gone, the key is not."""
    if peer.copied or peer.fleet is None:
        return False

    def lose() -> None:
        if peer.up:
            peer.crash(back_s=world.rng.random() * AWAY_S)
            peer.disk.durable = peer.disk.previous = world.empty
            world.restored(peer, "loses its database")

    _soon(lose)
    return True


def copy_disk(world: "World", peer: Peer, step: str) -> bool:
    """The disk is copied, and both run."""
    if len(world.peers) >= world.most_peers or peer.copied:
        return False
    _soon(lambda: world.copy(peer))
    return True


def cancel(world: "World", peer: Peer, step: str) -> bool:
    """One of its tasks is cancelled wherever it waits: any that somebody could hold.

    What the code shields runs in a task of its own, which ends early only with the whole loop.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    tasks = [task for task in loop.tasks_of(peer) if not _named(task).startswith(SHIELDED)]
    if tasks:
        world.rng.choice(tasks).cancel()
    return bool(tasks)


def _named(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))


def cut(world: "World", peer: Peer, step: str) -> bool:
    """A link dies."""
    wires = world.wires_of(peer)
    if wires:
        _soon(world.rng.choice(wires).cut)
    return bool(wires)


def half_open(world: "World", peer: Peer, step: str) -> bool:
    """A link dies, and one end does not notice."""
    wires = world.wires_of(peer)
    if wires:
        world.rng.choice(wires).half_open()
    return bool(wires)


def slow(world: "World", peer: Peer, step: str) -> bool:
    """A neighbour becomes very slow."""
    wires = world.wires_of(peer)
    if wires:
        world.rng.choice(wires).slow = world.rng.choice((20.0, 100.0))
    return bool(wires)


def split(world: "World", peer: Peer, step: str) -> bool:
    """The network falls in two for a while."""
    if world.sides:
        return False
    world.split()
    return True


def lossy(world: "World", peer: Peer, step: str) -> bool:
    """Links die often for a while."""
    world.loss = 0.1
    asyncio.get_running_loop().call_later(AWAY_S, world.quiet)
    return True


def clock(world: "World", peer: Peer, step: str) -> bool:
    """The clock jumps anywhere between 1970 and 2100, and mostly back later."""
    peer.skew_ms = world.rng.randrange(FIRST_MS, LAST_MS) - START_MS
    world.note(peer, f"has a clock {peer.skew_ms / 31_557_600_000:.1f} years off")
    if world.rng.random() < 0.8:
        back = world.rng.random() * AWAY_S
        asyncio.get_running_loop().call_later(back, lambda: setattr(peer, "skew_ms", 0))
    return True


def disk_full(world: "World", peer: Peer, step: str) -> bool:
    """No room on the disk for a while."""
    peer.disk.full = True
    asyncio.get_running_loop().call_later(
        world.rng.random() * 5, lambda: setattr(peer.disk, "full", False)
    )
    return True


def _soon(do: Callable[[], object]) -> None:
    """Within the next few callbacks, whatever they are."""
    asyncio.get_running_loop().call_soon(do)


FAULTS: dict[str, Callable[["World", Peer, str], bool]] = {
    "crash": crash,
    "torn write": torn,
    "shutdown": shutdown,
    "old database": restore_database,
    "old home": restore_home,
    "lost database": lose_database,
    "copied disk": copy_disk,
    "cancelled task": cancel,
    "cut link": cut,
    "half-open link": half_open,
    "slow link": slow,
    "lossy links": lossy,
    "split": split,
    "clock jump": clock,
    "full disk": disk_full,
}
