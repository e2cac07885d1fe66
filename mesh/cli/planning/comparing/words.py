"""A break-even as a sentence."""

from collections.abc import Mapping
from typing import Any, Final

Row = Mapping[str, Any]

MOST_MONTHS: Final = 600  # no machine is kept for longer


def said_tokens(count: int) -> str:
    """ "500k", "2M", "1.25G": three digits of a number of tokens, in powers of ten."""
    for scale, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 0.9995 * scale:  # what rounds to a whole one
            return f"{_three(count / scale)}{unit}"
    return str(count)


def _three(number: float) -> str:
    if number >= 100:
        return f"{number:.0f}"
    text = f"{number:.1f}" if number >= 10 else f"{number:.2f}"
    return text.rstrip("0").rstrip(".")


def break_even_text(one: Row) -> str:
    """ "rig against vastai RTX 4090: cheaper from 1.2M tokens a day (0.9M–2M); its price is back in
    14 months (11–19)"."""
    names = [
        f"{one[f'{side}_name']}{' kept' if one['kept'] == side else ''}"
        for side in ("one", "other")
    ]
    text = f"{' against '.join(names)}: {_side_text(one)}"
    if one["months"] is not None:
        text += f"; {_months_text(one['months'], one['lacks'])}"
    return text


def _side_text(one: Row) -> str:
    found, mid = one["tokens"], one["tokens"]["p50"]
    if mid["side"] in ("always", "never"):
        words = {"always": "cheaper at any amount", "never": "cheaper at no amount"}
        others = {found[end]["side"] for end in ("p10", "p90")} - {mid["side"]}
        return words[mid["side"]] + (" (at the median)" if others else "")
    if mid["side"] == "up to" and not one["reach"]:
        return "cheaper at any amount that both make"
    # What is not counted of the first makes it dearer.
    bound = "" if not one["lacks"] else "≥" if mid["side"] == "from" else "≤"
    ends = [_end(found[end], mid["side"]) for end in ("p10", "p90")]
    low, high = ends if mid["side"] == "from" else reversed(ends)
    beyond = "" if one["reach"] else ", which is more than both make"
    said = f"{bound}{said_tokens(mid['tokens'])} tokens a day ({low}–{high})"
    return f"cheaper {mid['side']} {said}{beyond}"


def _end(end: Row, side: str) -> str:
    """An end of the error bar; where the costs no longer cross there, what holds instead."""
    return said_tokens(end["tokens"]) if end["side"] == side else str(end["side"])


def _months_text(months: Row, lacks: list[str]) -> str:
    best, mid, worst = months["p10"], months["p50"], months["p90"]
    if mid is None or mid > MOST_MONTHS:
        hope = "" if best is None or best > MOST_MONTHS else f" (at best in {best:.0f} months)"
        said = "never comes back" if mid is None else "is not back in 50 years"
        return f"its price {said}{hope}"
    last = "never" if worst is None else f"{worst:.0f}"
    return f"its price is back in {'≥' if lacks else ''}{mid:.0f} months ({best:.0f}–{last})"
