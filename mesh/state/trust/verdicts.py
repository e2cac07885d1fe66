"""Who may do what: verdicts on grants and removals, the same in whatever order they arrive.

Authority starts at the recovery key and the founder. Each grant of admin has a seniority: how many
steps from there, then by whom and in which order; a smaller one is senior. An admin's grant ends
only by somebody senior to it, by the recovery key, or by leaving; any other grant by any admin.
Judged from the most senior admin down, whatever may end a grant is settled before it is used. No
clock is asked and no number decides alone: what still counts is named by its hash, and only the
ancestors of that event do (ADR 0014).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mesh.state.trust.chains import Chains
from mesh.state.trust.roles import ADMIN, ROLES, VIEWER
from mesh.state.trust.statements import (
    ADDED,
    FOUNDED,
    REMOVED,
    Statement,
    leaves,
    overrides,
    replaces,
    turn,
)

Cut = tuple[int, str]  # (number, hash) of the last event that counts; (0, "") before the first
# (steps from the recovery key, seniority of who gave it, number, hash of the grant)
Seniority = tuple[object, ...]
RECOVERY: Final[Seniority] = (-1,)
FOUNDER: Final[Seniority] = (1,)
NOBODY: Final[Seniority] = (1 << 30,)
FOREVER: Final = 1 << 62
# What a key's grants are worth, to compare: each grant's statement, its beginning and its cuts.
Worth = dict[str, tuple[int, frozenset[Cut]]]
SHATTERED: Final = "shattered"  # beside the grants, whose names are hashes
# Events of a viewer past its grant's beginning: it says where it is and what it is called, and what
# else it says is believed nowhere, so it may not fill disks with it.
VIEWER_EVENTS: Final = 1000


@dataclass(slots=True)
class Grant:
    """What a statement gives, and where it ends: it covers only what is before all its cuts."""

    statement: Statement
    seniority: Seniority
    giver: Seniority
    cuts: list[Cut] = field(default_factory=list)


@dataclass(slots=True)
class Trust:
    """Verdicts on the statements in `said`. `known` says whether the ledger holds an event."""

    root: str
    recovery: str
    chains: Chains
    said: dict[str, list[Statement]]  # by who said it
    known: Callable[[str, int, str], bool]
    grants: dict[str, list[Grant]] = field(default_factory=dict)
    removals: dict[str, list[tuple[Seniority, Statement]]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)  # hashes of the statements that count
    # And those by the seniority they were made with: as many as admins who spoke.
    spoken: dict[Seniority, list[Statement]] = field(default_factory=dict)
    leading: set[str] = field(default_factory=set)  # keys that were given the right to administer
    settled: bool = False  # whether these are verdicts on all that is known
    touched: dict[str, Worth] = field(default_factory=dict)  # what changed in worth, and from what

    def judge(self) -> None:
        """Every verdict anew: O(n log n) in the statements of those who may administer."""
        self.grants, self.removals = {}, {}
        self.done, self.spoken, self.leading = set(), {}, set()
        first = ((RECOVERY, self.recovery), (FOUNDER, self.root))
        self._use([self._given(seniority, author) for seniority, author in first if author])
        self.settled = True

    def add(self, one: Statement) -> None:
        """Judge one more statement, already in `said`, and whatever it changes."""
        by = self.seniority(one.author, one.seq, one.hash)
        matters = leaves(one) or self._matters(one)
        if by is not None and not leaves(one):
            self._count(one, by)
        if matters:
            self._again(one.subject)

    def _use(self, grants: list[Grant]) -> None:
        """Let the owners of some grants of admin speak, the most senior first."""
        queue = [(grant.seniority, grant.statement.hash, grant) for grant in grants]
        heapq.heapify(queue)
        while queue:
            _, _, grant = heapq.heappop(queue)
            for one in self._covered(grant):
                made = self._count(one, grant.seniority)
                if made is not None and one.role == ADMIN:
                    heapq.heappush(queue, (made.seniority, one.hash, made))
        for spoken in self.said.values():
            for one in sorted(filter(leaves, spoken), key=turn):
                if one.hash not in self.done and self.role_at(one.author, one.seq, one.hash):
                    self._count(one, NOBODY)

    def _again(self, author: str) -> None:
        """Judge anew what an author said, and what everybody junior to it did.

        What was said by its seniors stands: nobody junior could have changed that.
        """
        given = [one for one in self.grants.get(author, ()) if one.statement.role == ADMIN]
        senior = min((one.seniority for one in given), default=NOBODY)
        for by in [one for one in self.spoken if one >= senior]:
            for one in self.spoken.pop(by):
                self.done.discard(one.hash)
                self._take_back(one)
        every = (one for key in self.leading for one in self.grants.get(key, ()))
        self._use([g for g in every if g.statement.role == ADMIN and g.seniority >= senior])

    def _take_back(self, one: Statement) -> None:
        """Let a statement no longer count."""
        self._touch(one.subject)
        given = self.grants.get(one.subject, [])
        if one.kind == REMOVED:
            said = self.removals[one.subject]
            self.removals[one.subject] = [two for two in said if two[1].hash != one.hash]
        else:
            given[:] = [grant for grant in given if grant.statement.hash != one.hash]
            if not given:
                self.grants.pop(one.subject, None)
        for grant in given:
            grant.cuts.clear()
            for by, removal in self.removals.get(one.subject, ()):
                _end(by, removal, grant)
            for other in given:
                _replace(other, grant)

    def _matters(self, one: Statement) -> bool:
        """Whether a statement may change what its subject's own statements are worth."""
        spoken = self.said.get(one.subject)
        if not spoken:
            return False
        administers = one.role == ADMIN or self.ever_admin(one.subject)
        return administers or any(map(leaves, spoken))

    def _given(self, seniority: Seniority, author: str) -> Grant:
        """What the founding gives by itself."""
        first = Statement("", author, 0, FOUNDED, author, (0, 0, "", 0, ""), ADMIN)
        grant = Grant(first, seniority, RECOVERY)
        self.grants.setdefault(author, []).append(grant)
        self.leading.add(author)
        return grant

    def _covered(self, grant: Grant) -> Iterator[Statement]:
        """The statements of a grant's owner that it covers and nobody senior did."""
        author = grant.statement.subject
        for one in sorted(self.said.get(author, ()), key=turn):
            if one.hash not in self.done and self.covers(grant, one.seq, one.hash):
                yield one

    def _count(self, one: Statement, by: Seniority) -> Grant | None:
        """Let a statement count; the grant it makes."""
        self.done.add(one.hash)
        self.spoken.setdefault(by, []).append(one)
        if one.role == ADMIN:
            self.leading.add(one.subject)
        self._touch(one.subject)
        if one.kind == REMOVED:
            self.removals.setdefault(one.subject, []).append((by, one))
            for grant in self.grants.get(one.subject, ()):
                _end(by, one, grant)
            return None
        if one.kind != ADDED:
            return None
        made = Grant(one, (_steps(by) + 1, by, one.seq, one.hash), by)
        for theirs, removal in self.removals.get(one.subject, ()):
            _end(theirs, removal, made)
        for old in self.grants.get(one.subject, ()):
            _replace(made, old)
            _replace(old, made)
        self.grants.setdefault(one.subject, []).append(made)
        return made

    def _touch(self, author: str) -> None:
        if self.settled and author not in self.touched:
            self.touched[author] = self.worth(author)

    def covers(self, grant: Grant, seq: int, digest: str) -> bool:
        """Whether a grant covers its subject's event `seq`, whose hash is `digest`."""
        one = grant.statement
        if seq <= one.after or not self._is_known(one.subject, (one.after, one.after_hash)):
            return False
        return self._whole(one.subject, seq, digest) and all(
            self._before(one.subject, seq, digest, cut) for cut in grant.cuts
        )

    def _before(self, author: str, seq: int, digest: str, cut: Cut) -> bool:
        """Whether an event is the one a cut names, or an ancestor of it."""
        number, last = cut
        if seq > number or not self._is_known(author, cut):
            return False
        if not last:  # by number alone, as older versions did: only where nothing branched
            fork = self.chains.fork(author)
            return not fork or seq < fork
        place = self.chains.place(author, number, last)
        return self.chains.reaches(author, self.chains.place(author, seq, digest), place)

    def _is_known(self, author: str, cut: Cut) -> bool:
        return not cut[1] or self.known(author, *cut)

    def _whole(self, author: str, seq: int, digest: str) -> bool:
        """Whether an event is outside what a shattered author signed, or leads to a named one."""
        at = self.chains.shattered.get(author)
        if at is None or seq < at:
            return True
        named = [cut for cut in self._named(author) if cut[1] and cut[0] >= seq]
        return any(self._before(author, seq, digest, cut) for cut in named)

    def _named(self, author: str) -> Iterator[Cut]:
        """The events of an author that grants and removals name."""
        for grant in self.grants.get(author, ()):
            yield grant.statement.after, grant.statement.after_hash
        for _, one in self.removals.get(author, ()):
            yield one.after, one.after_hash

    def seniority(self, author: str, seq: int, digest: str) -> Seniority | None:
        """The most senior grant of admin that covers an event; None for none."""
        return min(
            (
                grant.seniority
                for grant in self.grants.get(author, ())
                if grant.statement.role == ADMIN and self.covers(grant, seq, digest)
            ),
            default=None,
        )

    def role_at(self, author: str, seq: int, digest: str) -> str:
        """What the author might do at its event; "" for nothing."""
        given = self.grants.get(author, ())
        return best(one.statement.role for one in given if self.covers(one, seq, digest))

    def role(self, author: str) -> str:
        """What the author may do from now on."""
        return best(one.statement.role for one in self.grants.get(author, ()) if not one.cuts)

    def ever_admin(self, author: str) -> bool:
        """Whether a key was ever given the right to administer."""
        return any(one.statement.role == ADMIN for one in self.grants.get(author, ()))

    def ever_admins(self) -> set[str]:
        """Every key that ever was given the right to administer."""
        return {one for one in self.grants if self.ever_admin(one)}

    def worth(self, author: str) -> Worth:
        """What a key's grants cover, as a value; of a shattered one with the events named of it."""
        found = {
            one.statement.hash + one.statement.role: (one.statement.after, frozenset(one.cuts))
            for one in self.grants.get(author, ())
        }
        at = self.chains.shattered.get(author)
        if at is not None:
            found[SHATTERED] = (at - 1, frozenset(cut for cut in self._named(author) if cut[1]))
        return found

    def differs(self, author: str, before: Worth) -> Iterator[int]:
        """The numbers past which a key's events may be worth something else than `before`."""
        now = self.worth(author)
        for name in {*before, *now}:
            was, will = before.get(name), now.get(name)
            if was == will:
                continue
            if was is None or will is None or name == SHATTERED:
                yield (will or was or (0, frozenset()))[0]
                continue
            for number, digest in was[1] ^ will[1]:
                known = not digest or self.known(author, number, digest)
                yield number if known else will[0]

    def steps(self, author: str) -> int:
        """How many grants lie between the recovery key and a key; few for a senior one."""
        return _steps(self.rank(author))

    def rank(self, author: str) -> Seniority:
        """The most senior thing the author was ever given; NOBODY for a stranger."""
        given = self.grants.get(author, ())
        return min((one.seniority for one in given), default=NOBODY)

    def goes_by_number(self, author: str) -> bool:
        """Whether a grant of a key ends at a number without a hash, as older versions said it."""
        cuts = (cut for grant in self.grants.get(author, ()) for cut in grant.cuts)
        return any(number and not digest for number, digest in cuts)

    def limit(self, author: str) -> int:
        """The highest number up to which an event of the author is taken; 0 for a stranger.

        Of a shattered one that is the number where it shattered: those events count for nothing,
        but they are how other peers see it.
        """
        found = self._ends(author)
        at = self.chains.shattered.get(author)
        if at is None or found < at:
            return found
        return max(at, *(number for number, _ in self._wanted(author)), 0)

    def named(self) -> frozenset[str]:
        """Hashes of the events that statements which count name, as far as they may be taken."""
        authors = {*self.grants, *self.removals}
        return frozenset(digest for author in authors for _, digest in self._wanted(author))

    def _wanted(self, author: str) -> list[Cut]:
        end = self._ends(author)
        return [cut for cut in self._named(author) if cut[1] and cut[0] <= end]

    def _ends(self, author: str) -> int:
        return max(map(_reach, self.grants.get(author, ())), default=0)

    def may_end(self, by: str, author: str) -> bool:
        """Whether `by` may take from `author` what it has now."""
        mine = [g for g in self.grants.get(by, ()) if g.statement.role == ADMIN and not g.cuts]
        if not mine:
            return False
        own = min(grant.seniority for grant in mine)
        return by == author or all(
            _may_end(own, grant) for grant in self.grants.get(author, ()) if not grant.cuts
        )


def best(roles: Iterable[str]) -> str:
    """The highest of some roles; "" for none."""
    return max(roles, key=ROLES.index, default="")


def _end(by: Seniority, removal: Statement, grant: Grant) -> None:
    """Apply a removal to a grant, unless the grant knew of it or is senior to it."""
    if overrides(grant.statement, removal):
        return
    if leaves(removal):  # what it signed before stands
        if grant.statement.role != ADMIN or by <= grant.seniority:
            grant.cuts.append((removal.seq, removal.hash))
    elif _may_end(by, grant):
        grant.cuts.append((removal.after, removal.after_hash))


def _reach(grant: Grant) -> int:
    """The highest number that a grant may cover, or that one of its cuts names.

    A cut whose event is not here covers nothing, so each of them is to be fetched.
    """
    after = grant.statement.after
    until = max((number for number, _ in grant.cuts), default=FOREVER)
    if grant.statement.role == VIEWER:
        until = min(until, after + VIEWER_EVENTS)
    return until if until > after else 0


def _replace(new: Grant, old: Grant) -> None:
    """End a grant where another begins that names it, and was given by somebody who may."""
    if replaces(new.statement, old.statement) and _may_end(new.giver, old):
        old.cuts.append((new.statement.after, new.statement.after_hash))


def _may_end(by: Seniority, grant: Grant) -> bool:
    return grant.statement.role != ADMIN or by < grant.seniority


def _steps(seniority: Seniority) -> int:
    steps = seniority[0]
    assert isinstance(steps, int)
    return steps
