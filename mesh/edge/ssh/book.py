"""The adopted hosts: one private file in the state directory, which no event and no peer gets to
see."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, final

import msgspec

from mesh.edge.disk import StoreError, write_private
from providers.ssh.hosts import Host

FILE: Final = "ssh.json"
# Each host is a connection and a probe a minute.
MAX_HOSTS: Final = 256
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_ORDER: Final = 1024  # cards that one host ever had: a file with more could not be read again


@final
class Rent(msgspec.Struct, frozen=True, kw_only=True):
    """What a rented machine is paid: its rental, who lets it, nano-dollars an hour."""

    rental_id: str
    provider: str
    hourly_nusd: int


@final
class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """A host and the order in which its cards were first seen: so a card keeps its number when
    another is gone; and what is paid for it, where it is rented."""

    host: Host
    cards: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ORDER)] = ()
    rent: Rent | None = None  # None: a person adopted it


@final
class Book:
    """The file, as a mapping by name; every change is on disk before it counts."""

    def __init__(self, home: Path) -> None:
        self._path = home / FILE
        self.hosts: dict[str, Adopted] = {}
        self._damaged: StoreError | None = None  # what can't be read is not written over

    def load(self) -> None:
        """Read the file; StoreError for one that is not ours."""
        try:
            raw = self._path.read_bytes()[: MAX_BYTES + 1]
            found = msgspec.json.decode(raw, type=list[Adopted])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            text = f"{self._path} cannot be read: {error}"
            self._damaged = StoreError(text, "mend it or remove it, then start the daemon anew")
            raise self._damaged from error
        self.hosts = {one.host.name: one for one in found[:MAX_HOSTS]}

    def put(self, adopted: Adopted) -> None:
        """Keep a host; StoreError where there is no room for it."""
        name = adopted.host.name
        if name not in self.hosts and len(self.hosts) >= MAX_HOSTS:
            raise StoreError(f"{MAX_HOSTS} hosts are adopted", "fleet ssh rm one of them")
        self._write({**self.hosts, name: adopted})

    def drop(self, name: str) -> None:
        """Keep it no more."""
        self._write({key: one for key, one in self.hosts.items() if key != name})

    def _write(self, hosts: dict[str, Adopted]) -> None:
        if self._damaged is not None:
            raise self._damaged
        text = msgspec.json.encode(list(hosts.values())).decode()
        try:
            write_private(self._path, text)
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}", "free some space") from error
        self.hosts = hosts
