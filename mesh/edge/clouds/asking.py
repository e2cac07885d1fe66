"""What people ask about rented machines: one is wanted, one is to be returned."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, final

from mesh.api.errors import RequestError
from mesh.api.rentals.asked import RentAsked, parse_rent
from mesh.api.rentals.rows import host_name
from mesh.edge.budgets.paying import RentalBudgets
from mesh.edge.clouds.choosing import at_most, fits, reported
from mesh.edge.clouds.keys import provider_of
from mesh.edge.clouds.prices.market import MarketWatch
from mesh.edge.clouds.renting.account import Account
from mesh.policy.rentals.caps import reserve_nusd, usual_cap_nusd
from mesh.state.facts.fact import encode
from mesh.state.facts.rental import RentalRequested, RequestEnded
from mesh.state.market.quotes import with_disk
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.state import State
from providers.rental.labels import read_any

CANCELLED: Final = "cancelled"
NO_IMAGES: Final = "machines there have a system of their own: no engine, and they take no image"
INSTALL: Final = "say --setup COMMAND, which installs an engine there"
AccountKey = tuple[str, str]
Emit = Callable[[str, dict[str, object]], Awaitable[object]]


class Held(Protocol):
    """The accounts that this peer holds keys of."""

    accounts: dict[AccountKey, Account]
    market: MarketWatch

    def account(self, name: AccountKey) -> Account | None:
        """Who works on an account here, also where its key was replaced; None where nobody does."""

    def hosts(self) -> dict[str, str]:
        """What each rental's machine is called among this peer's hosts."""

    def renamed(self) -> None:
        """Labels use the fleet's name of this moment."""


@final
class Asking:
    """One peer's. Everything asked is an event before anything is done because of it."""

    def __init__(
        self,
        held: Held,
        author: str,
        state: Callable[[], State],
        emit: Emit,
        budgets: RentalBudgets | None = None,
    ) -> None:
        self._held: Final = held
        self._author: Final = author
        self._state: Final = state
        self._emit: Final = emit
        self._budgets: Final = budgets

    async def rent(self, body: Mapping[str, object]) -> Request:
        """Ask for a machine. The same request_id again is the same request."""
        asked = parse_rent(body)
        known = self.request(asked.request_id)
        if known is not None:
            return known
        name, price = self._where(asked)
        most = asked.filter.max_nusd or price
        if most is None and asked.cap_nusd is None:
            text = "nobody knows a price of such a machine yet, so nobody knows what it may cost"
            raise RequestError("NoPrice", text, "say --max-price or --cap")
        await self._demand_money(asked, name, price)
        request_id = asked.request_id or secrets.token_hex(4)
        self._held.renamed()
        profile = self._held.accounts[name].profile
        usual = usual_cap_nusd(most or 0, asked.life_ms, profile, setup=bool(asked.setup))
        fact = _fact(asked, name, request_id, most or 0, usual)
        await self._emit("rental_requested", encode(fact))
        found = self.request(request_id)
        if found is None:
            text = "this peer may not rent: it needs the role runner"
            raise RequestError("WrongRole", text, "fleet peers", 403)
        return found

    async def give_back(self, wanted: str, why: str = CANCELLED) -> dict[str, object]:
        """End a request and return its machine; by the name of either, or of its host."""
        request, rental = self._named(wanted)
        if request is not None and not request.over:
            open_ones = [one for one in self._rentals_of(request) if one.is_open]
            for one in open_ones:  # of another member's word none keeps a request from ending
                if one.author == self._author:
                    self._demand_reach(one)
            fact = RequestEnded(request_id=request.request_id, why=why)
            await self._emit("request_ended", encode(fact))
            for one in open_ones:
                await self._end_listed(one)
            return {"request_id": request.request_id, "rental_id": None}
        if rental is None:
            raise RequestError("NotFound", f"no rental {wanted[:80]!r}", "fleet rentals", 404)
        account = self._held.account((rental.provider, rental.account))
        done = account is not None and await account.give_back(rental.rental_id, why)
        if not done and rental.is_open:
            self._demand_reach(rental)
            done = await self._end_listed(rental)
        if not done:
            text = f"{rental.rental_id} is {rental.state}"
            if rental.is_open:
                text += ": who has its account returns it"
            raise RequestError("NotOpen", text, "fleet rentals -a", 409)
        return {"request_id": rental.request_id or None, "rental_id": rental.rental_id}

    def _rentals_of(self, request: Request) -> list[Rental]:
        every = self._state().rentals.every()
        return [one for one in every if one.request_id == request.request_id]

    def _demand_reach(self, one: Rental) -> None:
        """RequestError where nobody would return a machine: its account is this peer's and is not
        worked on, and no other key here lists it. Another peer's is returned by that one."""
        name = one.provider, one.account
        owner = self._state().rentals.account(*name).owner[1]
        if self._held.account(name) is not None or owner not in ("", self._author):
            return
        if self._lister(one) is not None:
            return
        found = provider_of(one.provider)
        title = one.provider if found is None else found.title
        text = (
            f"{one.rental_id} was rented with a key of {title} that is not here any more, and no"
            " key here lists its machine: this peer can't return it, and it may cost"
        )
        hint = (
            f"fleet clouds login {one.provider} with that key, or fleet return"
            f" {one.request_id or one.rental_id} at a peer with a key of that account"
        )
        raise RequestError("NoKey", text, hint, 409)

    def _lister(self, one: Rental) -> Account | None:
        """An account here, other than its own, whose key lists a machine under its label."""
        for (provider, account), held in self._held.accounts.items():
            row = held.calls.rows.get(one.instance_id)
            is_other = provider == one.provider and account != one.account
            label = read_any(held.names, row.label) if row is not None and is_other else None
            if label is not None and label[0] == one.rental_id:
                return held
        return None

    async def _end_listed(self, one: Rental) -> bool:
        """Have a machine ended by a key that lists it, where its own account is not worked on here:
        whoever has that one may be away, and finds it ended."""
        if self._held.account((one.provider, one.account)) is not None:
            return False
        held = self._lister(one)
        return held is not None and (await held.end_machine(one.instance_id))[0]

    async def _demand_money(self, asked: RentAsked, name: AccountKey, price: int | None) -> None:
        """RequestError where the budgets here have nothing for it now. Of a machine whose price
        nobody knows yet that is so where they have nothing at all; another peer's account asks
        that one's."""
        if self._budgets is None or not self._held.accounts[name].owns:
            return
        most = reserve_nusd(price, asked.life_ms) if price is not None else 1
        cheapest = most if asked.cap_nusd is None else min(most, asked.cap_nusd)
        await self._budgets.demand(self._author, name[0], asked.job_id, cheapest)

    def request(self, request_id: str) -> Request | None:
        """One by its id."""
        return self._state().rentals.requests.views.get(request_id) if request_id else None

    def _takes_images(self, name: AccountKey) -> bool:
        return bool(self._held.accounts[name].profile.default_image)

    def _named(self, wanted: str) -> tuple[Request | None, Rental | None]:
        """The request and the rental of a name; the rental is an open one, where there are several
        of a request."""
        hosts = {host: rental_id for rental_id, host in self._held.hosts().items()}
        rental_id = hosts.get(wanted, wanted)
        every = list(self._state().rentals.every())
        found = [one for one in every if rental_id in (one.rental_id, one.instance_id)]
        found += [one for one in every if wanted in (one.request_id, host_name(one))]
        # Another member can name a rental of its own as one of ours is called.
        found.sort(key=lambda one: (one.author != self._author, not one.is_open, -one.made_ms))
        rental = found[0] if found else None
        return self.request(wanted if rental is None else rental.request_id), rental

    def _where(self, asked: RentAsked) -> tuple[AccountKey, int | None]:
        """The account to rent with and the price that is known there: the cheapest that fits."""
        names = [one for one in self._held.accounts if asked.filter.provider in ("", one[0])]
        if not names:
            text = f"this peer has no key of {asked.filter.provider or 'a cloud'}"
            raise RequestError("NoAccount", text, "fleet clouds login PROVIDER", 409)
        names = [one for one in names if self._takes_images(one)] if _needs_image(asked) else names
        if not names:
            hint = "fleet rent without --image" if asked.image else INSTALL
            raise RequestError("NoImages", NO_IMAGES, hint, 409)
        sold = [with_disk(one, asked.disk_bytes) for one in self._held.market.offers]
        found = [one for one in sold if one is not None and fits(one, asked, names)]
        if found:
            best = min(found, key=lambda one: (one.hourly_nusd, one.provider, one.offer_id))
            return (best.provider, best.account), at_most(best)
        if len(names) > 1:
            text = "no offer fits now, and several clouds could be asked"
            raise RequestError("NothingFits", text, "fleet offers, or --provider NAME", 409)
        return names[0], None


def _needs_image(asked: RentAsked) -> bool:
    """Whether only a machine that runs an image will do: an engine is in one, or is set up."""
    return bool(asked.image) or (asked.engine and not asked.setup)


def _fact(
    asked: RentAsked, name: AccountKey, request_id: str, most: int, usual_cap: int
) -> RentalRequested:
    return RentalRequested(
        provider=name[0],
        account=name[1],
        request_id=request_id,
        gpu=" ".join(asked.filter.words),
        gpu_count=asked.filter.count or 0,
        memory_bytes=reported(asked),
        offer_id=asked.offer_id,
        max_hourly_nusd=most,
        life_ms=asked.life_ms,
        idle_ms=asked.idle_ms,
        cap_nusd=asked.cap_nusd or usual_cap,
        spot=asked.spot,
        disk_bytes=asked.disk_bytes,
        image=asked.image,
        job_id=asked.job_id,
        setup=asked.setup,
    )
