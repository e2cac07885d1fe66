"""What machines are wanted, as their askers say; whoever may rent may end a request, for good."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, final

from mesh.ledger.event import Event, order_key
from mesh.state.facts.fact import decode
from mesh.state.facts.rental import RentalRequested, RequestEnded
from mesh.state.jobs import Key
from mesh.state.rentals.terms import DAY_MS, MIN_MS

# Of one author: the newest so many stay; a person makes some tens, a service one at a time.
MAX_REQUESTS: Final = 512
# An end must outlive its request, whoever says it.
MAX_ENDED: Final = 2 * MAX_REQUESTS
MAX_TEXT: Final = 400  # characters of an image, an offer, a job
MAX_SETUP: Final = 2000  # characters of a command that makes a machine ready; more is a script's
# A year: longer is a mistake. A minute: shorter is over before a machine is up.
MAX_LIFE_MS: Final = 366 * DAY_MS
MIN_LIFE_MS: Final = MIN_MS
_ID: Final = re.compile(r"[a-z0-9]{1,20}")  # part of a label


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A machine that is wanted; `over` says why it is no more, "" while it is. `max_hourly_nusd`,
    `gpu_count`, `idle_ms` 0 and texts "" = any, none."""

    request_id: str
    author: str
    provider: str
    account: str
    gpu: str
    gpu_count: int
    memory_bytes: int
    offer_id: str
    max_hourly_nusd: int
    life_ms: int
    idle_ms: int
    cap_nusd: int
    spot: bool
    disk_bytes: int
    image: str
    job_id: str
    key: Key
    over: str = ""
    setup: str = ""


@final
@dataclass(slots=True)
class Word:
    """What one author said."""

    asked: dict[str, Request] = field(default_factory=dict)
    ended: dict[str, tuple[Key, str]] = field(default_factory=dict)


@final
@dataclass(slots=True)
class Requests:
    """Every author's word on requests; `views` is what follows, by id."""

    words: dict[str, Word] = field(default_factory=dict)
    views: dict[str, Request] = field(default_factory=dict)

    def ask(self, event: Event) -> None:
        """Somebody wants a machine; said again, the first counts."""
        fact, key = decode(RentalRequested, event.payload), order_key(event)
        word = self.words.setdefault(event.author, Word())
        known = word.asked.get(fact.request_id)
        if not is_sane(fact) or (known is not None and known.key < key):
            return
        word.asked[fact.request_id] = _request(fact, event.author, key)
        self._show(fact.request_id)
        if len(word.asked) > MAX_REQUESTS:
            self._forget(word, min(word.asked, key=lambda one: word.asked[one].key))

    def end(self, event: Event) -> None:
        """Somebody ends one."""
        fact, key = decode(RequestEnded, event.payload), order_key(event)
        if _ID.fullmatch(fact.request_id) is None:
            return
        word = self.words.setdefault(event.author, Word())
        said = (key, fact.why[:MAX_TEXT] or "ended")
        word.ended[fact.request_id] = min(said, word.ended.get(fact.request_id, said))
        if len(word.ended) > MAX_ENDED:
            del word.ended[min(word.ended, key=lambda one: word.ended[one])]
        self._show(fact.request_id)

    def drop(self, author: str) -> None:
        """Forget what an author said."""
        word = self.words.pop(author, Word())
        for request_id in {*word.asked, *word.ended}:
            self._show(request_id)

    def _forget(self, word: Word, request_id: str) -> None:
        del word.asked[request_id]
        self._show(request_id)

    def _show(self, request_id: str) -> None:
        asked = [w.asked[request_id] for w in self.words.values() if request_id in w.asked]
        if not asked:
            self.views.pop(request_id, None)
            return
        ended = [w.ended[request_id] for w in self.words.values() if request_id in w.ended]
        first = min(asked, key=lambda one: one.key)
        over = min(ended)[1] if ended else ""
        self.views[request_id] = _over(first, over)


def is_sane(fact: RentalRequested) -> bool:
    """Whether such a request can be met at all."""
    texts = (fact.gpu, fact.offer_id, fact.image, fact.job_id, fact.provider, fact.account)
    return (
        _ID.fullmatch(fact.request_id) is not None
        and MIN_LIFE_MS <= fact.life_ms <= MAX_LIFE_MS
        and all(len(one) <= MAX_TEXT for one in texts)
        and len(fact.setup) <= MAX_SETUP
    )


def _request(fact: RentalRequested, author: str, key: Key) -> Request:
    return Request(
        request_id=fact.request_id,
        author=author,
        provider=fact.provider,
        account=fact.account,
        gpu=fact.gpu,
        gpu_count=fact.gpu_count,
        memory_bytes=fact.memory_bytes,
        offer_id=fact.offer_id,
        max_hourly_nusd=fact.max_hourly_nusd,
        life_ms=fact.life_ms,
        idle_ms=fact.idle_ms,
        cap_nusd=fact.cap_nusd,
        spot=fact.spot,
        disk_bytes=fact.disk_bytes,
        image=fact.image,
        job_id=fact.job_id,
        key=key,
        setup=fact.setup,
    )


def _over(one: Request, why: str) -> Request:
    return one if one.over == why else replace(one, over=why)
