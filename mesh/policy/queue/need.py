"""What a job takes of the device it runs on."""

from dataclasses import dataclass
from typing import final

from mesh.state.jobs import JobView
from mesh.state.leases import loaded_ms, promised, shares


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Memory of each card, how many cards, the host's RAM beside them; exclusive: nobody else."""

    memory_bytes: int = 0
    cards: int = 1
    ram_bytes: int = 0
    exclusive: bool = False


ALONE = Need(exclusive=True)  # of a command that says nothing: what it takes nobody knows


def need_of(job: JobView) -> Need:
    """By the plan a job was dispatched with; without one it has its device to itself."""
    if job.plan is None:
        return ALONE
    card, beside = promised(job)
    cards = max(1, job.predicted.cards)
    # A plan without a footprint, as of a program that left it out, promises nothing.
    return Need(memory_bytes=card, cards=cards, ram_bytes=beside, exclusive=card == 0)


def needs_of(job: JobView) -> dict[str, Need]:
    """The same for each of its devices; RAM, which a host has once, counts with the first.

    A member of which the plan says nothing is the job's alone.
    """
    if job.plan is None or not job.members:
        return dict.fromkeys(job.devices, need_of(job))
    beside = promised(job)[1]
    return {
        device_id: Need(
            memory_bytes=card,
            ram_bytes=beside if device_id == job.device_id else 0,
            exclusive=card == 0,
        )
        for device_id, card in shares(job).items()
    }


def is_loaded(job: JobView, read_ms: int) -> bool:
    """Whether a reading of free memory made at `read_ms` surely knows of what a job took."""
    return 0 < loaded_ms(job) <= read_ms
