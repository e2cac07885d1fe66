"""Which models are to be kept up, as their homes say. The later word of a home counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mesh.ledger.event import Event, order_key
from mesh.state.devices import title
from mesh.state.facts.fact import decode
from mesh.state.facts.serving import ServiceEnded, ServiceSet
from mesh.state.jobs import Key
from mesh.state.serving.keys import MAX_ID, MAX_MODEL_NAME
from mesh.state.trust.roles import MEMBER, allowed
from mesh.state.trust.verdicts import Seniority

# Of one home: the newest so many stay. Each may start jobs, and a home looks at all of them at
# every turn.
MAX_SERVICES: Final = 128
# An end must outlive its service, as a revocation its key.
MAX_ENDED: Final = 2 * MAX_SERVICES
# More copies than this is a mistake, or an attack: no fleet here has as many devices.
MAX_REPLICAS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A model to be kept up; `home` is the key of the peer that decides. `idle_ms` 0 = for ever."""

    service_id: str
    home: str
    model: str
    min_replicas: int
    max_replicas: int
    idle_ms: int
    key: Key


@dataclass(slots=True)
class Word:
    """What one author said of services."""

    kept: dict[str, ServiceView] = field(default_factory=dict)
    ended: dict[str, Key] = field(default_factory=dict)

    def holds(self, service_id: str) -> bool:
        """Whether the author said so, and has not ended it since."""
        one, ended = self.kept.get(service_id), self.ended.get(service_id)
        return one is not None and (ended is None or ended < one.key)


@dataclass(slots=True)
class Services:
    """Every author's word on services."""

    words: dict[str, Word] = field(default_factory=dict)

    def keep(self, event: Event) -> None:
        """An author wants a model kept up, or in another way than before."""
        fact, key = decode(ServiceSet, event.payload), order_key(event)
        word = self.words.setdefault(event.author, Word())
        known = word.kept.get(fact.service_id)
        if not _is_sane(fact) or (known is not None and known.key > key):
            return
        word.kept[fact.service_id] = ServiceView(
            service_id=fact.service_id,
            home=event.author,
            model=fact.model,
            min_replicas=fact.min_replicas,
            max_replicas=fact.max_replicas,
            idle_ms=fact.idle_ms,
            key=key,
        )
        if len(word.kept) > MAX_SERVICES:
            del word.kept[min(word.kept, key=lambda one: word.kept[one].key)]

    def end(self, event: Event) -> None:
        """An author wants one of its services no more."""
        service_id, key = decode(ServiceEnded, event.payload).service_id, order_key(event)
        if not 0 < len(service_id) <= MAX_ID:
            return
        ended = self.words.setdefault(event.author, Word()).ended
        ended[service_id] = max(key, ended.get(service_id, key))
        if len(ended) > MAX_ENDED:
            del ended[min(ended, key=lambda one: ended[one])]

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def views(
        self, seniority: Callable[[str], Seniority], role: Callable[[str], str]
    ) -> dict[str, ServiceView]:
        """The services that are not ended and whose homes may have some, by id."""
        found: dict[str, ServiceView] = {}
        for author, word in self.words.items():
            if not allowed(role(author), MEMBER):
                continue
            for service_id, one in word.kept.items():
                other = found.get(service_id)
                if other is None or _rank(one, seniority) < _rank(other, seniority):
                    found[service_id] = one
        return {key: one for key, one in found.items() if self.words[one.home].holds(key)}


def _rank(one: ServiceView, seniority: Callable[[str], Seniority]) -> tuple[object, ...]:
    """Orders homes that claim one id: whoever it is named for, then the most senior."""
    return (*title(one.home, one.service_id), seniority(one.home), one.home)


def _is_sane(fact: ServiceSet) -> bool:
    return (
        0 < len(fact.service_id) <= MAX_ID
        and 0 < len(fact.model) <= MAX_MODEL_NAME
        and fact.min_replicas <= fact.max_replicas <= MAX_REPLICAS
    )
