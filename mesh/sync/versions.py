"""Which versions of the sync protocol this peer speaks, and which one two peers use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Version 2 says in its hello how far it knows the receiver's own chain. Neighbours one version
# apart talk, so a fleet is brought up to date one machine after the other.
SPOKEN: Final = (1, 2)
PROTOCOL: Final = max(SPOKEN)
# A greeting without versions comes from a peer that speaks the first one alone.
UNNAMED: Final = (1,)
# Versions a greeting may list: enough for decades, and little to read from a stranger.
MAX_LISTED: Final = 16


def listed(said: object) -> tuple[int, ...]:
    """The versions a greeting names; what is no list of whole numbers names none."""
    if said is None:
        return UNNAMED
    if not isinstance(said, list) or len(said) > MAX_LISTED:
        return ()
    return tuple(one for one in said if isinstance(one, int) and not isinstance(one, bool))


def common(theirs: Iterable[int]) -> int:
    """The highest version both sides speak; 0 for none."""
    return max({*SPOKEN}.intersection(theirs), default=0)


def apart(theirs: Iterable[int]) -> str:
    """Why two peers cannot talk, and what to do, in one line for a person."""
    here, there = _shown(SPOKEN), _shown(theirs)
    older = "there" if max(theirs, default=0) < min(SPOKEN) else "here"
    return f"speaks sync version {there}, this peer {here}: update fleet {older}"


def _shown(versions: Iterable[int]) -> str:
    return " and ".join(str(one) for one in sorted(versions)) or "none"
