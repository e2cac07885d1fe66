"""What may be asked of a comparison: tokens a day, how they divide, and within which hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn, final

from mathcore.units import HOUR_MS
from mesh.api.fields import refuse, unknown_field
from mesh.api.requests import PlanRequest, lengths, parse_plan

OWN: Final = ("tokens_per_day", "prompt_share", "hours", "months", "spot")
# A plan's fields that a comparison decides itself.
DECIDED: Final = ("cloud", "sets", "ways_out", "on", "deadline", "max_cost")
PLAIN: Final[dict[str, object]] = {"sets": False, "ways_out": False}
HELP: Final = "fleet compare --help"
MAX_TOKENS_PER_DAY: Final = 10**15  # a thousand times what the largest API serves
MAX_MONTHS: Final = 1200  # as long as a device may live
HOURS: Final = 24
DEFAULT_HOURS: Final = "8"
DEFAULT_SHARE: Final = "0.75"  # three tokens read for one written
MAX_TEXT: Final = 40  # characters of a number
PPM: Final = 1_000_000
# Of a request of which nobody said how long it is; as much of it as the context holds.
REQUEST_TOKENS: Final = 1024
# Prices are of a million, so these are powers of ten, unlike the lengths of contexts.
SCALES: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """A checked question. Of `parts` tokens `prompt_parts` are read; `plan` has the lengths of one
    request that come nearest to that."""

    plan: PlanRequest
    tokens_per_day: int
    prompt_parts: int
    parts: int
    work_ms: int
    months: int | None
    spot: bool | None  # only machines that may be taken back, or none of them; None = all


def parse_compare(given: Mapping[str, object]) -> CompareRequest:
    """The question of these fields; RequestError names the one that is wrong."""
    known = [*OWN, *(one for one in PlanRequest.__struct_fields__ if one not in DECIDED)]
    for name in given:
        if name not in known:
            unknown_field(name, known, HELP)
    own = {name: given[name] for name in OWN if given.get(name) is not None}
    if "tokens_per_day" not in own:
        refuse("tokens_per_day: missing", "say how many a day: --tokens-per-day 2M")
    tokens = _tokens(own["tokens_per_day"])
    asked = {name: value for name, value in given.items() if name not in OWN}
    hours = _number("hours", own.get("hours", DEFAULT_HOURS), Decimal(HOURS), "8")
    if hours <= 0:
        _wrong("hours", own["hours"], f"a number of hours above 0, {HOURS} at most", "8")
    plan, parts = _shaped(asked, own.get("prompt_share"))
    return CompareRequest(
        plan=plan,
        tokens_per_day=tokens,
        prompt_parts=parts[0],
        parts=parts[1],
        work_ms=max(1, int(hours * HOUR_MS)),
        months=_months(own["months"]) if "months" in own else None,
        spot=_flag("spot", own["spot"]) if "spot" in own else None,
    )


def _shaped(asked: dict[str, object], share: object) -> tuple[PlanRequest, tuple[int, int]]:
    """(the plan's question, (tokens read, of so many))."""
    by_length = [name for name in ("prompt_tokens", "tokens") if asked.get(name) is not None]
    if not by_length:
        said = DEFAULT_SHARE if share is None else share
        ppm = int(_number("prompt_share", said, Decimal(1), "0.75") * PPM)
        plan = parse_plan({**asked, **PLAIN})
        lengths_of = _split(min(REQUEST_TOKENS, plan.context), ppm)
        return parse_plan({**asked, **PLAIN, **lengths_of}), (ppm, PPM)
    if share is not None:
        text = f"prompt_share: {', '.join(by_length)} say how tokens divide, too"
        refuse(text, "give one of the two")
    plan = parse_plan({**asked, **PLAIN})
    prompt, answer = lengths(plan.prompt_tokens, plan.tokens, plan.context)
    return plan, (prompt, prompt + answer)


def _split(tokens: int, ppm: int) -> dict[str, object]:
    """A request of so many tokens: at least one is read and one written."""
    prompt = min(max(1, (tokens * ppm + PPM // 2) // PPM), max(1, tokens - 1))
    return {"prompt_tokens": prompt, "tokens": max(1, tokens - prompt)}


def _tokens(value: object) -> int:
    """A number of tokens: 2000000, "2M", "500k", "1.5G"."""
    text = str(value).strip().lower()
    scale = SCALES.get(text[-1:], 1)
    digits = text[:-1] if scale > 1 else text
    takes = "a whole number of tokens from 1 to 10^15"
    number = _decimal(digits.replace("_", ""))
    if number is None or isinstance(value, bool | float):
        _wrong("tokens_per_day", value, takes, "2M")
    whole = number * scale
    if not 1 <= whole <= MAX_TOKENS_PER_DAY or whole != whole.to_integral_value():
        _wrong("tokens_per_day", value, takes, "2M")
    return int(whole)


def _months(value: object) -> int:
    number = None if isinstance(value, bool) else _decimal(str(value))
    if number is None or not 1 <= number <= MAX_MONTHS or number != number.to_integral_value():
        _wrong("months", value, f"a whole number from 1 to {MAX_MONTHS}", "24")
    return int(number)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        _wrong(field, value, "true or false", "false")
    return value


def _number(field: str, value: object, most: Decimal, example: str) -> Decimal:
    number = None if isinstance(value, bool) else _decimal(str(value))
    if number is None or not 0 <= number <= most:
        _wrong(field, value, f"a number from 0 to {most}", example)
    return number


def _decimal(text: str) -> Decimal | None:
    """A plain number, written without an exponent; None of anything else."""
    if len(text) > MAX_TEXT or not text.isascii() or not set(text) <= set("0123456789."):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _wrong(field: str, value: object, takes: str, example: str) -> NoReturn:
    shown = str(value) if len(str(value)) <= MAX_TEXT else f"{str(value)[:MAX_TEXT]}…"
    refuse(f"{field}: {shown!r} is not {takes}", f"say for example {example}")
