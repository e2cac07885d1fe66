"""Rented machines as this peer's hosts: their keys, how far they came, what runs on them.

A machine is reached by a key of its own and known by the host key that was put into it: no other
machine can pass for it. What runs there is lost where it is taken away, and booked so.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Set
from pathlib import Path
from typing import Final, final

import msgspec

from mesh.api.rentals.rows import host_name
from mesh.edge.clouds.adapters import own_ms
from mesh.edge.clouds.renting.ports import Found, MachineKeys, Needs, Work
from mesh.edge.clouds.setups import Setups
from mesh.edge.disk import explained, write_private
from mesh.edge.ssh.book import Rent
from mesh.edge.ssh.devices import is_of
from mesh.edge.ssh.hosts import Known, SshHosts
from mesh.state.jobs import AttemptView, JobView
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.terms import LIVE
from mesh.state.state import State
from providers.rental.contract import STEPS, SshAt
from providers.ssh.bring.engines import engines_for
from providers.ssh.hosts import Hop, Host, host_of
from providers.ssh.keys import new_key

FOLDER: Final = "rentals"
_FOLDER: Final = re.compile(r"[a-z0-9]{1,40}(?:\.[A-Za-z0-9_-]{1,100})?")
LOGIN: Final = "login"  # the private key by which a machine is entered

Lose = Callable[[Set[str], int], Awaitable[None]]


@final
class KeyFiles:
    """A folder for each rental's key: private to this peer, in no event, gone with the machine."""

    def __init__(self, home: Path) -> None:
        self._folder: Final = home / FOLDER

    async def make(self, rental_id: str) -> MachineKeys:
        """New ones; the private key of the host goes to the machine alone."""
        return await asyncio.to_thread(self._make, rental_id)

    def login(self, rental_id: str) -> Path | None:
        """The key to a machine; None where another peer has it."""
        if _FOLDER.fullmatch(rental_id) is None:  # the ledger's word: it may name anything
            return None
        path = self._folder / rental_id / LOGIN
        return path if path.is_file() else None

    def forget(self, rental_ids: Set[str]) -> None:
        """Forget the keys of machines that are gone. Others stay: an intent may not be written
        yet."""
        there = self._folder.iterdir() if self._folder.is_dir() else ()
        for folder in [one for one in there if one.name in rental_ids]:
            shutil.rmtree(folder, ignore_errors=True)

    def _make(self, rental_id: str) -> MachineKeys:
        folder = self._folder / rental_id
        login, user = new_key()
        private, host = new_key()
        with explained("cannot keep a machine's keys"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(folder / LOGIN, login)
        return MachineKeys(user_public_key=user, host_private_key=private, host_public_key=host)


@final
class RentedMachines:
    """Those of one peer. `lose` books what ran on devices that were taken away."""

    def __init__(
        self,
        home: Path,
        author: str,
        ssh: SshHosts,
        state: Callable[[], State],
        now_ms: Callable[[], int],
        lose: Lose,
        own_ms: Callable[[], int] = own_ms,
    ) -> None:
        self.keys: Final = KeyFiles(home)
        self._author: Final = author
        self._ssh: Final = ssh
        self._state: Final = state
        self._now_ms: Final = now_ms
        self._lose: Final = lose
        self._own_ms: Final = own_ms  # goes evenly: a clock that is set ends no machine as idle
        self._forgotten = set[str]()  # rentals whose keys are gone
        self._setups: Final = Setups()
        self._idle_since: dict[str, int] = {}  # rental -> when nothing ran there for the first time

    async def probe(self, rental: Rental, ssh: SshAt, needs: Needs) -> Found:
        """How far a machine that is up came; it becomes a host of this peer, its cards devices."""
        host = self._host(rental, ssh)
        if host is None:
            return ""
        hourly = rental.price_nusd or rental.quote_nusd
        rent = Rent(rental_id=rental.rental_id, provider=rental.provider, hourly_nusd=hourly)
        known = await self._ssh.rent(host, rent)
        if not await self._ssh.look(known):
            return "host_key" if known.status == "key_changed" else ""
        if needs.setup and rental.step < len(STEPS):
            ready = await self._setups.ready(known, rental.rental_id, needs.setup)
            if ready == "failed":
                return "setup_failed"
            if ready == "runs":
                return "sshd"
            if ready == "ended":
                await self._ssh.probe(known.name)  # what was installed is to be found
        return "engine" if may_work(known, needs_engine=needs.engine) else "sshd"

    async def work(self, rental: Rental) -> Work:
        """How it stands with what a machine was rented for."""
        state, now_ms = self._state(), self._own_ms()
        request = state.rentals.requests.views.get(rental.request_id)
        attempts = list(self._attempts(state, rental))
        if any(one.alive for _, one in attempts):
            self._idle_since.pop(rental.rental_id, None)
            return "begun"
        job = None if request is None else state.jobs.get(request.job_id)
        if job is not None and job.ended:
            return "job_done"
        since = self._idle_since.setdefault(rental.rental_id, now_ms)
        if request is not None and 0 < request.idle_ms <= now_ms - since:
            return "idle"
        return "begun" if attempts else "none"

    def idle_ms(self, rental_id: str) -> int | None:
        """For how long nothing ran on a machine that this peer looks into; None where it does
        not."""
        since = self._idle_since.get(rental_id)
        return None if since is None else self._own_ms() - since

    async def step(self) -> None:
        """Let go of the machines that are returned or lost, and of the keys of those gone."""
        rentals = {one.rental_id: one for one in self._state().rentals.every()}
        for rental_id, known in self._ssh.rents():
            one = rentals.get(rental_id)
            if one is None or not one.wanted or one.state not in LIVE:
                await self._lose(self._device_ids(known), self._now_ms())
                await self._ssh.give_back(rental_id)
                self._idle_since.pop(rental_id, None)
                self._setups.forget(rental_id)
        gone = {key for key, one in rentals.items() if not one.is_open}
        if not gone <= self._forgotten:  # not a look at the disk each second
            await asyncio.to_thread(self.keys.forget, gone - self._forgotten)
        self._forgotten = gone

    def _host(self, rental: Rental, ssh: SshAt) -> Host | None:
        """The way into it; None where this peer has no key of it, or the provider names no way."""
        login = self.keys.login(rental.rental_id)
        if login is None or not rental.host_key:
            return None
        hop = Hop(
            host=ssh.host, user=ssh.user, port=ssh.port, keys=(str(login),), pin=rental.host_key
        )
        try:  # what a provider names may be anything
            return host_of(msgspec.to_builtins(Host(name=host_name(rental), hop=hop)))
        except msgspec.ValidationError:
            return None

    def _device_ids(self, known: Known) -> set[str]:
        every = list(self._state().devices)
        return {key for key in every if is_of(key, self._author, known.name)}

    def _attempts(self, state: State, rental: Rental) -> Iterator[tuple[JobView, AttemptView]]:
        host = host_name(rental)
        for job in list(state.jobs.values()):
            for one in job.attempts:
                if one.owner == self._author and is_of(one.device_id, self._author, host):
                    yield job, one


def may_work(known: Known, *, needs_engine: bool) -> bool:
    """Whether jobs can run there: its cards are devices, and an engine was found where one must
    be."""
    if known.facts is None or not known.registered:
        return False
    found = (engines_for(known.facts, processor=processor) for processor in (False, True))
    return not needs_engine or any(found)
