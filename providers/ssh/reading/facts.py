"""A host and its cards as a probe over SSH saw them; None = the host does not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

CardState = Literal["ok", "lost", "driver_mismatch", "unresponsive", "driver_error"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A program on a card; `memory_bytes` None where the driver doesn't say."""

    pid: int
    name: str
    memory_bytes: int | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One accelerator, or one slice of a card (`parent` is the card's UUID then).

    `shares_ram`: its memory is the host's. `select` is what its selection variable takes, `lock`
    the name of its lock.
    """

    index: int
    vendor: str
    name: str
    uuid: str = ""
    bus: str = ""  # "0000:01:00.0", as sysfs has it; "" = unknown
    memory_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    shares_ram: bool = False
    utilisation_percent: int | None = None
    watts: float | None = None
    watts_limit: int | None = None
    temperature_c: int | None = None
    driver: str = ""
    compute_capability: str = ""
    parent: str = ""
    processes: tuple[Process, ...] = ()

    @property
    def select(self) -> str:
        """What CUDA_VISIBLE_DEVICES and its like take."""
        return self.uuid if self.uuid.startswith(("GPU-", "MIG-")) else str(self.index)

    @property
    def lock(self) -> str:
        """The card's lock; a slice's is behind its card's."""
        card = self.bus or f"{self.vendor}{self.index}"
        return f"{card}/{self.uuid}" if self.parent else card


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """A maker's cards; with a `state` other than "ok" the inventory before still stands."""

    found: tuple[Card, ...] = ()
    state: CardState = "ok"
    text: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine and where it lies: an executable, or the environment of a package.

    `version` as its package says, "" where none does; `python` is its environment's own, of
    `python_version` ("3.11"), "" where it has none.
    """

    engine: str
    where: str
    version: str = ""
    python: str = ""
    python_version: str = ""

    @property
    def is_package(self) -> bool:
        """Whether it is a package of a Python, and no executable alone."""
        return bool(self.version)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Everything one probe told; `whole` where it was asked for everything."""

    whole: bool
    system: str = ""  # "Linux 6.1.0"
    arch: str = ""
    hostname: str = ""
    user: str = ""
    machine_id: str = ""
    boot_id: str = ""
    model: str = ""  # of the machine
    cpu: str = ""
    cores: int | None = None
    threads: int | None = None
    ram_bytes: int | None = None
    ram_free_bytes: int | None = None
    disk_free_bytes: int | None = None
    load: float | None = None
    python: str = ""  # an interpreter of 3.6 or later, the first of 3.10 or later if there is one
    python_version: str = ""  # "3.11"
    can_unshare: bool = False
    container: str = ""  # "docker", "wsl" …
    linger: bool | None = None
    tools: tuple[str, ...] = ()
    engines: tuple[Engine, ...] = ()
    cards: tuple[Card, ...] = ()
    states: Mapping[str, tuple[CardState, str]] = field(default_factory=dict)  # by maker
    warnings: tuple[str, ...] = ()
