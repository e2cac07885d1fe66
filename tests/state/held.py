"""Which devices a state says are taken."""

from mesh.state.answers import held_jobs
from mesh.state.state import State


def busy_devices(state: State) -> frozenset[str]:
    """Devices that hold an attempt."""
    return frozenset(one for job in held_jobs(state).values() for one in job.devices)
