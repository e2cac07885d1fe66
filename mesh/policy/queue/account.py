"""What is left of a device, and of its host's RAM, while a decision is made.

Two views of memory are kept, and the lesser counts. A reading knows what other programs hold, and
lacks what our jobs are going to take; the book knows all our jobs were promised. A job's memory is
taken from each card of its device, for nobody here knows which of them it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from mesh.policy.queue.need import Need
from mesh.policy.queue.values import Part, Room, Running, one_by_one

PLENTY = 1 << 62  # of memory whose size nobody stated


@final
@dataclass(slots=True)
class Ram:
    """RAM of one host that is free and promised to nobody; None: never read."""

    free: int | None


@final
@dataclass(slots=True)
class Account:
    """One device; `take` and `give` move what a job needs."""

    room: Room
    ram: Ram
    read_free: int
    book_free: int
    jobs: int = 0
    exclusive: int = 0

    @property
    def free(self) -> int:
        return min(self.read_free, self.book_free)

    def card(self, need: Need) -> int:
        """Bytes of each card; a processor's cards and RAM are one memory."""
        return need.memory_bytes + need.ram_bytes if self.room.is_ram else need.memory_bytes

    def beside(self, need: Need) -> int:
        """Bytes of the host's RAM."""
        return self.card(need) if self.room.is_ram else need.ram_bytes

    def may_join(self, need: Need) -> bool:
        """Whether one more job may be there, whatever its memory."""
        if self.exclusive or (need.exclusive and self.jobs):
            return False
        return not self.room.max_jobs or self.jobs < self.room.max_jobs

    def fits(self, need: Need) -> bool:
        """Whether the job could run beside those that are there."""
        card = self.card(need)
        if card > self.read_free or card > self.book_free or need.cards > self.room.cards:
            return False
        ram = self.beside(need)
        if ram > 0 and (self.ram.free is None or ram > self.ram.free):
            return False
        return self.may_join(need)

    def take(self, need: Need) -> None:
        self._move(need, 1)

    def give(self, need: Need) -> None:
        self._move(need, -1)

    def promise(self, running: Running) -> None:
        """Count a running job; what the reading knows of it is not taken from the reading again."""
        self._move(running.need, 1)
        if running.loaded:
            self.read_free += self.card(running.need)
            if self.ram.free is not None:
                self.ram.free += self.beside(running.need)

    def _move(self, need: Need, sign: int) -> None:
        card = sign * self.card(need)
        self.read_free -= card
        self.book_free -= card
        self.jobs += sign
        self.exclusive += sign * need.exclusive
        if self.ram.free is not None:
            self.ram.free -= sign * self.beside(need)

    def copy(self, ram: Ram | None = None) -> Account:
        """The same, to try moves on; `ram`: a copy that other devices' copies share."""
        return Account(
            self.room,
            Ram(self.ram.free) if ram is None else ram,
            self.read_free,
            self.book_free,
            self.jobs,
            self.exclusive,
        )


Accounts = Mapping[str, Account]


def accounts(rooms: Iterable[Room], running: Iterable[Running]) -> dict[str, Account]:
    """Every device with what its running jobs were promised taken off."""
    rams: dict[str, Ram] = {}
    found: dict[str, Account] = {}
    for room in rooms:
        ram = rams.setdefault(room.host or room.device_id, Ram(None))
        read = _ram_read(room)
        if read is not None:
            ram.free = read if ram.free is None else min(ram.free, read)
        found[room.device_id] = _opened(room, ram)
    for each in running:
        for one in one_by_one(each):
            if one.device_id in found:
                found[one.device_id].promise(one)
    return found


def of_host(found: Accounts, ram: Ram) -> dict[str, Account]:
    """Copies of one host's devices, which share its RAM as the devices do."""
    shared = Ram(ram.free)
    return {key: one.copy(shared) for key, one in found.items() if one.ram is ram}


def on_one_host(found: Accounts, parts: Sequence[Part]) -> bool:
    """Whether devices share their RAM."""
    return len({id(found[one.device_id].ram) for one in parts}) == 1


def beside(found: Accounts, parts: Sequence[Part]) -> int:
    """Bytes of the host's RAM that a job takes, all its devices together."""
    return sum(found[one.device_id].beside(one.need) for one in parts)


def fit(found: Accounts, parts: Sequence[Part]) -> bool:
    """Whether a job could run on all its devices at once, beside those that are there."""
    if not all(found[one.device_id].fits(one.need) for one in parts):
        return False
    if len(parts) == 1:
        return True
    ram, free = beside(found, parts), found[parts[0].device_id].ram.free
    return ram <= 0 or (free is not None and ram <= free)


def take(found: Accounts, parts: Iterable[Part]) -> None:
    """Count a job on those of its devices that are known."""
    for one in parts:
        if one.device_id in found:
            found[one.device_id].take(one.need)


def give(found: Accounts, parts: Iterable[Part]) -> None:
    """What a job took comes back, on all its devices."""
    for one in parts:
        if one.device_id in found:
            found[one.device_id].give(one.need)


def _ram_read(room: Room) -> int | None:
    """The host's free RAM as this device's reading has it."""
    if room.ram_free_bytes is None and room.is_ram:
        return room.free_bytes
    return room.ram_free_bytes


def _opened(room: Room, ram: Ram) -> Account:
    """A device before any of our jobs is counted."""
    foreign = sum(one.bytes for one in room.foreign)
    book = room.total_bytes - foreign if room.total_bytes else PLENTY
    return Account(room, ram, room.free_bytes or 0, book)
