"""Keys, services and usage as one part of the state: which event goes where."""

from __future__ import annotations

from dataclasses import dataclass, field

from mesh.ledger.event import Event
from mesh.state.serving.keys import Keys
from mesh.state.serving.services import Services
from mesh.state.serving.usage import Usage


@dataclass(slots=True)
class Serving:
    """Everything the ledger knows of answering requests."""

    keys: Keys = field(default_factory=Keys)
    services: Services = field(default_factory=Services)
    usage: Usage = field(default_factory=Usage)

    def take(self, event: Event, *, admin: bool) -> bool:
        """Fold one event in; False where it is of no type that is known here."""
        match event.event_type:
            case "key_added":
                self.keys.add(event)
            case "key_revoked":
                self.keys.revoke(event, admin=admin)
            case "service_set":
                self.services.keep(event)
            case "service_ended":
                self.services.end(event)
            case "usage_summarised":
                self.usage.take(event)
            case _:
                return False
        return True

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        for part in (self.keys, self.services, self.usage):
            part.drop(author)


TYPES = frozenset({"key_added", "key_revoked", "service_set", "service_ended", "usage_summarised"})
