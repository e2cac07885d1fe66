"""A probe's answer taken apart: sections by name, each with its program's exit status."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, final

from providers.ssh.limits import MAX_NAME

KILLED: Final = (124, 137, 142)  # timeout's own status, by KILL, and perl's alarm
MAX_BYTES: Final = 2**60  # an exbibyte: more is no memory but a mistake
MAX_SECTIONS: Final = 64


@final
@dataclass(frozen=True, slots=True)
class Section:
    """What one part printed; `status` None where it never came back or has none."""

    text: str
    status: int | None = None

    @property
    def hung(self) -> bool:
        """Whether its program ran into its limit."""
        return self.status is None or self.status in KILLED


def split(body: str, nonce: str) -> dict[str, Section]:
    """The sections of an answer, also of one that broke off."""
    found: dict[str, Section] = {}
    name, lines = "", list[str]()
    mark = re.compile(rf"@@{re.escape(nonce)} (?:rc (\d{{1,3}})|([a-z]{{1,16}}))")
    for line in body.split("\n"):
        at = mark.fullmatch(line.rstrip("\r"))
        if at is None:
            lines.append(line)
        elif at[1] is not None:
            found[name] = Section(_text(lines), int(at[1]))
            lines = []
        else:
            if name and name not in found:
                found[name] = Section(_text(lines))
            name, lines = at[2], []
        if len(found) > MAX_SECTIONS:
            break
    if name and name not in found:
        found[name] = Section(_text(lines))
    return found


def _text(lines: list[str]) -> str:
    return "\n".join(lines).strip("\n")


def number(text: Any) -> float | None:
    """A number a tool printed; None for "[N/A]", "N/A", "" and whatever else is none."""
    if isinstance(text, bool):
        return None
    if not isinstance(text, int | float) and not re.fullmatch(
        r"-?\d{1,18}(\.\d{1,9})?", str(text).strip()
    ):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def whole(text: Any) -> int | None:
    """The same, not below 0, without its fraction."""
    value = number(text)
    return int(value) if value is not None and 0 <= value < MAX_BYTES else None


def scaled(text: Any, unit: int) -> int | None:
    """A number of units as bytes."""
    value = whole(text)
    return value * unit if value is not None and value * unit < MAX_BYTES else None


def plain(text: Any) -> str:
    """A name a host gives: one line, printable, bounded."""
    words = " ".join(str(text).split())
    return "".join(c for c in words if c.isprintable())[:MAX_NAME]


def bus_address(text: str) -> str:
    """ "00000000:01:00.0", "0000:C5:00.0" or "01:00.0" as sysfs spells it; "" for what is none."""
    found = re.fullmatch(
        r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", text.strip().lower()
    )
    return f"{(found[1] or '0000')[-4:]}:{found[2]}" if found else ""
