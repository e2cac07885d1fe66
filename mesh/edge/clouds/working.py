"""The accounts that a peer works on: those that it holds keys of, and those whose key was replaced,
with the key of now that opens them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from mesh.edge.clouds.adapters import Line, open_line
from mesh.edge.clouds.former import note, opened_by
from mesh.edge.clouds.keys import Key
from mesh.edge.clouds.renting.account import Account
from mesh.policy.rentals.elsewhere import former_accounts, known_elsewhere
from mesh.state.rentals.rentals import AccountKey
from mesh.state.state import State


@final
class Working:
    """One peer's. `make` an account's actor over an adapter; `me` is this peer's key in hex."""

    def __init__(
        self, home: Path, me: str, state: Callable[[], State], make: Callable[..., Account]
    ) -> None:
        self._home: Final = home
        self._me: Final = me
        self._state: Final = state
        self._make: Final = make
        self.keyed: Final[dict[AccountKey, Account]] = {}
        self.former: Final[dict[AccountKey, Account]] = {}
        self._keys: Final[dict[AccountKey, Key]] = {}
        self._lines: Final[dict[AccountKey, Line]] = {}
        self._tasks: Final[dict[AccountKey, asyncio.Task[None]]] = {}

    def every(self) -> dict[AccountKey, Account]:
        """All of them."""
        return self.former | self.keyed

    def get(self, name: AccountKey) -> Account | None:
        """Who works on an account here, with whatever key; None where nobody does."""
        return self.keyed.get(name) or self.former.get(name)

    def elsewhere(self, name: AccountKey) -> frozenset[str]:
        """Rentals that other accounts of its provider account for."""
        return known_elsewhere(self._state().rentals, name, self.every().keys())

    async def add(self, name: AccountKey, key: Key) -> None:
        """Work on the account of a key, and on those that it opens as well; ValueError where the
        environment names an address that no key may be sent to."""
        await self._drop(name)  # a key that is back does what another did meanwhile
        self.keyed[name] = self._begin(name, key)
        self._keys[name] = key
        for former in opened_by(self._home, name):
            await self._add_former(former, name)

    async def take_over(self) -> None:
        """Go on with the machines of keys that were replaced, which a key of now lists: with that
        key, in the account where they are."""
        rentals = self._state().rentals
        for name, account in list(self.keyed.items()):
            if account.calls.trouble or name not in self._keys:
                continue  # what it listed last is old
            rows, names = list(account.calls.rows.values()), account.names
            for former in former_accounts(rentals, name, rows, names, self._me):
                if await self._add_former(former, name):
                    note(self._home, former, name[1])

    async def end(self) -> None:
        """Work on none any more; what is rented stays rented."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            await line.close()

    async def _add_former(self, former: AccountKey, name: AccountKey) -> bool:
        """Work on an account with another's key, where there is something to do, unless its own key
        is here and is taken."""
        known = self.get(former)
        if not self._is_busy(former) or (known is not None and known.calls.trouble != "auth"):
            return False
        key = self._keys[name]
        await self._drop(former)
        self.former[former] = self._begin(former, key)
        return True

    def _is_busy(self, name: AccountKey) -> bool:
        """Whether something of this peer's is open there."""
        rentals = self._state().rentals
        mine = any(one.author == self._me for one in rentals.account(*name).open())
        return mine or any(one.author == self._me for one in rentals.wanted(*name))

    def _begin(self, name: AccountKey, key: Key) -> Account:
        line = open_line(name[0], key)
        account = self._make(name, line)
        self._lines[name] = line
        self._tasks[name] = asyncio.create_task(account.run())
        return account

    async def _drop(self, name: AccountKey) -> None:
        """Work on it no more; what is under way is then unknown, as after a crash."""
        for kept in (self.keyed, self.former):
            kept.pop(name, None)
        self._keys.pop(name, None)
        task, line = self._tasks.pop(name, None), self._lines.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if line is not None:
            await line.close()
