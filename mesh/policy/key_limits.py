"""What a key may do now: which models, how often, and how much it may still cost.

One object holds it for one process, and does no I/O: the key, the time and what the ledger says
was spent are passed in. The ledger tells of a request a minute after it ended; until then what it
cost is remembered here, and for a moment both may count it: a budget is rather kept than used up.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Final, final

from mathcore.units import show_nusd
from mesh.state.serving.keys import KeyView

MINUTE_MS: Final = 60_000
# After so long the ledger has what a request cost: usage is summarised once a minute, by a peer
# that then has another minute to hear and be heard.
UNTOLD_MS: Final = 150_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not admitted. `missing_nusd`: what the budget lacks for it; `retry_ms`: in
    how long it may be asked again, None where only people can change something."""

    code: str
    text: str
    hint: str
    retry_ms: int | None = None
    missing_nusd: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a request may cost at worst is held for it until it is settled or released."""

    number: int
    key_id: str
    worst_nusd: int


@dataclass(slots=True)
class _Bucket:
    """Requests a key may still begin, in parts of MINUTE_MS: exact, whatever the rate."""

    parts: int
    at_ms: int


@dataclass(slots=True)
class _Account:
    """What this process knows of a key's costs that the ledger may not tell yet."""

    held: dict[int, int] = field(default_factory=dict)  # by reservation
    untold: deque[tuple[int, int]] = field(default_factory=deque)  # (settled at ms, nusd)

    def here_nusd(self, now_ms: int) -> int:
        """Held and settled, as far as the ledger may not have it."""
        while self.untold and self.untold[0][0] <= now_ms - UNTOLD_MS:
            self.untold.popleft()
        return sum(self.held.values()) + sum(nusd for _, nusd in self.untold)


@final
class KeyLimits:
    """The limits of all keys in this process. Not thread-safe: one loop uses it."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._accounts: dict[str, _Account] = {}
        self._numbers = itertools.count(1)

    def admit(
        self, key: KeyView, *, model: str, worst_nusd: int, spent_nusd: int, now_ms: int
    ) -> Reservation | Refusal:
        """Model, budget and rate together; a request that is refused takes nothing of any."""
        refused = self.allows(key, model)
        if refused is not None:
            return refused
        held = self.reserve(key, worst_nusd=worst_nusd, spent_nusd=spent_nusd, now_ms=now_ms)
        if isinstance(held, Refusal):
            return held
        refused = self.take(key, now_ms=now_ms)
        if refused is not None:
            self.release(held)
            return refused
        return held

    def allows(self, key: KeyView, model: str) -> Refusal | None:
        """None where the key works and may ask this model."""
        if not key.works:
            return Refusal(
                code="KeyRevoked", text=f"the key {key.name} works no more", hint="fleet keys add"
            )
        if key.models and model not in key.models:
            text = f"the key {key.name} may not ask {model[:80]!r}"
            return Refusal(
                code="ModelNotAllowed", text=text, hint=f"it may ask {', '.join(key.models)}"
            )
        return None

    def take(self, key: KeyView, *, now_ms: int) -> Refusal | None:
        """Count one request; None where the rate allows it. A minute's worth may come at once."""
        if not key.rate_per_min:
            return None
        full = key.rate_per_min * MINUTE_MS
        bucket = self._buckets.setdefault(key.key_id, _Bucket(full, now_ms))
        passed = max(0, now_ms - bucket.at_ms)  # a clock that was set back fills nothing
        bucket.parts = min(full, bucket.parts + passed * key.rate_per_min)
        bucket.at_ms = now_ms
        if bucket.parts < MINUTE_MS:
            wait = -(-(MINUTE_MS - bucket.parts) // key.rate_per_min)
            text = f"the key {key.name} asks more than {key.rate_per_min} times a minute"
            hint = f"ask again in {wait / 1000:.1f} s"
            return Refusal(code="RateLimited", text=text, hint=hint, retry_ms=wait)
        bucket.parts -= MINUTE_MS
        return None

    def reserve(
        self, key: KeyView, *, worst_nusd: int, spent_nusd: int, now_ms: int
    ) -> Reservation | Refusal:
        """Hold what a request may cost at worst, where the budget has it.

        `spent_nusd` is what the ledger says of the budget's period: State.spent_nusd. A request
        that costs nothing is refused too once the budget is used up.
        """
        worst = max(0, worst_nusd)
        account = self._accounts.setdefault(key.key_id, _Account())
        left = key.budget_nusd - spent_nusd - account.here_nusd(now_ms)
        if key.budget_nusd and (worst > left or left <= 0):
            return _over_budget(key, worst, left)
        made = Reservation(number=next(self._numbers), key_id=key.key_id, worst_nusd=worst)
        account.held[made.number] = worst
        return made

    def settle(self, one: Reservation, *, actual_nusd: int, now_ms: int) -> bool:
        """A request ended and cost this; False, and nothing counts, where that was said already."""
        if not self.release(one):
            return False
        if actual_nusd > 0:
            self._accounts[one.key_id].untold.append((now_ms, actual_nusd))
        return True

    def release(self, one: Reservation) -> bool:
        """A request cost nothing; False where it was settled or released already."""
        account = self._accounts.get(one.key_id)
        return account is not None and account.held.pop(one.number, None) is not None

    def held_nusd(self, key_id: str, *, now_ms: int) -> int:
        """What a key holds, or spent so lately that the ledger may not tell of it."""
        account = self._accounts.get(key_id)
        return 0 if account is None else account.here_nusd(now_ms)


def _over_budget(key: KeyView, worst_nusd: int, left_nusd: int) -> Refusal:
    missing = max(1, worst_nusd - left_nusd)
    left = show_nusd(max(0, left_nusd))
    per = "" if key.budget_per == "total" else f" a {key.budget_per}"
    budget = f"{show_nusd(key.budget_nusd)}{per}"
    return Refusal(
        code="OverBudget",
        text=f"the key {key.name} has {left} left of {budget}, and this may cost "
        f"{show_nusd(worst_nusd)}: {show_nusd(missing)} are missing",
        hint="ask for fewer tokens, or for a larger budget",
        missing_nusd=missing,
    )
