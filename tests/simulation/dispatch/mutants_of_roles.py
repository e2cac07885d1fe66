"""Deliberately broken peers that do not ask who may do what."""

from unittest.mock import patch

from mesh.edge.dispatch import line as line_module
from mesh.edge.dispatch import owner as owner_module
from mesh.edge.dispatch import peer as peer_module
from mesh.edge.dispatch.owner import LocalOwner
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


OF_ROLES = (role_not_asked, role_asked_only_at_the_claim, speaks_when_it_is_not_heard)
