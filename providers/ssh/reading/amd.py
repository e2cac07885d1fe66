"""AMD cards: amd-smi's JSON of 6 and 7, rocm-smi's where there is no amd-smi, sysfs where neither
helps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from providers.ssh.limits import MAX_CARDS
from providers.ssh.reading.facts import Card, Cards
from providers.ssh.reading.sections import Section, bus_address, number, plain, scaled, whole

MB: Final = 1024 * 1024  # amd-smi's "MB" is 2**20
# An APU's own memory is a carve-out of RAM; its pool (GTT) is what models go to.
GTT_TIMES: Final = 4
GENERIC: Final = ("", "N/A", "AMD Radeon Graphics")


def read_amd(
    metric: Section | None,
    static: Section | None = None,
    rocm: Section | None = None,
    files: Mapping[str, str] | None = None,
) -> Cards:
    """The cards by the best source that answers; sysfs has them all, with fewer words."""
    state, text = "ok", ""
    for section, read in ((metric, _from_amd_smi), (rocm, _from_rocm_smi)):
        if section is None:
            continue
        if section.hung:
            state, text = "unresponsive", "the driver's tool does not come back within 5 s"
            break
        cards = read(section, static)
        if cards:
            return Cards(found=cards[:MAX_CARDS])
    if state == "unresponsive":
        return Cards(state="unresponsive", text=text)
    return Cards(found=_from_sysfs(files or {})[:MAX_CARDS])


def _json(text: str) -> Any:
    """The JSON behind whatever warnings a tool prints first; None where there is none."""
    for at in (m.start() for m in re.finditer(r"^\s*[\[{]", text, re.M)):
        try:
            return json.JSONDecoder().raw_decode(text[at:].lstrip())[0]
        except (ValueError, RecursionError):
            continue
    return None


def _rows(value: Any) -> list[dict[str, Any]]:
    """amd-smi 6 prints a list, 7 an object around it."""
    rows = value.get("gpu_data", []) if isinstance(value, dict) else value
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _at(row: Any, *path: str) -> Any:
    """A value in nested objects, any of which may be "N/A"; a {"value", "unit"} is its value."""
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row.get("value") if isinstance(row, dict) else row


def _from_amd_smi(metric: Section, static: Section | None) -> tuple[Card, ...]:
    known = {_at(row, "gpu"): row for row in _rows(_json(static.text))} if static else {}
    found = []
    for row in _rows(_json(metric.text)):
        index = whole(_at(row, "gpu"))
        if index is not None:
            found.append(_card(index, row, known.get(index, {})))
    return tuple(found)


def _card(index: int, row: dict[str, Any], static: dict[str, Any]) -> Card:
    total = scaled(_at(row, "mem_usage", "total_vram"), MB)
    total = total or scaled(_at(static, "vram", "size"), MB)
    return _sized(
        index,
        name=_name(_at(static, "board", "product_name"), _at(static, "asic", "market_name")),
        uuid=plain(_at(static, "asic", "asic_serial") or ""),
        bus=bus_address(str(_at(static, "bus", "bdf") or "")),
        total=total,
        used=scaled(_at(row, "mem_usage", "used_vram"), MB),
        gtt=scaled(_at(row, "mem_usage", "total_gtt"), MB),
        load=whole(_at(row, "usage", "gfx_activity")),
        watts=number(_at(row, "power", "socket_power")),
        limit=None,
        warm=whole(_at(row, "temperature", "edge")) or whole(_at(row, "temperature", "hotspot")),
    )


def _name(*names: Any) -> str:
    """The first that says more than the maker."""
    found = [plain(name) for name in names if isinstance(name, str)]
    return next((name for name in found if name not in GENERIC), (found or ["AMD GPU"])[-1])


def _sized(
    index: int,
    *,
    name: str,
    uuid: str,
    bus: str,
    total: int | None,
    used: int | None,
    gtt: int | None,
    load: int | None,
    watts: float | None,
    limit: int | None,
    warm: int | None,
) -> Card:
    shares = gtt is not None and total is not None and gtt > GTT_TIMES * total
    return Card(
        index=index,
        vendor="amd",
        name=name,
        uuid=uuid,
        bus=bus,
        memory_bytes=gtt if shares else total,
        used_bytes=None if shares else used,
        free_bytes=None if shares or total is None or used is None else max(0, total - used),
        shares_ram=shares,
        utilisation_percent=load,
        watts=watts,
        watts_limit=limit,
        temperature_c=warm,
    )


def _from_rocm_smi(section: Section, _: Section | None) -> tuple[Card, ...]:
    value = _json(section.text)
    found = []
    for key, row in value.items() if isinstance(value, dict) else ():
        place = re.fullmatch(r"card(\d{1,3})", str(key))
        if place is None or not isinstance(row, dict):
            continue
        named = [row.get(k) for k in ("Card Series", "Card series", "Card model", "Card Model")]
        power = [v for k, v in row.items() if "Power (W)" in k and "Max" not in k]
        warm = [v for k, v in row.items() if k.startswith("Temperature (Sensor edge)")]
        card = _sized(
            int(place[1]),
            name=_name(*named),
            uuid=plain(row.get("Unique ID", "")),
            bus=bus_address(str(row.get("PCI Bus", ""))),
            total=whole(row.get("VRAM Total Memory (B)")),
            used=whole(row.get("VRAM Total Used Memory (B)")),
            gtt=None,
            load=whole(row.get("GPU use (%)")),
            watts=number(power[0]) if power else None,
            limit=None,
            warm=whole(warm[0]) if warm else None,
        )
        found.append(card)
    return tuple(found)


def _from_sysfs(files: Mapping[str, str]) -> tuple[Card, ...]:
    """Cards by the kernel's own files; `files` by path."""
    places = sorted({m[1] for path in files if (m := re.match(r"(/sys/class/drm/card\d+)/", path))})
    found: list[Card] = []
    for place in places:
        folder = f"{place}/device"
        total = whole(files.get(f"{folder}/mem_info_vram_total"))
        if files.get(f"{folder}/vendor") != "0x1002" or total is None:
            continue
        slot = re.search(r"^PCI_SLOT_NAME=(\S+)$", files.get(f"{folder}/uevent", ""), re.M)
        device = plain(files.get(f"{folder}/device", ""))
        found.append(
            _sized(
                len(found),
                name=_name(files.get(f"{folder}/product_name"), f"AMD GPU {device}"),
                uuid=plain(files.get(f"{folder}/unique_id", "")),
                bus=bus_address(slot[1]) if slot else "",
                total=total,
                used=whole(files.get(f"{folder}/mem_info_vram_used")),
                gtt=whole(files.get(f"{folder}/mem_info_gtt_total")),
                load=whole(files.get(f"{folder}/gpu_busy_percent")),
                watts=_thousandths(_sensor(files, folder, "power1_average"), 1000),
                limit=_int(_thousandths(_sensor(files, folder, "power1_cap"), 1000)),
                warm=_int(_thousandths(_sensor(files, folder, "temp1_input"), 1)),
            )
        )
    return tuple(found)


def _sensor(files: Mapping[str, str], folder: str, name: str) -> str | None:
    return next(
        (
            v
            for k, v in files.items()
            if k.startswith(f"{folder}/hwmon/") and k.endswith(f"/{name}")
        ),
        None,
    )


def _thousandths(text: str | None, times: int) -> float | None:
    """Microwatts (times 1000) or millidegrees as watts or degrees."""
    value = number(text) if text is not None else None
    return None if value is None else value / 1000 / times


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)
