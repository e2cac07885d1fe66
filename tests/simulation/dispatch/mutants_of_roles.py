"""Deliberately broken peers that do not ask who may do what."""

from unittest.mock import patch

from mesh.edge.dispatch import line as line_module
from mesh.edge.dispatch import owner as owner_module
from mesh.edge.dispatch import peer as peer_module
from mesh.edge.dispatch.owner import LocalOwner
from mesh.edge.jobs.effects import Effects
from mesh.policy.decide import attempts_at
from tests.simulation.dispatch import net as net_module
from tests.simulation.dispatch.breaking import Broken, together


def role_not_asked() -> Broken:
    """An owner takes and starts jobs of whoever asks."""
    return together(
        patch.object(net_module, "demand_role", lambda *_: None),
        patch.object(LocalOwner, "_may_use", lambda *_: True),
        patch.object(line_module, "may_use", lambda *_: True),
    )


def role_asked_only_at_the_claim() -> Broken:
    """What was accepted starts, whatever became of its home."""
    return patch.object(line_module, "may_use", lambda *_: True)


def speaks_when_it_is_not_heard() -> Broken:
    """A peer whose word does not count goes on as if it did."""
    return together(
        patch.object(peer_module, "is_heard", lambda *_: True),
        patch.object(owner_module, "is_heard", lambda *_: True),
    )


def forgets_what_no_lease_tells_of() -> Broken:
    """What was begun by a lease past a cut runs on, and its device is taken for free."""
    real = Effects.settle

    def settle(self: Effects, *, acts: bool) -> None:
        real(self, acts=acts)
        mine = {(job.job_id, one.number) for job, one in attempts_at(self._state(), self._author)}
        self.begun = {key: devices for key, devices in self.begun.items() if key in mine}

    return patch.object(Effects, "settle", settle)


def says_that_what_ran_never_began() -> Broken:
    """An owner that was let in again looks at its leases that count, and at nothing else."""
    return patch.object(Effects, "has_begun", lambda *_: False)


OF_ROLES = (
    role_not_asked,
    role_asked_only_at_the_claim,
    speaks_when_it_is_not_heard,
    forgets_what_no_lease_tells_of,
    says_that_what_ran_never_began,
)
