"""Membership as it may be asked: the record of what was said, and the verdicts on it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import fields
from typing import Self

from mesh.ledger.event import Event
from mesh.state.trust.record import Record
from mesh.state.trust.roles import ADMIN, allowed, needed_role
from mesh.state.trust.verdicts import FOREVER, NOBODY, Seniority, Trust, Worth

# In the order they are fetched: the founder, the recovery key, who may administer, everybody else.
FOUNDING, RECOVERING, LEADING, FOLLOWING = range(4)


class Judged(Record):
    """The record with the verdicts that follow from it.

    One thread may use it; `limit`, `admits` and `rank` any, for they look at what the last
    judgement published.
    """

    __slots__ = ("_leading", "_limits", "trust")
    trust: Trust | None  # None until it is asked for
    _limits: dict[str, int]  # how far each author's events are taken; replaced, never changed
    _leading: frozenset[str]  # who may administer

    def __post_init__(self) -> None:
        self.trust = None
        self._limits = dict.fromkeys(filter(None, (self.root, self.recovery)), FOREVER)
        self._leading = frozenset()

    def judge(self) -> Trust:
        """The verdicts on all that was said so far; notes in `changed` whom that touches."""
        before = self.trust
        if before is not None and before.settled:
            return before
        made = self.trust = Trust(self.root, self.recovery, self.chains, self.said, self._known)
        made.judge()
        self.heard |= made.ever_admins()
        self._limits = {one: made.limit(one) for one in made.grants}
        self._leading = frozenset(one for one in made.grants if made.role(one) == ADMIN)
        if before is not None:
            self._note({one: before.worth(one) for one in {*before.grants, *made.grants}})
        return made

    def _note(self, before: dict[str, Worth]) -> None:
        """Remember whose earlier events are worth something else than before."""
        self.changed.update(one for one, worth in before.items() if self._touches(one, worth))

    def _publish(self, trust: Trust, touched: Iterable[str]) -> None:
        """Let other threads see what a few keys may do now."""
        self._limits = {**self._limits, **{one: trust.limit(one) for one in touched}}
        leading = {one for one in touched if trust.role(one) == ADMIN}
        self._leading = self._leading.difference(touched) | leading

    def copy(self) -> Self:
        """The same record and verdicts, for a fold beside this one."""
        kept = {one.name: copy.copy(getattr(self, one.name)) for one in fields(Record)}
        made = type(self)(**kept)
        made.chains = copy.deepcopy(self.chains)
        made.said = {author: list(spoken) for author, spoken in self.said.items()}
        made.namings = {author: list(named) for author, named in self.namings.items()}
        made.awaited = {digest: list(claims) for digest, claims in self.awaited.items()}
        made.changed = set()
        return made

    def _known(self, author: str, seq: int, digest: str) -> bool:
        return (author, seq, digest) in self.here

    def _touches(self, author: str, before: Worth) -> bool:
        """Whether events of an author that came already are worth something else than before."""
        assert self.trust is not None
        tip, fork = self.chains.tip(author), self.chains.fork(author)
        return any(number < tip or fork for number in self.trust.differs(author, before))

    # What may be asked

    @property
    def alone(self) -> bool:
        """No fleet is known here: there is nobody to judge."""
        return not self.root

    @property
    def lost(self) -> bool:
        """Whether a statement that was not kept may count after all: read the ledger again."""
        return not self.dropped.isdisjoint(self.heard)

    def role_at(self, author: str, seq: int, digest: str) -> str:
        """What an author might do at its event; "" for nothing."""
        return ADMIN if self.alone else self.judge().role_at(author, seq, digest)

    def role_of(self, event: Event) -> str:
        """What its author might do at an event; "" for nothing."""
        return self.role_at(event.author, event.seq, event.hash)

    def role(self, author: str) -> str:
        """What an author may do now."""
        return ADMIN if self.alone else self.judge().role(author)

    def counts(self, event: Event) -> bool:
        """Whether a (non-membership) event changes the state."""
        return allowed(self.role_of(event), needed_role(event.event_type))

    def limit(self, author: str) -> int:
        """The highest number of an author's events that a ledger takes; 0 for a stranger.

        A removed author's events are taken as far as a removal names one, a viewer's to a bound.
        """
        return self._limits.get(author, 0) if self.root else FOREVER

    def admits(self, author: str, seq: int) -> bool:
        """Whether a ledger takes event `seq` of an author."""
        return seq <= self.limit(author)

    def rank(self, author: str) -> int:
        """In which order to fetch authors: those first who say who belongs."""
        if author in (self.root, self.recovery):
            return FOUNDING if author == self.root else RECOVERING
        return LEADING if author in self._leading else FOLLOWING

    def seniority(self, author: str) -> Seniority:
        """Orders authors who claim one thing: the smaller has it."""
        return NOBODY if self.alone else self.judge().rank(author)

    def seen(self, author: str) -> int:
        """The highest number of an author's events here; 0 for none."""
        return self.chains.tip(author)

    def may_end(self, by: str, author: str) -> bool:
        """Whether `by` may remove or demote `author`: an admin ends only what is its junior."""
        return self.alone or self.judge().may_end(by, author)

    def admins(self) -> list[str]:
        """The keys that may administer now, the most senior first; the recovery key is none."""
        trust = self.judge()
        found = [one for one in trust.grants if trust.role(one) == ADMIN and one != self.recovery]
        return sorted(found, key=lambda one: (trust.rank(one), one))

    def names_for(self, author: str) -> tuple[str, ...]:
        """What a new grant for a key must name: its removals, and the grants it replaces."""
        trust = self.judge()
        removals = [one.hash for _, one in trust.removals.get(author, ())]
        live = [one.statement.hash for one in trust.grants.get(author, ()) if not one.cuts]
        return tuple(dict.fromkeys([*removals, *filter(None, live)]))

    @property
    def shattered(self) -> dict[str, int]:
        """Authors with very many branches, and from which number on."""
        return self.chains.shattered

    @property
    def named(self) -> frozenset[str]:
        """The hashes of the events that grants and removals name which count."""
        return frozenset() if self.alone else self.judge().named()
