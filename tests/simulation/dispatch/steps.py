"""The steps of the protocol at which a fault may strike, the faults, and which pairs can't meet."""

from typing import Final

FAULTS: Final = (
    "crash", "reboot", "split", "slow link", "lossy link", "clock jump", "full disk",
)  # fmt: skip
EVENTS: Final = (
    "job_submitted", "job_dispatched", "job_accepted", "job_returned", "job_replaced",
    "job_adopted", "job_started", "job_completed", "job_failed", "job_cancelled",
    "job_cancel_requested", "device_drained", "device_resumed", "device_reserved",
    "reservation_ended", "peer_added", "peer_removed",
)  # fmt: skip
# A crash "before" an event falls into its fsync: it may be on the disk, and nobody was told. One
# "after" it finds it on the disk and folded in, and who asked for it was not told.
SIGNED: Final = tuple(f"{when} {kind}" for kind in EVENTS for when in ("before", "after"))
CALLS: Final = tuple(
    f"{when} {kind}"
    for kind in ("offer", "claim", "withdraw", "status", "output")
    for when in ("call", "answer")
)
# launch: before launch.json; spawned: a runner is on its way; started: the program runs.
HANDS: Final = ("keep body", "launch", "spawned", "started", "append output", "mark output")
STEPS: Final = SIGNED + CALLS + HANDS
# Steps of few schedules: faults wait for them more often.
SELDOM: Final = frozenset({
    "job_returned", "job_replaced", "job_adopted", "job_failed", "job_cancelled",
    "job_cancel_requested", "withdraw", "status", "device_drained", "device_resumed",
    "device_reserved", "reservation_ended", "peer_added", "peer_removed",
})  # fmt: skip
RARE: Final = tuple(step for step in STEPS if step.split()[-1] in SELDOM)
# Steps of very few.
RAREST: Final = tuple(
    step for step in STEPS if step.split()[-1] in ("job_replaced", "job_adopted", "withdraw")
)
# Times a fault of a frequent step lets the step pass before it strikes.
PATIENCE: Final = 10
NEVER: Final[dict[tuple[str, str], str]] = {}
