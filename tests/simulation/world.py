"""One seeded schedule: a fleet, its people, faults and adversaries, all under one virtual clock.

Raises Broken, with the seed, when an invariant does not hold.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from mesh.edge.identity import Fleet
from mesh.state.members import ADMIN, ROLES
from mesh.sync.session import ProtocolError
from tests.simulation import actions
from tests.simulation.clock import Spins
from tests.simulation.disk import Crash, Disk, empty
from tests.simulation.faults import FAULTS
from tests.simulation.invariants import Judge
from tests.simulation.network import DIAL_S, Network
from tests.simulation.peer import REFUSED, Peer
from tests.simulation.plots import Plots
from tests.simulation.steps import STEPS

RUN_S = 30.0
SETTLE_S = 400.0  # virtual: several refreshes of every session
LOOK_S = 2.0


class World(Network):
    """All of one schedule."""

    def __init__(self, seed: int, disk_type: type[Disk], folder: Path) -> None:
        super().__init__(seed, disk_type, folder)
        self.signed: set[str] = set()
        self.fleet: Fleet | None = None
        self.stolen: set[str] = set()  # authors whose key somebody else has, too
        self.recovered_by: Peer | None = None
        self.again: list[Peer] = []  # restored from before they were in
        self.healing = False
        self.over = False
        self.virtual_s = 0.0
        self.empty = empty()
        self.most_peers = 7
        self.judge = Judge(self)
        self.plots = Plots(self)

    def run(self) -> None:
        """Play the schedule, heal everything, and check what must hold."""
        self.loop.set_exception_handler(self._unhandled)
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._play())
        except Spins as error:
            raise self.broken(str(error)) from error
        finally:
            self.over, self.virtual_s = True, self.loop.time()
            self._stop()
            asyncio.set_event_loop(None)

    def _stop(self) -> None:
        """Drop what still runs; nothing of it is seen any more."""
        for peer in self.peers:
            peer.ledger.lose_power()
            peer.up = False
        for task in list(self.loop.tasks):
            task.cancel()
        with contextlib.suppress(Spins, Crash):
            self.loop.run_until_complete(asyncio.sleep(60))  # some suppress a cancellation once
        for peer in self.peers:
            peer.ledger.close()
        self.loop.close()

    def _unhandled(self, _: object, context: dict[str, Any]) -> None:
        """A callback or a forgotten task failed: only a few ways of failing are expected."""
        error = context.get("exception")
        expected = (Crash, ConnectionError, ProtocolError, *REFUSED)
        if error is not None and not isinstance(error, expected) and not self.over:
            self.fail(f"a task died of {type(error).__name__}: {error}")

    @property
    def anchor(self) -> Peer:
        """Whoever nobody may remove: the founder, or whom the recovery key made an admin."""
        return self.recovered_by or self.peers[0]

    async def _play(self) -> None:
        count = self.rng.choice((3, 3, 3, 4, 5))
        for number in range(1, count + 1):
            self.peers.append(Peer(self, number))
        self._plan(count)
        while self.loop.time() < RUN_S:
            self.dial_all()
            self._glance()
            await asyncio.sleep(DIAL_S)
        await self._heal()
        self.judge.everything()

    # The schedule

    def _plan(self, count: int) -> None:
        self.loop.call_at(0, self._found, self.peers[0])
        for number in range(1, count):
            at = 0.5 + self.rng.random() * self.rng.choice((2, 2, 10))
            self.loop.call_at(at, self.let_in, self.peers[number])
        for _ in range(self.rng.randrange(12, 30)):
            self._later(self._daily)
        for _ in range(self.rng.randrange(4)):
            self._later(self._govern)
        for _ in range(self.rng.randrange(1, 4)):
            self._later(lambda: self.rng.choice(self.honest).back_up())
        for _ in range(self.rng.randrange(2, 7)):
            step, fault = self.rng.choice(STEPS), self.rng.choice(list(FAULTS))
            self.steps.arm(self.rng, step, fault, self._striker(fault))
        for _ in range(self.rng.randrange(4)):
            self._later(self._mishap)
        self.plots.plan(RUN_S)

    def _found(self, peer: Peer) -> None:
        """Somebody founds the fleet; tried again until it is there."""
        if peer.fleet is None and self.fleet is None and self.loop.time() < RUN_S:
            self._act(peer, actions.found)
            self.loop.call_later(3, self._found, peer)

    def _later(self, do: Callable[[], object]) -> None:
        self.loop.call_at(1 + self.rng.random() * (RUN_S - 1), do)

    def _striker(self, fault: str) -> Callable[[object, str], bool]:
        def strike(peer: object, step: str) -> bool:
            assert isinstance(peer, Peer)
            struck = True
            try:
                struck = FAULTS[fault](self, peer, step)
            finally:
                if struck:
                    self.note(peer, f"{fault} at {step}")
            return struck

        return strike

    def _mishap(self) -> None:
        """A fault at any moment."""
        peer, fault = self.rng.choice(self.honest), self.rng.choice(list(FAULTS))
        if peer.up:
            self.note(peer, fault)
            FAULTS[fault](self, peer, "")

    def _act(self, peer: Peer, do: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        self.person(peer, lambda: do(self, peer, *args))

    def person(self, peer: Peer, do: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Somebody at a peer does something, and may be refused."""

        async def try_it() -> None:
            with contextlib.suppress(*REFUSED):
                await do()

        if peer.up:
            peer.spawn(try_it())

    def _daily(self) -> None:
        peer = self.rng.choice(self.peers)
        if peer.fleet is not None or self.rng.random() < 0.3:
            self._act(peer, self.rng.choice(actions.DAILY))

    def _admin(self) -> Peer | None:
        """An honest peer that may administer, as it believes itself; not one that is just joining
        and believes that it is alone."""
        up = [peer for peer in self.honest if peer.up and peer.fleet is not None]
        members = [(peer, peer.live.state.members) for peer in up]
        found = [
            peer for peer, told in members if not told.alone and told.role(peer.who.author) == ADMIN
        ]
        return self.rng.choice(found) if found else None

    def let_in(self, guest: Peer) -> None:
        """Somebody invites a peer; tried again until it is in."""
        admin = self._admin()
        if guest.fleet is None and self.loop.time() < RUN_S:
            if admin is not None and admin.fleet is not None:
                role = self.rng.choice((ADMIN, ADMIN, *ROLES))
                self._act(admin, actions.invite, guest, role)
            self.loop.call_later(3, self.let_in, guest)

    def let_in_again(self, guest: Peer) -> None:
        """Somebody invites a peer whose backup is from before it was in; tried until it is.

        Whose key was stolen is not: it comes with a new one.
        """
        if guest.fleet is None and guest.who.author not in self.stolen:
            admin = self._admin()
            if admin is not None and self.fleet is not None:
                self._act(admin, actions.invite, guest, ADMIN)
            self.loop.call_later(3, self.let_in_again, guest)

    def has_admin(self) -> bool:
        """Whether an honest peer may let others in, and may sign."""
        able = [peer for peer in self.honest if peer.up and peer.fleet and peer.live.may_sign]
        able = [peer for peer in able if not peer.forked]
        return any(one.live.state.members.role(one.who.author) == ADMIN for one in able)

    def outside(self) -> list[Peer]:
        """Who was restored and could be in by now, for somebody can let it in."""
        if not self.has_admin():
            return []
        ours = [peer for peer in self.again if peer.who.author not in self.stolen]
        return [peer for peer in ours if peer.fleet is None]

    def _govern(self) -> None:
        """An admin changes who may do what."""
        admin = self._admin()
        if admin is None:
            return
        members, me = admin.live.state.members, admin.who.author
        may = [
            other
            for other in self.peers
            if other.fleet is not None and actions.may_end(members, me, other.who.author)
        ]
        if may:
            do = self.rng.choice((actions.change_role, actions.remove))
            self._act(admin, do, self.rng.choice(may))

    def copy(self, peer: Peer) -> None:
        """A disk is copied, and both copies run."""
        self.note(peer, f"is copied as {len(self.peers) + 1}")
        copy = Peer(self, len(self.peers) + 1, peer.who_number)
        self.peers.append(copy)
        copy.copied = peer.copied = True
        self.take_over(copy, peer)

    def take_over(self, copy: Peer, peer: Peer) -> None:
        """Give a fresh peer the disk of another."""
        copy.crash(back_s=0.1)
        copy.home.restore(peer.home.back_up(peer.disk), copy.disk, whole=True)

    def restored(self, peer: Peer, how: str) -> None:
        """A peer lost its newest data: only what others have can come back."""
        self.note(peer, how)
        for other in self.honest:
            for holders in other.told.spared.values():
                holders.discard(peer.number)
        names = {other.number: self.judge.ids_on_disk(other) for other in self.honest}
        del names[peer.number]
        held = {
            name: {number for number, theirs in names.items() if name in theirs}
            for name in peer.told.acked
        }
        peer.told.spared |= {name: numbers for name, numbers in held.items() if numbers}
        peer.told.acked = {name: seq for name, seq in peer.told.acked.items() if held[name]}
        if peer.fleet is None and self.fleet is not None:
            self.again.append(peer)
            self.loop.call_later(3, self.let_in_again, peer)

    # The end

    def _glance(self) -> None:
        if self.failed:
            raise self.broken(self.failed)
        if self.rng.random() < 0.2:
            self.judge.glance(self.rng.choice(self.honest))

    async def _heal(self) -> None:
        """All faults end; then everything must settle by itself."""
        self.note(None, "all faults end")
        self.healing = True
        self.steps.disarm()
        self.sides.clear()
        self.quiet()
        for wire in list(self.wires):
            wire.cut()
        for peer in self.peers:
            peer.disk.fragile, peer.disk.full, peer.skew_ms = False, False, 0
            peer.bans.clear()
            if not peer.honest:
                peer.crash(back_s=1e9)  # it has lied enough; what it told is still everywhere
            elif not peer.up:
                peer.start()
        until = self.loop.time() + SETTLE_S
        while self.loop.time() < until:
            self.dial_all()
            late = self.loop.time() > until - SETTLE_S * 3 / 4
            recovered = self.plots.recovered(late=late)
            if self.loop.time() > until - SETTLE_S / 2:
                self.plots.carry()
            if self.rng.random() < 0.3:
                self.plots.keep_flooding()
            await asyncio.sleep(LOOK_S)
            if self.failed:
                raise self.broken(self.failed)
            if recovered and self.judge.settled() and not self.outside():
                return
        raise self.broken(self.judge.why_not())
