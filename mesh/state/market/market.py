"""What can be rented, as peers with accounts say: the latest of each account, and a thinned week.

Of one account of one author a slot of six hours keeps the last whole refresh that was said in it,
and only the newest slots stay; what moved since the newest of them is kept beside it. All of that
is a function of what was said, in whatever order. Who said it last for an account counts now; what
was usual is the median over everybody's slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from mathcore.units import DAY_MS, HOUR_MS
from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode_once
from mesh.state.facts.offers import OffersRefreshed
from mesh.state.jobs import Key
from mesh.state.market.groups import MAX_ROWS, Group, Kind, Place, read_rows

# A price of today is told from that of a day or a week by four looks a day; a refresh of 96 rows is
# 10 KB here, so an account's week 280 KB.
SLOT_MS: Final = 6 * HOUR_MS
KEPT_SLOTS: Final = 28
TRAILING_MS: Final = 7 * DAY_MS
# Of one author. A person has one account at a provider, seldom two; those of first names stay.
MAX_ACCOUNTS: Final = 16
LEAST_SAMPLES: Final = 3  # slots of one kind that make a usual price
MAX_NAME: Final = 40  # of a provider and of an account


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """What an account saw at once; `at_ms` by the clock that is behind, its author's or its own."""

    key: Key
    at_ms: int
    rows: tuple[Group, ...]
    offers: int
    refused: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A row that was said after the last whole refresh."""

    key: Key
    row: Group


@dataclass(slots=True)
class Told:
    """What one author said of one account: refreshes by slot, what moved, when it last looked."""

    slots: dict[int, Refresh] = field(default_factory=dict)
    moved: dict[Place, Moved] = field(default_factory=dict)
    seen_ms: int = 0

    def move(self, key: Key, rows: tuple[Group, ...]) -> None:
        """Keep rows that are newer than what was said of them, and than the last refresh."""
        last = self.last
        for row in rows if last is None or last.key < key else ():
            known = self.moved.get(row.place)
            if known is None or known.key < key:
                self.moved[row.place] = Moved(key, row)
        while len(self.moved) > MAX_ROWS:
            del self.moved[max(self.moved)]

    def add(self, one: Refresh) -> None:
        """Keep a refresh as its slot's last, if its slot is one of the newest."""
        slot = one.key[0] // SLOT_MS
        newest = max(self.slots, default=slot)
        known = self.slots.get(slot)
        if slot > newest - KEPT_SLOTS and (known is None or known.key < one.key):
            self.slots[slot] = one
        for old in [one for one in self.slots if one <= max(newest, slot) - KEPT_SLOTS]:
            del self.slots[old]
        last = self.last
        if last is not None:
            self.moved = {name: row for name, row in self.moved.items() if row.key > last.key}

    @property
    def last(self) -> Refresh | None:
        """The newest refresh with rows."""
        return max(list(self.slots.values()), key=lambda one: one.key, default=None)

    def rows(self) -> tuple[Group, ...]:
        """What holds now."""
        last = self.last
        found = {row.place: row for row in (() if last is None else last.rows)}
        found |= {name: one.row for name, one in list(self.moved.items())}
        return tuple(found[name] for name in sorted(found) if found[name].n > 0)


Account = tuple[str, str]  # provider, account


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """What an account saw last, and whose word that is; its counts are the last whole refresh's."""

    provider: str
    account: str
    author: str
    seen_ms: int  # when it was last so
    rows: tuple[Group, ...]
    offers: int
    refused: int
    left_out: int


@dataclass(slots=True)
class Market:
    """Every author's word on what can be rented.

    Plans read it in threads, so each loop takes a copy of what the owner loop may fold into.
    """

    words: dict[str, dict[Account, Told]] = field(default_factory=dict)  # by author

    def take(self, event: Event) -> None:
        """Fold one `offers_refreshed` in."""
        fact, key = decode_once(OffersRefreshed, event.payload), order_key(event)
        name = fact.provider, fact.account
        if not all(0 < len(one) <= MAX_NAME and one.isprintable() for one in name):
            return
        accounts = self.words.setdefault(event.author, {})
        told = accounts.setdefault(name, Told())
        at_ms = min(fact.refreshed_ms or key[0], key[0])
        told.seen_ms = max(told.seen_ms, at_ms)
        if fact.partial:
            told.move(key, read_rows(fact.rows))
        else:
            told.add(_refresh(fact, key, at_ms))
        if len(accounts) > MAX_ACCOUNTS:
            del accounts[max(accounts)]

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def latest(self) -> dict[Account, Latest]:
        """Of each account what was seen last, whoever said it; of two at once the smaller key's."""
        found: dict[Account, Latest] = {}
        for author in sorted(self.words):
            for name, told in list(self.words.get(author, {}).items()):
                known, last = found.get(name), told.last
                if last is not None and (known is None or known.seen_ms < told.seen_ms):
                    found[name] = _latest(name, author, last, told)
        return dict(sorted(found.items()))

    def own(self, author: str, account: Account) -> Told:
        """What an author said of an account."""
        return self.words.get(author, {}).get(account) or Told()

    def history(self, provider: str, now_ms: int, author: str = "") -> Iterator[Refresh]:
        """What was seen at a provider in the week before, a refresh a slot, author and account;
        with `author` what that one saw."""
        for who, accounts in list(self.words.items()):
            if author not in ("", who):
                continue
            for (name, _), told in list(accounts.items()):
                for one in list(told.slots.values()) if name == provider else ():
                    if one.at_ms > now_ms - TRAILING_MS:
                        yield one

    def usual(self, provider: str, now_ms: int, me: str = "") -> dict[Kind, Usual]:
        """What each kind of machine cost at a provider over the week before: as `me` saw it, where
        that is often enough, else as everybody did. So no other member's word makes a price
        believed, or not, that this peer saw often itself."""
        found = _medians(self.history(provider, now_ms))
        own = _medians(self.history(provider, now_ms, me)) if me else {}
        return found | {kind: one for kind, one in own.items() if one.samples >= LEAST_SAMPLES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """The median of a kind's medians, and of how many slots."""

    median_nusd: int
    samples: int


def _medians(history: Iterator[Refresh]) -> dict[Kind, Usual]:
    """One sample a refresh and kind: the middle one of its regions'."""
    samples: dict[Kind, list[int]] = {}
    for one in history:
        regions: dict[Kind, list[int]] = {}
        for row in one.rows:
            regions.setdefault(row.kind, []).append(row.median_nusd)
        for kind, prices in regions.items():
            samples.setdefault(kind, []).append(median_low(prices))
    return {
        kind: Usual(median_nusd=median_low(prices), samples=len(prices))
        for kind, prices in samples.items()
    }


def _refresh(fact: OffersRefreshed, key: Key, at_ms: int) -> Refresh:
    return Refresh(
        key=key,
        at_ms=at_ms,
        rows=tuple(row for row in read_rows(fact.rows) if row.n > 0),
        offers=fact.offers,
        refused=fact.refused,
        left_out=fact.left_out,
    )


def _latest(name: Account, author: str, one: Refresh, told: Told) -> Latest:
    provider, account = name
    return Latest(
        provider=provider,
        account=account,
        author=author,
        seen_ms=told.seen_ms,
        rows=told.rows(),
        offers=one.offers,
        refused=one.refused,
        left_out=one.left_out,
    )
