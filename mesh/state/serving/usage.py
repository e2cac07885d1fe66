"""What requests used: sums by UTC day, key, model and device, as the devices' owners say.

Every author's sums are kept apart, and count only for devices it owns: who owns one may turn out
later. Sums do not depend on the order of what is added, nor do the bounds: what stays apart is a
function of all that was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import msgspec

from mathcore.units import DAY_MS
from mesh.ledger.event import Event, order_key
from mesh.state.billing import MOST
from mesh.state.facts.fact import decode_once
from mesh.state.facts.serving import DAY, MONTH, UsageRow, UsageSummarised
from mesh.state.serving.keys import MAX_ID, MAX_MODEL_NAME

# Rows that are read of one event: with names as long as they may be 64 fit into its 64 KiB.
MAX_ROWS: Final = 64
# Days that are kept one by one, counted back from an author's newest: two months hold every budget
# of a month. What is older is one sum for each key, model and device, under the day BEFORE.
KEPT_DAYS: Final = 62
BEFORE: Final = -1
# Of one author and day: keys times models times devices. What comes after so many, in the order of
# their names, is one sum that names none of them.
MAX_GROUPS: Final = 2048
MAX_DEVICE_ID: Final = 200  # characters; ours have some forty

Group = tuple[str, str, str]  # key, model, device
OTHERS: Final[Group] = ("", "", "")
Owner = Callable[[str], str]  # whose a device is


class Used(msgspec.Struct, frozen=True):
    """What requests add up to, each MOST at the most. `estimated`: some of the energy is."""

    requests: int = 0
    errors: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    energy_mj: int = 0
    cost_nusd: int = 0
    estimated: bool = False

    def __add__(self, one: Used) -> Used:
        # Written out: each row of each minute of each peer comes through here.
        return Used(
            min(MOST, self.requests + one.requests),
            min(MOST, self.errors + one.errors),
            min(MOST, self.cut + one.cut),
            min(MOST, self.prompt_tokens + one.prompt_tokens),
            min(MOST, self.cached_tokens + one.cached_tokens),
            min(MOST, self.generated_tokens + one.generated_tokens),
            min(MOST, self.energy_mj + one.energy_mj),
            min(MOST, self.cost_nusd + one.cost_nusd),
            self.estimated or one.estimated,
        )


AMOUNTS: Final = tuple(one for one in Used.__struct_fields__ if one != "estimated")


@dataclass(slots=True)
class Word:
    """What one author said was used."""

    newest: int = 0  # day
    days: dict[int, dict[Group, Used]] = field(default_factory=dict)

    def add(self, day: int, group: Group, used: Used) -> None:
        """Add one row; days that are too old now become one."""
        if day > self.newest:
            self.newest = day
            self._join_old()
        kept = day if day > self.newest - KEPT_DAYS else BEFORE
        _put(self.days.setdefault(kept, {}), group, used)

    def _join_old(self) -> None:
        for old in [one for one in self.days if BEFORE < one <= self.newest - KEPT_DAYS]:
            for group, used in self.days.pop(old).items():
                _put(self.days.setdefault(BEFORE, {}), group, used)


def _put(groups: dict[Group, Used], group: Group, used: Used) -> None:
    known = groups.get(group)
    groups[group] = used if known is None else known + used
    if len(groups) > MAX_GROUPS + (OTHERS in groups):
        last = max(groups)  # never OTHERS, which is the least
        groups[OTHERS] = groups.get(OTHERS, Used()) + groups.pop(last)


@dataclass(slots=True)
class Usage:
    """Every author's word on what was used."""

    words: dict[str, Word] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Add one event's rows; they count on the day on which their time began."""
        fact = decode_once(UsageSummarised, event.payload)
        day = min(fact.begun_ms, order_key(event)[0]) // DAY_MS
        word = self.words.setdefault(event.author, Word())
        for row in filter(_is_sane, fact.rows[:MAX_ROWS]):
            word.add(day, (row.key_id, row.model, row.device_id), _used(row))

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def sums(self, owner: Owner) -> dict[tuple[int, str, str, str], Used]:
        """What was used by (day, key, model, device), as far as owners of devices said it."""
        found: dict[tuple[int, str, str, str], Used] = {}
        for day, group, used in self._counting(owner, lambda _: True):
            found[day, *group] = found.get((day, *group), Used()) + used
        return dict(sorted(found.items()))

    def spent_nusd(self, key_id: str, per: str, now_ms: int, owner: Owner) -> int:
        """What a key cost so far, in the "day" or "month" of now (UTC), or in "total"."""
        counting = self._counting(owner, _in_period(per, now_ms // DAY_MS))
        return min(MOST, sum(used.cost_nusd for _, group, used in counting if group[0] == key_id))

    def _counting(
        self, owner: Owner, wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Group, Used]]:
        owners = {OTHERS[2]: ""}
        for author, word in self.words.items():
            for day in filter(wanted, word.days):
                for group, used in word.days[day].items():
                    device_id = group[2]
                    if device_id not in owners:
                        owners[device_id] = owner(device_id)
                    if not device_id or owners[device_id] == author:
                        yield day, group, used


def _in_period(per: str, today: int) -> Callable[[int], bool]:
    """Which days count."""
    if per == DAY:
        return lambda day: day == today
    if per == MONTH:
        first, next_first = _month(today)
        return lambda day: first <= day < next_first
    return lambda _: True


def _month(day: int) -> tuple[int, int]:
    """The first day of a day's month, and of the next one."""
    here = datetime.fromtimestamp(day * DAY_MS / 1000, UTC).replace(day=1)
    later = here.replace(year=here.year + here.month // 12, month=here.month % 12 + 1)
    return tuple(round(one.timestamp() * 1000) // DAY_MS for one in (here, later))  # type: ignore[return-value]


def _is_sane(row: UsageRow) -> bool:
    return (
        len(row.key_id) <= MAX_ID
        and len(row.model) <= MAX_MODEL_NAME
        and 0 < len(row.device_id) <= MAX_DEVICE_ID
    )


def _used(row: UsageRow) -> Used:
    return Used(
        row.requests,
        row.errors,
        row.cut,
        row.prompt_tokens,
        row.cached_tokens,
        row.generated_tokens,
        row.energy_mj,
        row.cost_nusd,
        estimated=row.energy_mj > 0 and row.energy_basis != "measured",
    )
