"""The hosts this peer adopted: kept, probed each minute, registered as its devices.

A peer that may not sign yet probes all the same and registers later. What a probe could not learn
leaves the last inventory as it was: a driver that does not answer is no card less.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import msgspec

from mathcore.device import DeviceSpec
from mesh.api.errors import RequestError
from mesh.config import Config
from mesh.edge.disk import StoreError
from mesh.edge.inventory import READINGS
from mesh.edge.ssh.book import Adopted, Book, Rent
from mesh.edge.ssh.devices import is_of, live, numbered, registrations
from mesh.edge.ssh.engines import HostEngines
from mesh.edge.ssh.forgotten import forgotten_on
from mesh.edge.ssh.merging import merged
from mesh.state.facts.device import DeviceRemoved
from mesh.state.facts.fact import encode
from mesh.state.peer_id import short_id
from mesh.state.state import State
from providers.base import ProviderError
from providers.ssh.attempts import SshAttempts
from providers.ssh.bring.engines import why_none
from providers.ssh.bring.models import HostModels
from providers.ssh.client import KeyChanged, NeedsLogin, Unreached, fingerprint
from providers.ssh.hosts import Host, host_of
from providers.ssh.pool import Gates, Reach
from providers.ssh.probe import probe
from providers.ssh.reading.facts import HostFacts

PROBE_EVERY_S: Final = 60.0
ALL_EVERY_S: Final = 86_400.0  # a card or a driver added since, engines installed
MAX_PROBES: Final = 8  # at once: each is a moment of parsing here
LOOK_EVERY_S: Final = 1.0
CPU_LOCK: Final = "cpu"
# What a rented machine, which is a stranger's, may have told of itself: 16 cards and its processor,
# some times over. It could show other ones at each look, and each would be an event for ever.
MAX_TOLD: Final = 64

Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]


@final
@dataclass(slots=True)
class Known:
    """What is known of one host; instants are of the monotonic clock, -inf = never."""

    adopted: Adopted
    reach: Reach
    attempts: SshAttempts
    facts: HostFacts | None = None
    trouble: ProviderError | None = None
    tried_s: float = float("-inf")
    live_s: float = float("-inf")
    all_s: float = float("-inf")
    registered: bool = False
    told: int = 0  # events of its devices
    engines: HostEngines | None = None
    probing: asyncio.Lock | None = None

    @property
    def name(self) -> str:
        """What it is called here."""
        return self.adopted.host.name

    def card(self, number: str) -> str:
        """What shows an engine the card that a device of this host is named by."""
        cards, lock = () if self.facts is None else self.facts.cards, self.lock(number)
        return next((one.select for one in cards if one.lock == lock), number)

    def lock(self, number: str) -> str:
        """What locks that card on the host, for every peer that reaches it; "cpu" its processor."""
        at = int(number) if number.isdecimal() else len(self.adopted.cards)
        return self.adopted.cards[at] if at < len(self.adopted.cards) else CPU_LOCK

    @property
    def status(self) -> str:
        """ "ready", "new", or what keeps it from being reached."""
        if isinstance(self.trouble, NeedsLogin):
            return "needs_login"
        if isinstance(self.trouble, KeyChanged):
            return "key_changed"
        if self.trouble is not None:
            return "unreached" if isinstance(self.trouble, Unreached) else "unusable"
        return "ready" if self.facts is not None else "new"


@final
class SshHosts:
    """Adopted hosts of one peer; `may_register` says whether its word on devices counts now."""

    def __init__(
        self,
        home: Path,
        config: Config,
        author: str,
        state: Callable[[], State],
        emit: Emit,
        may_register: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._book = Book(home)
        self._config = config
        self._author = author
        self._state = state
        self._emit = emit
        self._may_register = may_register
        self._now = now
        self._gates = Gates()
        self._slots = asyncio.Semaphore(MAX_PROBES)
        self._known: dict[str, Known] = {}

    async def run(self) -> None:
        """Probe each host when its time comes, until cancelled; then give the connections up."""
        try:
            self._book.load()
        except StoreError as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
        for adopted in self._book.hosts.values():
            self._know(adopted)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                for known in [one for one in self._known.values() if self._due(one)]:
                    known.tried_s = self._now()
                    task = asyncio.create_task(self._quietly(known))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for known in self._known.values():
                await known.attempts.close()
                await known.reach.close()

    def attempts(self, device_id: str) -> SshAttempts | None:
        """What runs attempts on the host of a device; None where that is none of ours."""
        known = self.known(device_id)
        return None if known is None else known.attempts

    def known(self, device_id: str) -> Known | None:
        """The host of a device; None where that is none of ours."""
        for name, known in self._known.items():
            if is_of(device_id, self._author, name):
                return known
        return None

    def live(self, state: State) -> list[DeviceSpec]:
        """The hosts' devices with the free memory of their last probe, where that is fresh."""
        found: list[DeviceSpec] = []
        for name, one in self._known.items():
            if one.facts is not None and self._now() - one.live_s < 2 * PROBE_EVERY_S:
                found += live(state, self._author, name, one.facts, one.adopted.cards)
        return found

    def rows(self) -> list[dict[str, object]]:
        """Every host, as JSON."""
        return [self._row(one) for _, one in sorted(self._known.items())]

    async def adopt(self, given: Mapping[str, object]) -> dict[str, object]:
        """Take a host in, or take its new way in; probed at once, kept also where it is away
        now."""
        try:
            host = host_of(given)
        except msgspec.ValidationError as error:
            raise RequestError("BadField", str(error), "fleet ssh add user@host") from error
        before = self._known.get(host.name)
        if before is not None:
            _same(before.adopted.host, host)
            _not_rented(before)
        return await self._asked(await self._take(host, None))

    async def rent(self, host: Host, rent: Rent) -> Known:
        """Take in a rented machine, or its new way in or price; probed when its time comes."""
        before = self._known.get(host.name)
        if before is not None and (before.adopted.host, before.adopted.rent) == (host, rent):
            return before
        return await self._take(host, rent)

    async def give_back(self, rental_id: str) -> None:
        """A rented machine is gone, or soon will be: nothing is sent there any more."""
        for of, known in self.rents():
            if of == rental_id:
                await self._let_go(known, "returned")

    def rents(self) -> list[tuple[str, Known]]:
        """The rented machines, by their rentals."""
        every = list(self._known.values())
        return [(one.adopted.rent.rental_id, one) for one in every if one.adopted.rent]

    async def _take(self, host: Host, rent: Rent | None) -> Known:
        before = self._known.get(host.name)
        cards = before.adopted.cards if before else ()
        adopted = Adopted(host=host, cards=cards, rent=rent)
        await asyncio.to_thread(self._book.put, adopted)
        if before is not None:
            await before.reach.close()
        return self._know(adopted)

    async def probe(self, name: str) -> dict[str, object]:
        """Ask a host for everything now."""
        known = self._need(name)
        known.reach.retry()
        return await self._asked(known)

    async def look(self, known: Known) -> bool:
        """Ask a rented machine how it is now; whether it answered and was read whole."""
        if self._known.get(known.name) is not known:
            return False
        known.reach.retry()
        with contextlib.suppress(ProviderError):
            await self._look(known, everything=known.facts is None or not known.facts.whole)
            return known.facts is not None and known.facts.whole
        return False

    async def remove(self, name: str) -> dict[str, object]:
        """Let a host go, its devices too; what runs there goes on."""
        known = self._need(name)
        _not_rented(known)
        return {"name": name, "removed": await self._let_go(known, "ssh rm")}

    async def _let_go(self, known: Known, reason: str) -> list[str]:
        """Forget a host; the ids of its devices, which are removed."""
        name = known.name
        await asyncio.to_thread(self._book.drop, name)
        del self._known[name]
        await known.attempts.close()
        await known.reach.close()
        gone = [key for key in list(self._state().devices) if is_of(key, self._author, name)]
        for device_id in gone:
            await self._emit("device_removed", device_id, encode(DeviceRemoved(reason=reason)))
        return gone

    def _know(self, adopted: Adopted) -> Known:
        reach = Reach(adopted.host, self._gates, self._now)
        known = Known(adopted, reach, SshAttempts(reach), probing=asyncio.Lock())
        models = HostModels(reach, short_id(self._author), adopted.host.name, reach.retry)
        known.engines = HostEngines(reach, models, adopted.host.name, lambda: known.facts)
        self._known[adopted.host.name] = known
        return known

    def _need(self, name: str) -> Known:
        if name not in self._known:
            raise RequestError("NotFound", f"no SSH host {name[:40]!r}", "fleet ssh ls", 404)
        return self._known[name]

    def _due(self, known: Known) -> bool:
        pending = known.facts is not None and not known.registered and self._may_register()
        return pending or self._now() - known.tried_s >= PROBE_EVERY_S

    async def _quietly(self, known: Known) -> None:
        try:
            await self._look(known, everything=self._now() - known.all_s >= ALL_EVERY_S)
        except ProviderError:
            pass  # the host's row says it
        except StoreError as error:
            print(f"fleet: {error.text}; {error.hint}", file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()  # a bug of ours costs this host a minute, no other anything

    async def _asked(self, known: Known) -> dict[str, object]:
        with contextlib.suppress(ProviderError):  # the row says it
            await self._look(known, everything=True)
        return self._row(known)

    async def _look(self, known: Known, *, everything: bool) -> None:
        """Probe a host and register what is new; never twice at once, for a probe may hang."""
        assert known.probing is not None
        async with known.probing, self._slots:
            known.tried_s = self._now()
            try:
                rented = known.adopted.rent is not None
                found = await probe(known.reach, everything=everything, rented=rented)
            except ProviderError as error:
                known.trouble = error
                raise
            known.trouble, known.live_s = None, self._now()
            known.facts = merged(known.facts, found)
            if everything:
                known.all_s = self._now()
                self._equip(known, known.facts)
            await self._register(known, known.facts)
            await self._forget(known)

    async def _forget(self, known: Known) -> None:
        """Remove there what a person forgot here; what runs yet, or is not reached, waits."""
        for one in await asyncio.to_thread(forgotten_on, self._home, known.name):
            with contextlib.suppress(ProviderError):
                await known.attempts.forget(one.job_id, one.attempt)
                await asyncio.to_thread(one.file.unlink, missing_ok=True)

    def _equip(self, known: Known, facts: HostFacts) -> None:
        """The best supervisor the host can run."""
        if (known.attempts.python, known.attempts.wrap) != (facts.python, facts.can_unshare):
            known.attempts.equip(python=facts.python, wrap=facts.can_unshare)

    async def _register(self, known: Known, facts: HostFacts) -> None:
        order = numbered(known.adopted.cards, facts.cards)
        if order != known.adopted.cards:
            known.adopted = msgspec.structs.replace(known.adopted, cards=order)
            await asyncio.to_thread(self._book.put, known.adopted)
        if not facts.whole or not self._may_register():
            return
        name = known.adopted.host.name
        rent = known.adopted.rent
        found = registrations(self._author, name, facts, order, self._config, rent)
        for device_id, payload in found:
            if self._differs(device_id, payload):
                if rent is not None and known.told >= MAX_TOLD:
                    break
                known.told += 1
                await self._emit("device_registered", device_id, payload)
        known.registered = True

    def _differs(self, device_id: str, fact: Mapping[str, object]) -> bool:
        view = self._state().devices.get(device_id)
        old = {} if view is None else {k: v for k, v in view.payload.items() if k not in READINGS}
        return old != {k: v for k, v in fact.items() if k not in READINGS}

    def _row(self, known: Known) -> dict[str, object]:
        host, facts, trouble = known.adopted.host, known.facts, known.trouble
        sending = None if known.engines is None else known.engines.models.sending
        age = None if facts is None else int(1000 * (self._now() - known.live_s))
        return {
            "name": host.name,
            "destination": host.hop.shown,
            "jumps": [hop.shown for hop in host.jumps],
            "status": known.status,
            "text": trouble.text if trouble else "",
            "hint": trouble.hint if trouble else "",
            "age_ms": age,
            "facts": None if facts is None else msgspec.to_builtins(facts),
            "lacks": "" if facts is None else why_none(facts, host.name),
            "sending": None if sending is None else msgspec.to_builtins(sending),
            "devices": [
                key for key in list(self._state().devices) if is_of(key, self._author, host.name)
            ],
        }


def _same(known: Host, given: Host) -> None:
    """RequestError where a name would mean another machine, or a key would change unsaid."""
    hint = f"fleet ssh rm {known.name} first, if that is right"
    if (known.hop.host, known.hop.port) != (given.hop.host, given.hop.port):
        raise RequestError("HostExists", f"{known.name} is {known.hop.shown}", hint, 409)
    if known.hop.pin != given.hop.pin:
        prints = f"pinned {fingerprint(known.hop.pin)}, offered {fingerprint(given.hop.pin)}"
        text = f"{known.name}: the host key is another: {prints}"
        raise RequestError("HostKeyChanged", text, hint, 409)


def _not_rented(known: Known) -> None:
    """RequestError for a rented machine: it is paid for until it is returned."""
    if known.adopted.rent is not None:
        text = f"{known.name} is a rented machine, and paid for until it is returned"
        raise RequestError("Rented", text, f"fleet return {known.adopted.rent.rental_id}", 409)
