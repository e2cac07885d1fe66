"""Verdicts on membership the slow way: sets of ancestors, everything anew, no state between calls.

Written from the rules in docs/adr/0014, to compare with: it walks every chain event by event where
the product keeps branches, and knows no events but those it is given.
"""

import heapq
from collections.abc import Iterable

from mesh.ledger.event import Event
from mesh.state.trust.roles import ADMIN, ROLES
from mesh.state.trust.statements import ADDED, REMOVED, Statement, statement

FIRST = (-1,)
FOUNDER = (1,)


class Verdict:
    """Every grant with what it covers, of a fleet of new-style statements only."""

    def __init__(self, events: Iterable[Event], root: str, recovery: str) -> None:
        self.events = {one.hash: one for one in events}
        self.grants: dict[str, list[dict]] = {}
        self.removals: dict[str, list[tuple]] = {}
        first = [(FIRST, recovery, FIRST), (FOUNDER, root, FIRST)]
        queue = [(key, "", self._grant(author, key, giver)) for key, author, giver in first]
        done: set[str] = set()
        while queue:
            key, _, grant = heapq.heappop(queue)
            for one in self._said_by(grant["subject"]):
                if one.hash in done or not self.covers(grant, one.hash):
                    continue
                done.add(one.hash)
                made = self._apply(one, key)
                if made is not None and one.role == ADMIN:
                    heapq.heappush(queue, (made["key"], one.hash, made))
        for author in {one.author for one in self.events.values()}:
            for one in self._said_by(author):
                leaves = one.hash not in done and one.subject == author and one.kind == REMOVED
                if leaves and self.role_at(one.hash):
                    self._apply(one, (1 << 30,))

    def _grant(self, subject: str, key: tuple, giver: tuple, one: Statement | None = None) -> dict:
        made = {"subject": subject, "key": key, "giver": giver, "said": one, "cuts": []}
        made["role"] = one.role if one else ADMIN
        self.grants.setdefault(subject, []).append(made)
        return made

    def _said_by(self, author: str) -> list[Statement]:
        every = [statement(one) for one in self.events.values() if one.author == author]
        kinds = [one for one in every if one is not None and one.kind in (ADDED, REMOVED)]
        goes = {one.hash for one in kinds if one.kind == REMOVED and one.subject == author}
        return sorted(kinds, key=lambda one: (one.hash not in goes, one.seq, one.hash))

    def _apply(self, one: Statement, by: tuple) -> dict | None:
        if one.kind == REMOVED:
            self.removals.setdefault(one.subject, []).append((by, one))
            for grant in self.grants.get(one.subject, ()):
                self._end(by, one, grant)
            return None
        older = list(self.grants.get(one.subject, ()))
        made = self._grant(one.subject, (by[0] + 1, by, one.seq, one.hash), by, one)
        for theirs, removal in self.removals.get(one.subject, ()):
            self._end(theirs, removal, made)
        for old in older:
            said = old["said"]
            if said is not None and said.hash in one.names and may_end(by, old):
                old["cuts"].append(one.after_hash)
            if said is not None and one.hash in said.names and may_end(old["giver"], made):
                made["cuts"].append(said.after_hash)
        return made

    def _end(self, by: tuple, removal: Statement, grant: dict) -> None:
        said = grant["said"]
        if said is not None and removal.hash in said.names:
            return
        if removal.author == removal.subject:
            if grant["role"] != ADMIN or by <= grant["key"]:
                grant["cuts"].append(removal.hash)
        elif may_end(by, grant):
            grant["cuts"].append(removal.after_hash)

    def ancestors(self, digest: str) -> set[str]:
        """An event and all before it on its branch; nothing for one that is not here."""
        found: set[str] = set()
        while digest in self.events:
            found.add(digest)
            digest = self.events[digest].prev
        return found

    def covers(self, grant: dict, digest: str) -> bool:
        """Whether a grant covers an event."""
        said = grant["said"]
        if said is not None and said.after_hash:
            after = self.events.get(said.after_hash)
            if after is None or after.seq != said.after or after.author != said.subject:
                return False
            if self.events[digest].seq <= after.seq:
                return False
        return all(digest in self.ancestors(cut) for cut in grant["cuts"])

    def role_at(self, digest: str) -> str:
        """What an event's author might do at it."""
        given = self.grants.get(self.events[digest].author, ())
        roles = [one["role"] for one in given if self.covers(one, digest)]
        return max(roles, key=ROLES.index, default="")


def may_end(by: tuple, grant: dict) -> bool:
    """Seniors end admins; any admin ends the rest."""
    return grant["role"] != ADMIN or by < grant["key"]
