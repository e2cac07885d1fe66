"""NVIDIA cards, as nvidia-smi prints them: columns by the header's names, whatever their order.

A driver that is older or newer leaves columns out: what is missing is unknown.
"""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from typing import Final

from providers.ssh.limits import MAX_CARDS, MAX_PROCESSES
from providers.ssh.reading.facts import Card, Cards, Process
from providers.ssh.reading.sections import Section, bus_address, number, plain, scaled, whole

MIB: Final = 1024 * 1024
# Modules whose processor and GPU share one memory: what they report of it, if anything, is a
# carve-out.
SHARED: Final = re.compile(r"\b(GB10|N1X?|Orin|Xavier|Thor|nvgpu|Tegra)\b", re.I)
_MIG: Final = re.compile(r"MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[\w/-]{1,80})\)")
_GPU: Final = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[\w-]{1,80})\)")
# "1g.10gb" and "2g.20gb" name their memory; "1g.12gb+me" has a suffix.
_PROFILE: Final = re.compile(r"\d+(?:c\.\d+)?g\.(\d{1,4})gb")


def read_nvidia(
    rows: Section | None, processes: Section | None = None, listed: Section | None = None
) -> Cards:
    """Every card, a divided one by its slices. A driver's trouble is a state, not "no card"."""
    if rows is None:
        return Cards()
    if trouble := _trouble(rows):
        return trouble
    by_card = _processes(processes)
    cards = [_card(row) for row in _table(rows.text)[:MAX_CARDS]]
    found = tuple(
        replace(card, processes=by_card.get(card.uuid, ())) for card in cards if card is not None
    )
    whole_cards, slices = _divided(rows.text, found, listed)
    lost = "Unable to determine the device handle" in rows.text
    text = "a card fell off the bus" if lost else ""
    return Cards(found=(*whole_cards, *slices), state="lost" if lost else "ok", text=text)


def _trouble(rows: Section) -> Cards | None:
    """What keeps the driver from answering at all."""
    text = plain(rows.text)
    if "version mismatch" in text.lower():
        hint = "reboot the host, or reload the driver's modules"
        return Cards(state="driver_mismatch", text=f"{text}: {hint}")
    if rows.hung:
        return Cards(state="unresponsive", text="nvidia-smi does not come back within 5 s")
    if rows.status and "device handle" not in rows.text:
        return Cards(state="driver_error", text=text or f"nvidia-smi ended with {rows.status}")
    return None


def _table(text: str) -> list[dict[str, str]]:
    """CSV rows by column name, units cut off: "memory.total [MiB]" is "memory.total"."""
    lines = [line for line in text.splitlines() if "," in line]
    at = next(
        (i for i, line in enumerate(lines) if re.match(r"\s*(index|gpu_uuid|name|uuid)\b", line)),
        None,
    )
    if at is None:
        return []
    table = [
        [cell.strip() for cell in row] for row in csv.reader(lines[at:], skipinitialspace=True)
    ]
    names = [cell.split(" [")[0] for cell in table[0]]
    return [dict(zip(names, row, strict=False)) for row in table[1:] if len(row) > 1]


def _card(row: dict[str, str]) -> Card | None:
    index, name = whole(row.get("index")), plain(row.get("name", ""))
    if index is None or not name:
        return None
    total = scaled(row.get("memory.total"), MIB)
    shares = SHARED.search(name) is not None or total is None
    capability = row.get("compute_cap", "")
    return Card(
        index=index,
        vendor="nvidia",
        name=name,
        uuid=plain(row.get("uuid", "")),
        bus=bus_address(row.get("pci.bus_id", "")),
        memory_bytes=None if shares else total,
        used_bytes=None if shares else scaled(row.get("memory.used"), MIB),
        free_bytes=None if shares else scaled(row.get("memory.free"), MIB),
        shares_ram=shares,
        utilisation_percent=whole(row.get("utilization.gpu")),
        watts=number(row.get("power.draw")),
        watts_limit=whole(row.get("power.limit")),
        temperature_c=whole(row.get("temperature.gpu")),
        driver=plain(row.get("driver_version", "")),
        compute_capability=capability if re.fullmatch(r"\d{1,2}\.\d", capability) else "",
    )


def _divided(
    text: str, cards: tuple[Card, ...], listed: Section | None
) -> tuple[list[Card], list[Card]]:
    """(cards that are whole, slices of the others): nothing runs on a divided card itself."""
    modes = {row.get("uuid"): row.get("mig.mode.current") for row in _table(text)}
    by_uuid = _slices(listed.text if listed is not None and not listed.hung else "")
    divided = [c for c in cards if by_uuid.get(c.uuid) or modes.get(c.uuid) == "Enabled"]
    slices = [_slice(card, *one) for card in divided for one in by_uuid.get(card.uuid, [])]
    return [card for card in cards if card not in divided], slices


def _slices(text: str) -> dict[str, list[tuple[int, str, str]]]:
    """By card, (place, profile, UUID) of each slice that `nvidia-smi -L` lists."""
    found: dict[str, list[tuple[int, str, str]]] = {}
    parent = ""
    for line in text.splitlines()[: 4 * MAX_CARDS]:
        if card := _GPU.search(line):
            parent = card[2]
        elif part := _MIG.search(line):
            found.setdefault(parent, []).append((int(part[2]), part[1], part[3]))
    return found


def _slice(card: Card, place: int, profile: str, uuid: str) -> Card:
    size = _PROFILE.match(profile)
    return Card(
        index=place,
        vendor="nvidia",
        name=f"{card.name} MIG {plain(profile)}",
        uuid=uuid,
        bus=card.bus,
        memory_bytes=int(size[1]) << 30 if size else None,
        driver=card.driver,
        compute_capability=card.compute_capability,
        parent=card.uuid,
    )


def _processes(section: Section | None) -> dict[str, tuple[Process, ...]]:
    """By card's UUID, the programs on it."""
    found: dict[str, tuple[Process, ...]] = {}
    if section is None or section.status:
        return found
    for row in _table(section.text)[:MAX_PROCESSES]:
        pid, card = whole(row.get("pid")), plain(row.get("gpu_uuid", ""))
        if pid is not None:
            used = scaled(row.get("used_gpu_memory", row.get("used_memory")), MIB)
            name = plain(row.get("process_name", "")).rpartition("/")[2]
            found[card] = (*found.get(card, ()), Process(pid=pid, name=name, memory_bytes=used))
    return found
