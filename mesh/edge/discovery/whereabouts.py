"""Where this peer can be reached, as it announces it and puts it into an invitation."""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where this peer can be reached."""

    addresses: tuple[str, ...]
    port: int
    pairing_port: int
