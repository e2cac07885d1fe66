"""A Mac: system_profiler's JSON, sysctl's lines and vm_stat's pages."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from providers.ssh.reading.facts import Card
from providers.ssh.reading.sections import Section, plain, whole

# iogpu.wired_limit_mb 0 is the system's default: about three quarters of RAM, two thirds of a
# small one.
SMALL_BYTES: Final = 36 << 30
FREE_PAGES: Final = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")


def read_mac_lines(text: str) -> dict[str, str]:
    """ "name: value" lines by name."""
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}


def free_bytes(text: str) -> int | None:
    """What vm_stat says could be had; None where it says nothing."""
    page = re.search(r"page size of (\d{1,6}) bytes", text)
    counts = {k: whole(v.rstrip(".")) for k, v in read_mac_lines(text).items()}
    known = [count for name in FREE_PAGES if (count := counts.get(name)) is not None]
    return int(page[1]) * sum(known) if page and known else None


def read_apple(profile: Section | None, lines: str) -> tuple[Card, ...]:
    """The GPU of Apple's own chip; an Intel Mac's cards run no Metal engine worth having."""
    said = read_mac_lines(lines)
    ram = whole(said.get("hw.memsize"))
    limit = (whole(said.get("iogpu.wired_limit_mb")) or 0) << 20
    usable = limit or (None if ram is None else ram * 3 // 4 if ram > SMALL_BYTES else ram * 2 // 3)
    names = [plain(one.get("sppci_model") or one.get("_name")) for one in _gpus(profile)]
    if not names and re.match(r"Apple M\d", said.get("machdep.cpu.brand_string", "")):
        names = [plain(said["machdep.cpu.brand_string"])]
    return tuple(
        Card(index=i, vendor="apple", name=name, memory_bytes=usable, shares_ram=True)
        for i, name in enumerate(names[:1])
    )


def _gpus(profile: Section | None) -> list[dict[str, Any]]:
    if profile is None or profile.status:
        return []
    try:
        value = json.loads(profile.text[profile.text.index("{") :])
    except (ValueError, RecursionError):
        return []
    rows = value.get("SPDisplaysDataType") if isinstance(value, dict) else None
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [row for row in found if row.get("spdisplays_vendor") == "sppci_vendor_Apple"]
