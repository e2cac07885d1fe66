"""Words and times that the fold of rentals and the policy share; each time has its reason."""

from __future__ import annotations

from typing import Final

S_MS: Final = 1_000
MIN_MS: Final = 60 * S_MS
HOUR_MS: Final = 60 * MIN_MS
DAY_MS: Final = 24 * HOUR_MS

# A listing shows what was so this long ago, at the most: assumed, no provider promises it.
LAG_MS: Final = 60 * S_MS
# Reserved beyond a rental's life, for the way back: absence takes two minutes, an end may be
# refused for some.
GUARD_MS: Final = 5 * MIN_MS
# After a label's expiry its owner has that long before any peer with the key may end it.
GRACE_MS: Final = 5 * MIN_MS
# And that long after a return was decided: ten minutes are five proofs of absence.
HELP_MS: Final = 10 * MIN_MS
# Who rented it, and has the account no more, waits for one proof of absence.
OWN_HELP_MS: Final = 2 * MIN_MS

# What is reached one after the other.
STEPS: Final = ("placed", "image", "container", "sshd", "engine")
REACHED_BY: Final = {"image": 1, "container": 2, "up": 3}  # steps that a status shows as done
BAD: Final = frozenset({"stopped", "exited", "preempted", "error"})  # paid for, and of no use
BOOTS: Final = frozenset({"placing", "image", "container"})
UP: Final = "up"
STATUSES: Final = BAD | BOOTS | {UP, "terminating"}

INTENDED, CREATING, UNKNOWN = "intended", "creating", "unknown_create"
PROVISIONING, BOOTING, READY, RUNNING = "provisioning", "booting", "ready", "running"
INTERRUPTED, ABSENT = "interrupted", "absent"
TERMINATING, UNCONFIRMED = "terminating", "terminating_unconfirmed"
LIVE: Final = frozenset({PROVISIONING, BOOTING, READY, RUNNING})
RETURNING: Final = frozenset({TERMINATING, UNCONFIRMED})
STATES: Final = (
    INTENDED, CREATING, UNKNOWN, PROVISIONING, BOOTING, READY, RUNNING, INTERRUPTED,
    TERMINATING, UNCONFIRMED, ABSENT,
)  # fmt: skip
