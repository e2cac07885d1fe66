"""Who is connected and has proved nothing yet: bounded in all and per address, newcomers first.

When there is no room, whoever has been here longest without a word leaves, from the address that
holds the most places. So a flood from a few addresses only ever pushes out itself. Where answers
are on their way whoever came last leaves instead, be it the newcomer.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

# Between "accepted" and "first request" on the members' port, until the end on the port for
# pairing: about 100 KiB each with its TLS state.
MAX_STRANGERS: Final = 64
# More, for addresses where members were met or say that they are: strangers elsewhere can't have
# these. A fleet keeps at most 24 links a peer, and not all of them are made at one moment.
MEMBER_SLOTS: Final = 24
# From one address at a time. An honest machine needs one or two; people behind one router share.
MAX_PER_ADDRESS: Final = 8
# Connections of members, once they asked something: a link, some requests, and one for each answer
# of a model on its way (call.MAX_POURED_TO_ONE). Together with the strangers' they stay below
# the 1,024 files that systems let a process open.
MAX_PROVEN: Final = 512
MAX_PER_KEY: Final = 160
# An IPv6 host has a whole /64 of addresses to itself (RFC 4291, RFC 8981).
IPV6_PREFIX: Final = 64


@final
@dataclass(eq=False, slots=True)
class Guest:
    """One connection. `silent` until its first request; `end` ends it, whatever it is doing."""

    place: str
    expected: bool
    end: Callable[[], object]
    silent: bool = True


@final
class Anteroom:
    """Everyone who waits, the longest first. `stay`: where there is no room the last leaves."""

    def __init__(
        self,
        *,
        strangers: int = MAX_STRANGERS,
        members: int = MEMBER_SLOTS,
        each: int = MAX_PER_ADDRESS,
        stay: bool = False,
    ) -> None:
        self._slots: Final = (strangers, members)
        self._each: Final = each
        self._stay: Final = stay
        self._guests: Final[dict[Guest, None]] = {}
        self.put_out = 0

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest) -> None:
        """Let a guest wait; another leaves where there is no room, or the guest where all stay."""
        others = [one for one in self._guests if one.expected == guest.expected]
        held = Counter(one.place for one in others)
        self._guests[guest] = None
        there = [*others, guest] if self._stay else others
        if held[guest.place] >= self._each:
            self._put_out(there, guest.place)
        elif len(others) >= self._slots[guest.expected]:
            held[guest.place] += 1  # where all hold one, the oldest of them leaves
            self._put_out(there, max(held, key=lambda place: (held[place], place != guest.place)))

    def leave(self, guest: Guest) -> None:
        """It has proved who it is, or is gone."""
        self._guests.pop(guest, None)

    def _put_out(self, others: list[Guest], place: str) -> None:
        there = [one for one in others if one.place == place]
        found = there[-1] if self._stay else next((one for one in there if one.silent), there[0])
        self.leave(found)
        self.put_out += 1
        found.end()


def plain_address(text: str) -> str:
    """An address without what dual-stack sockets and scopes add to it."""
    bare = text.partition("%")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def place_of(address: str) -> str:
    """What one host can't choose: its IPv4 address, or the /64 of its IPv6 address."""
    plain = plain_address(address)
    if ":" not in plain:
        return plain
    return str(ipaddress.ip_network((plain, IPV6_PREFIX), strict=False))
