"""Two attempts of one job, since an owner was not heard of for a while: which one goes on.

The words are Nomad's. Pure: every owner comes to the same answer from the same events, and stops
its own attempt where it is not the one; both are billed.
"""

from typing import Final

from mesh.state.jobs import AttemptView, JobView

KEEP_ORIGINAL: Final = "keep_original"
KEEP_REPLACEMENT: Final = "keep_replacement"
LONGEST_RUNNING: Final = "longest_running"
BEST_SCORE: Final = "best_score"
WORDS: Final = (KEEP_ORIGINAL, KEEP_REPLACEMENT, LONGEST_RUNNING, BEST_SCORE)
USUAL: Final = BEST_SCORE
_NEVER: Final = 1 << 62


def kept(job: JobView) -> AttemptView | None:
    """The attempt that goes on of those their owners have; None where none has one."""
    alive = [one for one in job.attempts if one.alive]
    if len(alive) < 2:
        return alive[0] if alive else None
    word = job.asked.reconcile or USUAL
    if word == KEEP_ORIGINAL:
        return alive[0]
    if word == KEEP_REPLACEMENT:
        return alive[-1]
    if word == LONGEST_RUNNING:
        return min(alive, key=lambda one: (one.started_ms or _NEVER, one.number))
    return min(alive, key=lambda one: (_ends_ms(one), one.number))


def _ends_ms(one: AttemptView) -> int:
    """When it should be done, by the owner's clock and the home's plan; the sooner the better."""
    return one.started_ms + one.expected_ms if one.started_ms else _NEVER


def is_superfluous(job: JobView, one: AttemptView) -> bool:
    """Whether an owner should end an attempt it has: the job has ended, or another goes on."""
    keep = kept(job)
    return one.alive and (job.ended or (keep is not None and keep is not one))
