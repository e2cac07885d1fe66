"""Which keys open the fleet's models, as their authors and the admins say.

Every author's word is kept apart: whose a key is may turn out later. Of two words of one author on
one key the later counts; a revocation counts for good, whenever it was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from mesh.ledger.event import Event, order_key
from mesh.state.devices import title
from mesh.state.facts.fact import decode
from mesh.state.facts.serving import BUDGET_PERIODS, TOTAL, KeyAdded, KeyRevoked
from mesh.state.jobs import Key
from mesh.state.trust.roles import MEMBER, allowed
from mesh.state.trust.verdicts import Seniority

# Of one author: the newest so many stay, revoked ones too. A person makes some tens; a peer may
# sign any number, and each request is compared with all of them.
MAX_KEYS: Final = 1024
# A revocation must outlive its key: after it at most so many others can be revoked as worked then
# (MAX_KEYS) or came since before the key itself is too old to stay.
MAX_REVOKED: Final = 2 * MAX_KEYS
MAX_ID: Final = 40  # characters; ours have 21
HASH_HEX: Final = 64
MAX_NAME: Final = 64  # characters: what a table's cell holds
# Each request looks through them; who wants more names none, which is all.
MAX_MODELS: Final = 64
MAX_MODEL_NAME: Final = 200  # characters of a model's name; file systems allow 255 bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """One author's last word on a key."""

    name: str
    hash: str
    models: tuple[str, ...]
    rate_per_min: int
    budget_nusd: int
    budget_per: str
    added_ms: int  # when it was said last
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key as the fleet knows it. `models` () = all; `rate_per_min`, `budget_nusd` 0 = no limit.

    `revoked_ms` 0 = nobody revoked it. `works`: nor has its author left, or lost its role.
    """

    key_id: str
    name: str
    author: str
    hash: str
    models: tuple[str, ...]
    rate_per_min: int
    budget_nusd: int
    budget_per: str
    added_ms: int
    revoked_ms: int
    works: bool


@dataclass(slots=True)
class Word:
    """What one author said of keys."""

    added: dict[str, Added] = field(default_factory=dict)
    revoked: dict[str, Key] = field(default_factory=dict)
    as_admin: dict[str, Key] = field(default_factory=dict)  # of those, said while it was one


@dataclass(slots=True)
class Keys:
    """Every author's word on keys."""

    words: dict[str, Word] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """An author makes a key, or changes what it made."""
        fact, key = decode(KeyAdded, event.payload), order_key(event)
        word = self.words.setdefault(event.author, Word())
        known = word.added.get(fact.key_id)
        if not _is_sane(fact) or (known is not None and known.key > key):
            return
        per = fact.budget_per if fact.budget_per in BUDGET_PERIODS else TOTAL
        word.added[fact.key_id] = Added(
            name=fact.name,
            hash=fact.hash,
            models=fact.models,
            rate_per_min=fact.rate_per_min,
            budget_nusd=fact.budget_nusd,
            budget_per=per,
            added_ms=key[0],
            key=key,
        )
        if len(word.added) > MAX_KEYS:
            del word.added[min(word.added, key=lambda one: word.added[one].key)]

    def revoke(self, event: Event, *, admin: bool) -> None:
        """An author takes a key back: its own, or as an admin anybody's."""
        key_id = decode(KeyRevoked, event.payload).key_id
        if not 0 < len(key_id) <= MAX_ID:
            return
        word, key = self.words.setdefault(event.author, Word()), order_key(event)
        for said in (word.revoked, word.as_admin) if admin else (word.revoked,):
            said[key_id] = max(key, said.get(key_id, key))
            if len(said) > MAX_REVOKED:
                del said[min(said, key=lambda one: said[one])]

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        self.words.pop(author, None)

    def views(
        self, seniority: Callable[[str], Seniority], role: Callable[[str], str]
    ) -> dict[str, KeyView]:
        """Every key by its id, the revoked ones too. An id is whose it is named for, else the most
        senior author's."""
        authors: dict[str, list[str]] = {}
        for author, word in self.words.items():
            for key_id in word.added:
                authors.setdefault(key_id, []).append(author)
        admins = [word.as_admin for word in self.words.values() if word.as_admin]
        member = {one: allowed(role(one), MEMBER) for one in self.words}
        found = {}
        for key_id, those in authors.items():
            author = those[0] if len(those) == 1 else _first(those, key_id, seniority)
            found[key_id] = self._view(key_id, author, admins, member=member[author])
        return found

    def _view(
        self, key_id: str, author: str, admins: Iterable[dict[str, Key]], *, member: bool
    ) -> KeyView:
        word = self.words[author]
        one = word.added[key_id]
        revoked = [said[key_id][0] for said in (word.revoked, *admins) if key_id in said]
        return KeyView(
            key_id=key_id,
            name=one.name,
            author=author,
            hash=one.hash,
            models=one.models,
            rate_per_min=one.rate_per_min,
            budget_nusd=one.budget_nusd,
            budget_per=one.budget_per,
            added_ms=one.added_ms,
            revoked_ms=min(revoked, default=0),
            works=member and not revoked,
        )


def _first(authors: list[str], key_id: str, seniority: Callable[[str], Seniority]) -> str:
    return min(authors, key=lambda one: (*title(one, key_id), seniority(one), one))


def _is_sane(fact: KeyAdded) -> bool:
    return (
        0 < len(fact.key_id) <= MAX_ID
        and 0 < len(fact.name) <= MAX_NAME
        and len(fact.hash) == HASH_HEX
        and fact.hash.isascii()
        and len(fact.models) <= MAX_MODELS
        and all(0 < len(one) <= MAX_MODEL_NAME for one in fact.models)
    )
