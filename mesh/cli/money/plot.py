"""A bill as bars of text: what was used, what was idle, what nobody watched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, Final

from mesh.cli.money.cost import dollars, key_of
from mesh.cli.output import clean, is_encodable

Row = Mapping[str, Any]
PARTS: Final = (("total_cost_nusd", "█", "#"), ("idle_nusd", "▒", "-"), ("unknown_nusd", "░", "."))
LEGEND: Final = ("used", "idle", "not watched")
MOST_ROWS: Final = 62  # two months of days; more is no picture
NARROWEST: Final = 40
BAR: Final = 60  # columns of the longest, at most


def picture(report: Row) -> str:
    """A bar a group, the latest or dearest MOST_ROWS of them; "" where nothing has a price."""
    key, groups = key_of(report), list(report["groups"])
    shown = groups[-MOST_ROWS:] if key == "period" else groups[:MOST_ROWS]
    most = max((_known(one) for one in shown), default=0)
    if not most:
        return "nothing of it has a known price"
    plain = not is_encodable("█▒░")
    names = [clean(str(one[key]))[:24] for one in shown]
    sums = [dollars(one["total_nusd"], partly=one["unknown_ms"] > 0) for one in shown]
    left, right = max(map(len, names)), max(map(len, sums))
    width = max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    room = max(8, min(BAR, width - left - right - 4))
    lines = [
        f"{name.ljust(left)}  {_bar(one, most, room, plain=plain).ljust(room)}  {text.rjust(right)}"
        for name, one, text in zip(names, shown, sums, strict=True)
    ]
    signs = [part[2 if plain else 1] for part in PARTS]
    legend = "  ".join(f"{sign} {word}" for sign, word in zip(signs, LEGEND, strict=True))
    return "\n".join([*(line.rstrip() for line in lines), legend])


def _known(one: Row) -> int:
    return sum(max(0, one[name] or 0) for name, _, _ in PARTS)


def _bar(one: Row, most: int, room: int, *, plain: bool) -> str:
    """Its parts side by side, as long together as its sum is."""
    done, drawn, text = 0, 0, ""
    for name, sign, ascii_sign in PARTS:
        done += max(0, one[name] or 0)
        end = (2 * done * room + most) // (2 * most)
        text += (ascii_sign if plain else sign) * (end - drawn)
        drawn = end
    return text
