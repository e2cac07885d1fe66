"""Measurements that cannot be what they say: they neither make constants nor correct a device."""

from mathcore.speed.chip import Chip
from mathcore.speed.terms import Run
from mathcore.speed.work import Work

# A byte read faster than memory brings it was not read: there were drafts, batches or another
# model. The margin is for the rounding of published sizes and speeds.
FASTER_THAN_MEMORY = 1.02
# A cache may hold a smaller model, and then its speed says nothing of memory, nor of what is read
# from there: the largest cache of a card or processor in the tables has 96 MB.
TOY_BYTES = 100_000_000


def is_toy(work: Work) -> bool:
    """Whether a step reads so little that a cache may hold it."""
    return work.weight_bytes(1.0) < TOY_BYTES


def is_impossible(chip: Chip, run: Run, work: Work, step_s: float) -> bool:
    """Whether a decode step reads its weights faster than the memory of its devices can.

    Only the catalogue's bandwidth is a bound: one measured while others worked is too low.
    """
    if chip.nominal <= 0.0 or step_s <= 0.0 or is_toy(work):
        return False
    on_card = 1.0 - (run.offloaded_share or 0.0)
    read = work.weight_bytes(1.0) * on_card
    return read / step_s > FASTER_THAN_MEMORY * chip.nominal * run.devices
