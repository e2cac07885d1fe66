"""What peers said about money, kept so that a bill can be shown as it was known on any day.

Every author's word is kept apart: whose devices are whose, and whose word counts, may turn out
later. The order in which events come changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple, final

from mesh.ledger.event import Event, order_key
from mesh.state.bills.inputs import Charge, FxRate, Input, Metered, Rate, Tariff, Watched
from mesh.state.bills.reading import READERS, Said
from mesh.state.facts.fact import decode
from mesh.state.facts.money import Corrected
from mesh.state.jobs import Key

CORRECTED: Final = "corrected"
# Of one author and type, corrections too: the newest so many stay, for a peer may sign any number.
# A person changes rates some times a year; a daemon that says once a day of eight devices what it
# watched and metered fills this in 22 years.
MAX_SET: Final = 4096
MAX_CHARGES: Final = 1 << 14
MAX_HOURLY: Final = 1 << 16
SPARE: Final = 8  # they are cut when an eighth too many: sorting at each event costs more

# What was said: its place in the order of all events, the event it corrects (0 = it stands for
# itself), and what; None = what it corrects never was.
Rates = dict[int, tuple[Key, int, Rate | None]]
Tariffs = dict[int, tuple[Key, int, Tariff | None]]
Worths = dict[int, tuple[Key, int, FxRate | None]]
Watches = dict[int, tuple[Key, int, Watched | None]]
Meters = dict[int, tuple[Key, int, Metered | None]]
Charges = dict[int, tuple[Key, int, Charge | None]]
Told = tuple[Key, int, Any]

# Whether an author's word on a device counts; "" is its word on tariffs and currencies.
Believed = Callable[[str, str], bool]


class Shelf(NamedTuple):
    """Where a type of event is kept, and how many of one author."""

    name: str
    most: int


SHELVES: Final[dict[str, Shelf]] = {
    "device_rate_set": Shelf("rates", MAX_SET),
    "tariff_set": Shelf("tariffs", MAX_SET),
    "fx_rate_set": Shelf("fx", MAX_SET),
    "device_watched": Shelf("watched", MAX_HOURLY),
    "energy_metered": Shelf("metered", MAX_HOURLY),
    "charge_recorded": Shelf("charges", MAX_CHARGES),
}
TYPES: Final = frozenset({*SHELVES, CORRECTED})
PRICES: Final = ("device_rate_set", "tariff_set", "fx_rate_set")  # what an hour costs


@final
@dataclass(slots=True)
class Word:
    """What one author said, by its seq. Of two events of one seq the later counts."""

    rates: Rates = field(default_factory=dict)
    tariffs: Tariffs = field(default_factory=dict)
    fx: Worths = field(default_factory=dict)
    watched: Watches = field(default_factory=dict)
    metered: Meters = field(default_factory=dict)
    charges: Charges = field(default_factory=dict)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AsKnown:
    """Up to where events count: said by `by_ms`, and within `heads` {author: seq}; None = all.

    What arrives late can change a bill as known by a day, never one at the heads it names.
    """

    by_ms: int | None = None
    heads: Mapping[str, int] | None = None

    def holds(self, key: Key) -> bool:
        """Whether an event of this place counts."""
        if self.by_ms is not None and key[0] > self.by_ms:
            return False
        return self.heads is None or key[3] <= self.heads.get(key[2], 0)


NOW: Final = AsKnown()


@final
@dataclass(slots=True)
class Books:
    """Every author's word on money."""

    words: dict[str, Word] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """An event of one of TYPES."""
        kind, corrects, payload = event.event_type, 0, event.payload
        if kind == CORRECTED:
            fact = decode(Corrected, payload)
            kind, corrects = fact.event_type, fact.seq
            if kind not in SHELVES or not 0 < corrects < event.seq:
                return
            if fact.fact is None:
                self._put(event, kind, corrects, None)
                return
            payload = fact.fact
        key = order_key(event)
        value = READERS[kind](Said(event.author, event.device_id, key[0], payload))
        if value is not None:
            self._put(event, kind, corrects, value)

    def _put(self, event: Event, kind: str, corrects: int, value: Input | None) -> None:
        word = self.words.setdefault(event.author, Word())
        shelf = SHELVES[kind]
        rows: dict[int, Told] = getattr(word, shelf.name)
        key = order_key(event)
        known = rows.get(event.seq)
        if known is not None and known[0] > key:
            return
        rows[event.seq] = key, corrects, value
        if len(rows) > shelf.most + shelf.most // SPARE:
            setattr(word, shelf.name, dict(_newest(rows, shelf.most)))

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def keeps(self, author: str, kind: str, seq: int) -> bool:
        """Whether what an author said, or corrected, in an event of a type is among what counts."""
        shelf = SHELVES[kind]
        rows = getattr(self.words.get(author) or Word(), shelf.name)
        return seq in dict(_newest(rows, shelf.most))

    def heads(self) -> dict[str, int]:
        """The last seq that was said of money by each author: what a printed bill names."""
        found = {}
        for author, word in self.words.items():
            every = (getattr(word, shelf.name) for shelf in SHELVES.values())
            found[author] = max((max(rows) for rows in every if rows), default=0)
        return found

    def believed(self) -> list[object]:
        """All that counts of what was said, for the digest of a state."""
        return [
            (author, shelf.name, _newest(getattr(word, shelf.name), shelf.most))
            for author, word in sorted(self.words.items())
            for shelf in SHELVES.values()
        ]

    def inputs(
        self, believed: Believed, known: AsKnown = NOW, shelves: Collection[str] = SHELVES
    ) -> list[Input]:
        """Everything that counts, of some types of events, in the order it was said; a correction
        has the place of what it corrects."""
        found: list[tuple[Key, Input]] = []
        for author, word in list(self.words.items()):  # others may add while a thread reads
            for shelf in (SHELVES[one] for one in shelves):
                rows = dict(_newest(getattr(word, shelf.name), shelf.most))
                found += (
                    (key, value)
                    for key, value in _corrected(rows, known)
                    if believed(author, getattr(value, "device", ""))
                )
        found.sort(key=itemgetter(0))
        return [value for _, value in found]


def _newest(rows: dict[int, Told], most: int) -> list[tuple[int, Told]]:
    """The newest so many, in the order they were said."""
    return sorted(rows.items(), key=lambda one: one[1][0])[-most:]


def _corrected(rows: Mapping[int, Told], known: AsKnown) -> Iterator[tuple[Key, Input]]:
    """What stands after the corrections that count; rows are in the order they were said.

    A correction of what isn't there changes nothing.
    """
    says: dict[int, tuple[Key, Input | None]] = {}
    last: dict[int, Input | None] = {}
    for seq, (key, corrects, value) in rows.items():
        if not known.holds(key):
            continue
        if corrects:
            last[corrects] = value
        else:
            says[seq] = key, value
    for seq, (key, value) in says.items():
        stands = last.get(seq, value)
        if stands is not None:
            yield key, stands
