"""What is kept of membership events: all that verdicts are made from, and nothing that follows."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.state.jobs import Key
from mesh.state.trust.chains import Chains
from mesh.state.trust.statements import Statement

Claim = tuple[str, int, str]  # author, number, hash of an event that a statement names


@dataclass(slots=True)
class Record:
    """What is kept of membership events. `root` is the founder's public key, hex.

    `founding` is the hash of the fleet's first event, "" in a fleet older than such events until
    its root has made one; `recovery` is the public key that event names.
    """

    root: str = ""
    founding: str = ""
    recovery: str = ""
    chains: Chains = field(default_factory=Chains)
    founded: Statement | None = None
    said: dict[str, list[Statement]] = field(default_factory=dict)  # grants and removals, by author
    namings: dict[str, list[Statement]] = field(default_factory=dict)  # by whom they name
    reach: dict[str, tuple[Key, tuple[str, ...]]] = field(default_factory=dict)
    here: set[Claim] = field(default_factory=set)  # named events that the ledger holds
    awaited: dict[str, list[Claim]] = field(default_factory=dict)  # and those it lacks, by hash
    heard: set[str] = field(default_factory=set)  # authors whose statements are all kept
    dropped: set[str] = field(default_factory=set)  # and those of whom some were not
    changed: set[str] = field(default_factory=set)  # whose earlier events get another verdict

    def __post_init__(self) -> None:
        """For those who add to the record what follows from it."""
