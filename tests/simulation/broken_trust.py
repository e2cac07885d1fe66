"""Broken rules of who may do what, and of whose word counts; see `broken`."""

from typing import Any, Final

from mesh.state.jobs import ENDS
from mesh.state.members import Members
from mesh.state.trust.verdicts import Trust

TRUST, ATTEMPTS = "mesh.state.trust.verdicts", "mesh.state.attempts"


def _yes(*_: object, **__: object) -> bool:
    return True


def _cut_by_number(self: Any, author: str, seq: int, digest: str, cut: tuple[int, str]) -> bool:
    return seq <= cut[0] and self._is_known(author, cut)


def _unknown_cut_is_none(self: Any, author: str, seq: int, digest: str, cut: Any) -> bool:
    return not self._is_known(author, cut) or REAL_BEFORE(self, author, seq, digest, cut)


def _since_ignored(self: Any, grant: Any, seq: int, digest: str) -> bool:
    one = grant.statement
    return all(self._before(one.subject, seq, digest, cut) for cut in grant.cuts)


def _cuts_ignored(self: Any, grant: Any, seq: int, digest: str) -> bool:
    """Once an admin, for ever an admin, at every event of its chain."""
    return bool(seq > grant.statement.after)


def _first_grant_stays(self: Any, one: Any, by: Any) -> Any:
    """Of two grants of one key the one that came first stays."""
    given = self.grants.get(one.subject, ())
    if one.kind == "peer_added" and any(old.statement.seq for old in given):
        self.done.add(one.hash)
        return None
    return REAL_COUNT(self, one, by)


def _one_removal(self: Any, one: Any, by: Any) -> Any:
    """No more removals of one admin count than a few."""
    mine = sum(
        removal.author == one.author for given in self.removals.values() for _, removal in given
    )
    if one.kind == "peer_removed" and mine >= 1:
        self.done.add(one.hash)
        return None
    return REAL_COUNT(self, one, by)


def _newest_role(self: Any, author: str) -> str:
    """The role a key was given last, whoever gave it, and whatever ended since."""
    given = [one.statement for one in self.grants.get(author, ())]
    newest = max(given, key=lambda one: one.key, default=None)
    return newest.role if newest is not None else ""


def _earliest_owner(self: Any, device_id: str, seniority: Any) -> str:
    claims = self.claims.get(device_id, {})
    return min(claims, key=lambda one: claims[one].key) if claims else ""


def _last_end(said: Any) -> Any:
    """An end may come again, with another price."""
    return max((said[kind] for kind in ENDS if kind in said), default=None)


def _words_of_anyone(said: Any, author: str) -> Any:
    return {one.event_type: one for one in said}


def _alone_without_members(self: Any) -> bool:
    """A fleet in which nobody holds a role any more is none."""
    if not self.root:
        return True
    trust = self.judge()
    return not any(trust.role(author) for author in trust.grants if author != self.recovery)


def _admits_beyond_cuts(self: Any, author: str) -> int:
    """Whoever was ever let in is taken at any number, cut off or not."""
    return (1 << 62) if self.grants.get(author) else 0


def _judge_once(self: Any) -> Any:
    """Verdicts are not looked at again once something changes them."""
    before = self.trust
    made = REAL_JUDGE(self)
    if before is not None:
        self.changed.clear()
    return made


REAL_BEFORE, REAL_COUNT = Trust._before, Trust._count
REAL_JUDGE = Members.judge

VARIANTS: Final[dict[str, tuple[tuple[str, Any], ...]]] = {
    "cut-by-number": ((f"{TRUST}:Trust._before", _cut_by_number),),
    "unknown-cut-is-none": ((f"{TRUST}:Trust._before", _unknown_cut_is_none),),
    "no-seniority": ((f"{TRUST}:_may_end", _yes),),
    "since-ignored": ((f"{TRUST}:Trust.covers", _since_ignored),),
    "ever-an-admin": ((f"{TRUST}:Trust.covers", _cuts_ignored),),
    "any-grant-readmits": ((f"{TRUST}:overrides", _yes),),
    "arrival-order-decides": ((f"{TRUST}:Trust._count", _first_grant_stays),),
    "removals-ignored-after-one": ((f"{TRUST}:Trust._count", _one_removal),),
    "newest-grant-wins": ((f"{TRUST}:Trust.role", _newest_role),),
    "void-means-alone": (("mesh.state.members:Members.alone", property(_alone_without_members)),),
    "removed-keys-go-on": ((f"{TRUST}:Trust.limit", _admits_beyond_cuts),),
    "facts-of-anyone-count": (("mesh.state.members:Members.counts", _yes),),
    "changed-verdicts-forgotten": (("mesh.state.members:Members.judge", _judge_once),),
    "earliest-clock-owns-a-device": (("mesh.state.devices:Devices.owner", _earliest_owner),),
    "ended-by-anyone": ((f"{ATTEMPTS}:_words", _words_of_anyone),),
    "ended-twice": ((f"{ATTEMPTS}:_end", _last_end),),
    "named-ids-belong-to-anyone": (("mesh.state.devices:is_named_for", _yes),),
}
