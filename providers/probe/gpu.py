"""One accelerator as a probe saw it, whoever made it."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator now. A number the driver withholds is 0.

    `unified`: it shares the system's RAM, and the memory numbers are the system's.
    """

    index: int
    vendor: str
    name: str
    uuid: str
    memory_bytes: int
    used_bytes: int
    free_bytes: int
    unified: bool
    watts_limit: int
    utilisation_percent: int
    compute_capability: str  # "8.9"; "" where it doesn't say


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """What was found; an empty `found` comes with a `reason`."""

    found: tuple[Gpu, ...]
    reason: str
