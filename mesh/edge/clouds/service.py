"""One peer's part in renting, put together: its accounts, the market, the machines, what is asked.

An account is worked on by whichever peer has it (ADR 0018); this one has those that it holds keys
of. A request is met for the peer that has the account, and for nobody else: another member's word
spends no money of this one.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Protocol, final

from mesh.api.errors import RequestError
from mesh.api.rentals.rows import ended_requests, orphan_row, rental_rows, request_row, sums
from mesh.config import Config
from mesh.edge.budgets.paying import RentalBudgets
from mesh.edge.clouds.adapters import Line, own_ms
from mesh.edge.clouds.asking import Asking
from mesh.edge.clouds.choosing import Chooser, with_records
from mesh.edge.clouds.keys import Account as KeyedAccount
from mesh.edge.clouds.keys import find_all, withdraw
from mesh.edge.clouds.machines import Lose, RentedMachines
from mesh.edge.clouds.prices.market import MarketWatch
from mesh.edge.clouds.renting.account import Account
from mesh.edge.clouds.renting.writing import tell
from mesh.edge.clouds.working import Working
from mesh.edge.identity import fleet_of
from mesh.edge.ssh.hosts import SshHosts
from mesh.ledger.event import Event
from mesh.policy.rentals.history import records
from mesh.policy.rentals.values import Shares
from mesh.policy.rentals.watch import flat_days, is_idle
from mesh.state.market.quotes import Quote
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import DAY_MS
from mesh.state.state import State

STEP_S: Final = 1.0  # how late a machine that is gone is let go of
RETRY_S: Final = 5.0
LOOK_MS: Final = 60_000  # between looks at what is idle or flat
NONCE: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
NONCE_CHARS: Final = 8
NAME_BYTES: Final = 4  # of a hash: a person's few fleets do not collide
MAX_ALARMS: Final = 100  # kept for `fleet rentals`; each was printed too
IDLE_PAID, FLAT_SPEND = "idle_paid", "flat_spend"

AccountKey = tuple[str, str]


class Rents(Protocol):
    """The node, as renting needs it."""

    home: Path
    config: Config
    ssh: SshHosts

    @property
    def state(self) -> State:
        """What the ledger says."""

    def now(self) -> int:
        """Milliseconds UTC."""

    def may_register(self) -> bool:
        """Whether this peer's word counts, and may be signed now."""

    async def emit(self, event_type: str, device_id: str, payload: dict[str, object]) -> Event:
        """Sign an event."""


@final
class Clouds:
    """Everything one peer does with its accounts. `about` is what its events are about: itself."""

    def __init__(
        self,
        node: Rents,
        author: str,
        about: str,
        lose: Lose,
        budgets: RentalBudgets | None = None,
    ) -> None:
        self._node: Final = node
        self._author: Final = author
        self._about: Final = about
        # A peer that rented by itself and then joined a fleet still knows its machines.
        self._alone: Final = fleet_name("", author)
        self._working: Final = Working(node.home, author, lambda: node.state, self._account)
        # Of those whose key was replaced nothing new is asked: they are not among these.
        self.accounts: dict[AccountKey, Account] = self._working.keyed
        self.keyed: tuple[KeyedAccount, ...] = ()
        self._given: Final = withdraw()  # before anything is started that would inherit them
        self.alarms: list[dict[str, object]] = []
        self._told: dict[tuple[AccountKey, str, str], int] = {}  # by day, UTC
        self._looked_ms = 0
        self._said = ""  # what went wrong last, while it does
        self._opening: Final = asyncio.Lock()
        self._budgets: Final = budgets
        self._asking: Final = Asking(self, author, lambda: node.state, self._emit, budgets)
        self._spending: Final = asyncio.Lock()
        self.machines: Final = RentedMachines(
            node.home, author, node.ssh, lambda: node.state, node.now, lose
        )
        self.market = MarketWatch(
            accounts=lambda: dict(self.accounts),
            state=lambda: node.state,
            emit=node.emit,
            now_ms=node.now,
            me=author,
            about=about,
            owner=lambda key: node.state.rentals.account(*key).owner[1],
            may_sign=node.may_register,
        )

    async def run(self) -> None:
        """Work on every account until cancelled; what is rented stays rented."""
        tasks = list[asyncio.Task[None]]()
        try:
            await self.open()
            tasks.append(asyncio.create_task(self.market.run()))
            while True:
                await asyncio.sleep(STEP_S)
                await self._tend()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._working.end()

    async def _tend(self) -> None:
        try:
            await self.machines.step()
            if self._node.now() - self._looked_ms >= LOOK_MS:
                self._looked_ms = self._node.now()
                self._rename()
                await self._take_over()
                self._look_over()
            self._said = ""
        except Exception as error:  # a full disk, or a bug of ours: tried again, told once
            if str(error) != self._said:
                tell(error)
            self._said = str(error)
            await asyncio.sleep(RETRY_S)

    def _look_over(self) -> None:
        """Tell of what no fault tells of, each thing once a day."""
        rentals, now_ms = self._node.state.rentals, self._node.now()
        self._tell_untended()
        for name in self._working.every():
            mine = [one for one in rentals.account(*name).rentals.values() if one.state]
            idle = [one for one in mine if is_idle(one, self.machines.idle_ms(one.rental_id))]
            found = [(one.rental_id, IDLE_PAID) for one in idle]
            found += [("", FLAT_SPEND)] if flat_days(mine, now_ms) else []
            for rental_id, why in found:
                self._tell_once(name, rental_id, why)

    def _tell_once(self, name: AccountKey, rental_id: str, why: str) -> None:
        day = self._node.now() // DAY_MS
        if self._told.get((name, rental_id, why)) != day:
            self._told[name, rental_id, why] = day
            self._alarm(name)(rental_id, why)

    async def open(self) -> None:
        """Look for keys, and work on the accounts that were not known before."""
        async with self._opening:
            self.keyed = await asyncio.to_thread(find_all, self._given)
            for one in self.keyed:
                name = one.provider.name, one.account
                if one.key is None or name in self.accounts:
                    continue
                try:
                    await self._working.add(name, one.key)
                except ValueError as error:
                    self._alarm(name)("", str(error))
            self._tell_untended()

    def account(self, name: AccountKey) -> Account | None:
        """Who works on an account here, with whatever key; None where nobody does."""
        return self._working.get(name)

    async def _take_over(self) -> None:
        async with self._opening:
            await self._working.take_over()

    def _tell_untended(self) -> None:
        """Machines that this peer rented and can't return: no key here opens their account. Whether
        another key of their provider does is known once that has listed its machines."""
        for one in self._node.state.rentals.every():
            name = one.provider, one.account
            others = [each for key, each in self.accounts.items() if key[0] == one.provider]
            asked = all(each.listed_ms_ago is not None for each in others)
            if one.is_open and one.author == self._author and not self.account(name) and asked:
                self._tell_once(name, one.rental_id, "no_key")

    def _account(self, name: AccountKey, line: Line) -> Account:
        node = self._node
        chooser = Chooser(name, lambda: node.state, node.now, self._author)
        found = Account(
            name[1],
            line.cloud,
            line.wire,
            peer=self._author,
            mesh=self._alone,
            state=lambda: node.state,
            emit=self._emit,
            offers=chooser,
            ladder=self.machines,
            keys=self.machines.keys,
            alarm=self._alarm(name),
            shares=self._shares,
            nonce=lambda: "".join(secrets.choice(NONCE) for _ in range(NONCE_CHARS)),
            own_ms=own_ms,
            may_act=node.may_register,
            spending=self._spending,
            budgets=self._budgets,
            elsewhere=lambda: self._working.elsewhere(name),
        )
        chooser.ask = found.offers
        found.names = self._names()
        return found

    async def _emit(self, kind: str, payload: dict[str, object]) -> object:
        return await self._node.emit(kind, self._about, payload)

    def _names(self) -> tuple[str, ...]:
        """What labels call this fleet, and what they called it while this peer was alone."""
        fleet = fleet_of(self._node.home)
        now = fleet_name("" if fleet is None else fleet.root, self._author)
        return tuple(dict.fromkeys((now, self._alone)))

    def _rename(self) -> None:
        """A peer that joined a fleet looks for the fleet's labels, and for its own of before."""
        every = self._working.every().values()
        names = self._names() if every else ()
        for account in every:
            account.names = tuple(dict.fromkeys((*names, *account.names)))

    def _shares(self) -> Shares:
        config = self._node.config
        return Shares(day_nusd=config.rent_day_nusd, month_nusd=config.rent_month_nusd)

    def _alarm(self, name: AccountKey) -> Callable[[str, str], None]:
        def tell(rental_id: str, why: str) -> None:
            # A rental's name may be another member's: nothing of it moves a terminal's cursor.
            what = "".join(c for c in rental_id if c.isprintable()) or f"account {name[1]}"
            print(f"fleet: {name[0]} {what}: {why}", file=sys.stderr, flush=True)
            said = {"provider": name[0], "account": name[1], "rental_id": rental_id or None}
            self.alarms.append({**said, "why": why, "at_ms": self._node.now()})
            del self.alarms[:-MAX_ALARMS]

        return tell

    def notice(self) -> None:
        """The state changed."""
        for account in self._working.every().values():
            account.notice()

    # What is asked.

    async def rent(self, body: Mapping[str, object]) -> dict[str, Any]:
        """Ask for a machine; its request's row."""
        request = await self._asking.rent(body)
        self.notice()
        return self._request_row(request)

    async def give_back(self, wanted: str) -> dict[str, object]:
        """Return a machine, by its name, its rental's or its request's."""
        await self._take_over()  # its key may have been replaced a moment ago
        done = await self._asking.give_back(wanted)
        self.notice()
        return done

    def renamed(self) -> None:
        """Labels use the fleet's name of this moment, and know those before."""
        self._rename()

    # What is shown.

    def rows(self, *, ended: bool) -> dict[str, object]:
        """Rentals, the requests that wait, and what is wrong; with those that ended, why requests
        did."""
        state, now_ms = self._node.state, self._node.now()
        rentals = rental_rows(state, now_ms, self.hosts(), ended=ended)
        requests = [one for one in state.rentals.requests.views.values() if not one.over]
        return {
            "rentals": rentals,
            "requests": [self._request_row(one) for one in requests],
            "ended_requests": ended_requests(state) if ended else [],
            "alarms": list(self.alarms),
            **sums(rentals),
        }

    def _request_row(self, one: Request) -> dict[str, Any]:
        account = self.account((one.provider, one.account))
        why = "" if account is None else account.reasons.get(one.request_id, "")
        owner = self._node.state.rentals.account(one.provider, one.account).owner[1]
        if one.author == self._author and owner not in ("", self._author):
            why = why or "another_has_it"  # whose own reasons stay there
        elif one.author == self._author and account is None:
            why = "key_replaced"
        return request_row(self._node.state, one, why)

    def hosts(self) -> dict[str, str]:
        """What each rental's machine is called among this peer's hosts."""
        return {rental_id: known.name for rental_id, known in self._node.ssh.rents()}

    def known(self) -> tuple[Quote, ...]:
        """Every price this peer knows, with what past rentals teach of each host."""
        known = records(self._node.state.rentals.every())
        return with_records(self.market.known(), known)

    def check(self) -> list[dict[str, object]]:
        """Each provider: whether it can be used, what does not work, and what would help."""
        from mesh.edge.clouds.checking import check_row

        return [
            check_row(one, self.accounts.get((one.provider.name, one.account)), self.market)
            for one in self.keyed
        ]

    async def orphans(self) -> list[dict[str, Any]]:
        """Machines with our labels, as last listed, that the ledger does not want."""
        state, found = self._node.state, dict[AccountKey, dict[str, Any]]()
        for name, account in self.accounts.items():
            for row in account.calls.rows.values():
                orphan = orphan_row(state, name, row, account.names, account.clock.now())
                if orphan is not None:  # two keys of one account list it: the later is taken
                    found[name[0], row.instance_id] = dict(orphan)
        return list(found.values())

    async def take(self, provider: str) -> dict[str, object]:
        """Rent with a provider's account from now on, whoever had it: a person says so."""
        for name, account in self.accounts.items():
            if name[0] == provider:
                if not await account.take():
                    text = f"another member keeps the account at {provider} for itself"
                    raise RequestError("NotTaken", text, "fleet peers remove NAME", 409)
                account.notice()
                return {"provider": provider, "account": name[1]}
        text = f"this peer has no key of {provider[:40]}"
        raise RequestError("NoAccount", text, "fleet clouds login PROVIDER", 409)

    async def kill(self, instance: str) -> dict[str, object]:
        """Ask for the end of an orphan, which stays watched until it is proved absent."""
        for one in await self.orphans():
            if one["instance"] == instance:
                account = self.accounts[one["provider"], one["account"]]
                taken, unwritten = await account.end_machine(instance)
                return {"instance": instance, "asked": taken, "unwritten": unwritten or None}
        text = f"no orphan {instance[:80]!r} is listed"
        raise RequestError("NotFound", text, "fleet orphans", 404)


def fleet_name(root: str, author: str) -> str:
    """What the fleet of a founder is called in labels at providers: the same on every peer of it;
    a peer without a fleet founds one by itself."""
    return blake2b((root or author).encode(), digest_size=NAME_BYTES).hexdigest()
