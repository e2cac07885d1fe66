"""Whether each cloud can be used, what does not work, and what would mend it."""

from __future__ import annotations

from mesh.edge.clouds.keys import Account as KeyedAccount
from mesh.edge.clouds.prices.market import MarketWatch
from mesh.edge.clouds.renting.account import Account
from mesh.policy.rentals.timers import BLIND_MS

# Why a listing or an offer was none, in words, and what helps.
MENDS: dict[str, tuple[str, str]] = {
    "auth": ("the provider does not take the key", "fleet clouds login {provider}"),
    "retired": (
        "the provider has retired the API that this program uses",
        "update fleet-ledger; until then return what is rented at {page}",
    ),
    "quota": ("the day's questions are used up", "it is asked again after midnight UTC"),
    "429": ("the provider wants to be left alone", "it is asked again when it allows"),
    "timeout": ("the provider does not answer", "look at its status page, and at your own line"),
    "unreached": ("the provider is not reached", "look at your own line: fleet doctor"),
    "reset": ("the provider breaks off", "it is asked again"),
    "5xx": ("the provider has a fault of its own", "it is asked again"),
    "malformed": ("the provider's answer is not understood", "update fleet-ledger"),
}


def check_row(one: KeyedAccount, account: Account | None, market: MarketWatch) -> dict[str, object]:
    """One provider's row; `state` is "ready", "no_key", "asking", "trouble" or "retired". `seen`:
    its machines were listed lately, so that what is not in its listing is not there."""
    provider = one.provider
    row: dict[str, object] = {
        "provider": provider.name,
        "title": provider.title,
        "account": one.account or None,
        "key_from": one.where or None,
        "state": "no_key",
        "text": one.note or "no key",
        "hint": f"fleet clouds login {provider.name}, or set {provider.variable}",
        "owns": None,
        "listed_ms_ago": None,
        "machines": None,
        "seen": False,
        "has_dead_man": None,
        "has_charges": None,
        "has_images": None,
    }
    if account is None:
        return row
    why = account.calls.trouble or _market_trouble(market, (provider.name, one.account))
    listed = account.listed_ms_ago
    row |= {"owns": account.owns, "listed_ms_ago": listed, "text": "", "hint": ""}
    row |= {"machines": None if listed is None else len(account.calls.rows)}
    row |= {"seen": listed is not None and listed <= BLIND_MS and not account.calls.trouble}
    profile = account.profile
    row |= {"has_dead_man": profile.has_dead_man, "has_charges": profile.has_charges}
    row |= {"has_images": bool(profile.default_image)}
    if why:
        text, hint = MENDS.get(why, (f"the provider says {why}", "it is asked again"))
        state = "retired" if why == "retired" else "trouble"
        hint = hint.format(provider=provider.name, page=provider.page)
        return row | {"state": state, "text": text, "hint": hint}
    return row | {"state": "asking" if listed is None else "ready"}


def _market_trouble(market: MarketWatch, name: tuple[str, str]) -> str:
    found = market.troubles.get(name)
    return "" if found is None else found.why
