"""What may be asked of a new key, and how keys are shown: never by their hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from mathcore.units import NUSD, parse_nusd
from mesh.api.bodies import base_name
from mesh.api.errors import RequestError
from mesh.api.naming import only_one
from mesh.api.rows import Row, peer_name
from mesh.state.facts.serving import BUDGET_PERIODS, DAY, MONTH, TOTAL
from mesh.state.serving.keys import MAX_MODEL_NAME, MAX_MODELS, MAX_NAME, KeyView
from mesh.state.state import State

FIELDS: Final = ("name", "models", "rate_per_min", "budget", "budget_per")
# More requests a minute than any gateway here answers: a mistake.
MAX_RATE_PER_MIN: Final = 1_000_000
MAX_BUDGET_NUSD: Final = 1_000_000 * NUSD  # a million dollars; the ledger signs up to nine
# Nothing that a shell, a table or a URL reads in its own way.
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*", re.ASCII)
RATE_EXAMPLE: Final = "fleet keys add NAME --rate 60/min"
BUDGET_EXAMPLE: Final = "fleet keys add NAME --budget '$5/day'"
_MINUTES: Final = ("/min", "/minute", "/m")
_HOURS: Final = ("/h", "/hour", "/hr")
_PERIODS: Final = {
    "day": DAY, "d": DAY, "daily": DAY, "month": MONTH, "mo": MONTH, "monthly": MONTH,
    "total": TOTAL, "": TOTAL,
}  # fmt: skip


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAsked:
    """A key that somebody wants."""

    name: str
    models: tuple[str, ...] = ()
    rate_per_min: int = 0
    budget_nusd: int = 0
    budget_per: str = ""


def parse_key(body: Mapping[str, object]) -> KeyAsked:
    """The key a body asks for; RequestError naming the field that is wrong."""
    for field in body:
        if field not in FIELDS:
            known = ", ".join(FIELDS)
            raise RequestError("UnknownField", f"unknown field {field[:80]!r}", f"known: {known}")
    budget, per = _budget(body.get("budget"), body.get("budget_per"))
    return KeyAsked(
        name=_name(body.get("name")),
        models=_models(body.get("models")),
        rate_per_min=_rate(body.get("rate_per_min")),
        budget_nusd=budget,
        budget_per=per,
    )


def parse_rate(text: str) -> int:
    """Requests a minute in "60/min", "60", "600/h"; ValueError otherwise."""
    plain = "".join(text.lower().split())
    found = re.fullmatch(r"(\d{1,9})(/[a-z]+)?", plain, re.ASCII)
    unit = found[2] or _MINUTES[0] if found is not None else ""
    count = int(found[1]) if found is not None else 0
    if unit in _HOURS:
        count, rest = divmod(count, 60)
        unit = "" if rest else unit
    if unit not in (*_MINUTES, *_HOURS) or not 1 <= count <= MAX_RATE_PER_MIN:
        raise ValueError(f"'{text}' is not a number of requests a minute: say for example 60/min")
    return count


def parse_budget(text: str) -> tuple[int, str]:
    """(nano-dollars, period) of "$5/day", "20 USD/month", "3": altogether; else ValueError."""
    amount, slash, period = "".join(text.lower().split()).partition("/")
    amount = amount.removesuffix("usd").removesuffix("$").removeprefix("usd")
    try:
        nusd = parse_nusd(amount)
    except ValueError:
        nusd = 0
    per = _PERIODS.get(period, "") if period or not slash else ""
    if not per or not 0 < nusd <= MAX_BUDGET_NUSD:
        raise ValueError(f"'{text}' is not a budget: say for example $5/day, $50/month or $20")
    return nusd, per


def _name(value: object) -> str:
    if not isinstance(value, str) or NAME.fullmatch(value) is None or len(value) > MAX_NAME:
        text = f"a key's name has letters, digits and .-_@, and at most {MAX_NAME} of them"
        raise RequestError("BadField", text, "fleet keys add ci")
    return value


def _models(value: object) -> tuple[str, ...]:
    given = [] if value is None else value
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise RequestError("BadField", "models must be a list of names", "fleet models lists some")
    names = tuple(dict.fromkeys(base_name(one.strip()) for one in given))
    if len(names) > MAX_MODELS:
        text = f"a key names at most {MAX_MODELS} models, and this names {len(names)}"
        raise RequestError("BadField", text, "name none: then it may ask all")
    if not all(0 < len(one) <= MAX_MODEL_NAME and one.isprintable() for one in names):
        raise RequestError("BadField", "a model without a name", "fleet models lists some")
    return names


def _rate(value: object) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= MAX_RATE_PER_MIN:
        text = f"rate_per_min must be between 0, no limit, and {MAX_RATE_PER_MIN}"
        raise RequestError("BadField", text, RATE_EXAMPLE)
    return value


def _budget(value: object, period: object) -> tuple[int, str]:
    """What a key may cost, and in which time; the text may name the time itself."""
    if period is not None and period not in BUDGET_PERIODS:
        text = f"budget_per={str(period)[:40]!r}"
        raise RequestError("BadField", text, f"one of {', '.join(BUDGET_PERIODS)}")
    if value is None:
        if period is not None:
            raise RequestError("BadField", "budget_per without a budget", BUDGET_EXAMPLE)
        return 0, ""
    if not isinstance(value, str):
        raise RequestError("BadField", "budget must be a text like $5/day", BUDGET_EXAMPLE)
    try:
        nusd, per = parse_budget(value)
    except ValueError as error:
        raise RequestError("BadField", str(error), BUDGET_EXAMPLE) from error
    if period is not None and "/" in value and per != period:
        text = f"budget is for a {per}, and budget_per says {period}"
        raise RequestError("BadField", text, "say it once")
    return nusd, str(period or per)


def key_rows(state: State, now_ms: int) -> list[Row]:
    """One row per key, those that work first, then by name."""
    keys = sorted(state.keys.values(), key=lambda one: (not one.works, one.name, one.key_id))
    return [key_row(state, one, now_ms) for one in keys]


def key_row(state: State, key: KeyView, now_ms: int) -> Row:
    """A key and what it spent in its budget's time, the whole of it where it has none."""
    per = key.budget_per or TOTAL
    return {
        "key_id": key.key_id,
        "name": key.name,
        "author": key.author,
        "peer": peer_name(state, key.author),
        "models": list(key.models),
        "rate_per_min": key.rate_per_min,
        "budget_nusd": key.budget_nusd,
        "budget_per": per,
        "spent_nusd": state.spent_nusd(key.key_id, per, now_ms),
        "added_ms": key.added_ms,
        "revoked_ms": key.revoked_ms,
        "works": key.works,
    }


def find_key(state: State, wanted: str) -> KeyView:
    """The key with this id, else the only one of this name that works; RequestError for none."""
    keys = state.keys
    if wanted in keys:
        return keys[wanted]
    named = [one for one in keys.values() if one.name == wanted]
    named = [one for one in named if one.works] or named
    hint = "fleet keys lists them"
    return only_one(named, wanted, kind="key", hint=hint, id_of=lambda one: one.key_id)


def key_name(keys: Mapping[str, KeyView], key_id: str) -> str:
    """What people call a key; with its id where another has the same name, that alone for one
    nobody knows."""
    one = keys.get(key_id)
    if one is None:
        return key_id
    alone = sum(other.name == one.name for other in keys.values()) == 1
    return one.name if alone else f"{one.name} ({key_id})"
