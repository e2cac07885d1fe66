"""Every price this peer knows: its own accounts', the ledger's, and the table it came with."""

from __future__ import annotations

from collections.abc import Iterable

from mathcore.market.typical import typical_prices
from mesh.policy.market import TAKE_OVER_MS, judged, typical_by_hardware
from mesh.state.market.quotes import Quote, best_known, quotes_of, typical_quotes
from mesh.state.state import State


def known_quotes(state: State, now_ms: int, live: Iterable[Quote] = ()) -> tuple[Quote, ...]:
    """Of each provider the best there is: `live` offers, else what the ledger says, else typical
    prices, where those are not newer than the ledger's."""
    table = typical_quotes(typical_prices())
    dated = {one.provider: one.at_ms for one in table}
    said = [one for one in ledger_quotes(state, now_ms) if one.at_ms > dated.get(one.provider, 0)]
    newest: dict[str, int] = {}
    for one in said:
        said_ms = min(one.at_ms, now_ms)  # a date ahead of ours makes nothing of ours old
        newest[one.provider] = max(said_ms, newest.get(one.provider, 0))
    # Another peer may ask for our account by now: what we saw before is then the older word.
    fresh = [one for one in live if one.at_ms > newest.get(one.provider, 0) - TAKE_OVER_MS]
    return best_known(fresh, said, table)


def ledger_quotes(state: State, now_ms: int) -> tuple[Quote, ...]:
    """What accounts saw, without prices that no peer should believe of another."""
    typical = typical_by_hardware(typical_prices())
    providers: dict[str, list[Quote]] = {}
    for one in quotes_of(state.market):
        providers.setdefault(one.provider, []).append(one)
    return tuple(
        one
        for provider, quotes in providers.items()
        for one in judged(quotes, state.market.usual(provider, now_ms), typical)[0]
    )
