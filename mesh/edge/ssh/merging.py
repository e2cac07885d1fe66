"""What is known of a host, from two probes: a live one reads less than a whole one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from providers.ssh.limits import MAX_CARDS
from providers.ssh.reading.facts import HostFacts

# A host that has another trouble at each probe fills no memory here.
MAX_WARNINGS: Final = 64


def merged(before: HostFacts | None, now: HostFacts) -> HostFacts:
    """A live probe's readings over what the last whole one told; cards whose maker's tool gives no
    answer stay as they were, without readings."""
    if before is None:
        return now
    silent = {maker for maker, (state, _) in now.states.items() if state != "lost"}
    kept = [c for c in before.cards if c.vendor in silent]
    seen = {card.lock for card in now.cards}
    lost = [
        c
        for c in before.cards
        if "lost" in now.states.get(c.vendor, ("", "")) and c.lock not in seen
    ]
    blind = [
        replace(
            c, used_bytes=None, free_bytes=None, utilisation_percent=None, watts=None, processes=()
        )
        for c in (*kept, *lost)
        if c.lock not in seen
    ]
    cards = (*now.cards, *blind)[:MAX_CARDS]
    if now.whole:
        return replace(now, cards=cards)
    return replace(
        before,
        boot_id=now.boot_id,
        ram_bytes=now.ram_bytes,
        ram_free_bytes=now.ram_free_bytes,
        disk_free_bytes=now.disk_free_bytes,
        load=now.load,
        cards=cards,
        states=now.states,
        warnings=tuple(dict.fromkeys((*before.warnings, *now.warnings)))[:MAX_WARNINGS]
        if now.states
        else before.warnings,
    )
