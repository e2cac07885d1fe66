"""Hardware nobody owns yet, asked about for one question: named in a text, or listed in a file."""

import re
from collections.abc import Mapping, Sequence

from mathcore.hardware.described import describe, ram_bandwidth, read_text
from mathcore.units import parse_memory
from mesh.api.errors import RequestError
from mesh.api.fields import refuse
from mesh.api.hardware import (
    described_hardware,
    label_of,
    notes_of,
    parse_device,
    refuse_stranger,
)

# "RTX 5090 x2", "2x RTX 5090": more cards than any host holds is a typing error.
MAX_CARDS = 64
# "RTX 4090 + RTX 3090": no board has more slots.
MAX_KINDS = 8


def parse_what_ifs(
    texts: Sequence[str], ram: str | None = None, rate: str | None = None
) -> dict[str, dict[str, object]]:
    """Payloads by device id of hardware nobody owns yet: each text is one host.

    "RTX 4090 + 2x RTX 3090" is a host of several kinds of cards, "RTX 4090 + CPU 128GB" one card
    and its host's RAM. The same hardware named twice is two devices, numbered. `ram` and `rate` are
    those of every host that does not state its own.
    """
    found: dict[str, dict[str, object]] = {}
    for i, text in enumerate(texts):
        parts, beside = _host_of(text)
        if rate is not None and len(parts) > 1:
            refuse(
                f"rate: {text[:60]!r} is several kinds of cards rented as one",
                "describe each with its own rate in a file: fleet plan --fleet FILE",
            )
        for part in parts:
            device_id, payload = parse_what_if(part, ram, rate)
            payload |= {} if payload["kind"] != "gpu" else beside
            if len(parts) > 1:
                payload["host"] = f"what-if-{i + 1}"
            _add(found, device_id, payload)
    return found


def _host_of(text: str) -> tuple[list[str], dict[str, object]]:
    """(its accelerators, what a processor or a size among the parts says of its RAM)."""
    parts = [part.strip() for part in re.split(r"(?:^|\s)\+(?=\s|$)", text)]
    if len(parts) > MAX_KINDS:
        refuse(f"what-if {text[:60]!r}: {len(parts)} kinds of cards", f"at most {MAX_KINDS}")
    if len(parts) > 1 and not all(parts):
        refuse(
            f"what-if {text[:60]!r}: a card is missing beside the +",
            'say for example "RTX 4090 + RTX 3090"',
        )
    cards = [part for part in parts if not _is_host(part)]
    if len(parts) == 1 or not cards:
        return parts, {}
    if len(cards) + 1 < len(parts):
        refuse(f"what-if {text[:60]!r}: a host has one processor", "name it once, with all its RAM")
    hosts = [part for part in parts if part not in cards]
    return cards, _ram_of(hosts[0]) if hosts else {}


def _is_host(part: str) -> bool:
    """ "CPU 128GB", "EPYC 9654 768GB", "128GB RAM": not a card but what it is plugged into."""
    return not read_text(part).name or describe(part).kind == "cpu"


def _ram_of(part: str) -> dict[str, object]:
    written = read_text(part)
    size = written.memory_bytes or written.ram_bytes
    if not size:
        refuse(f"{written.name!r}: how much RAM it has is not stated", f"say {part} 128GB")
    reach = ram_bandwidth(written.name)
    known: dict[str, object] = {"ram_bandwidth_bytes_per_s": reach} if reach else {}
    return {"ram_bytes": size, "ram_free_bytes": size, **known}


def _add(found: dict[str, dict[str, object]], device_id: str, payload: dict[str, object]) -> None:
    """Under its id; one more of the same is numbered."""
    free, number = device_id, 1
    while free in found:
        number += 1
        free = f"{device_id}-{number}"
    if number > 1:
        payload["name"] = f"{payload['name']} #{number}"
    found[free] = payload


def parse_what_if(
    text: str, ram: str | None = None, rate: str | None = None
) -> tuple[str, dict[str, object]]:
    """(device_id, payload) of "RTX 5090", "RTX 5090 x2", "2x A100 80GB": nobody owns it yet.

    `notes` in the payload, where there are any, say what a person should know of the reading.
    """
    count = read_text(text).count
    if not 1 <= count <= MAX_CARDS:
        refuse(f"what-if {text!r}: {count} cards", f"1 to {MAX_CARDS}")
    beside = {key: value for key, value in (("ram", ram), ("rate", rate)) if value is not None}
    given: dict[str, object] = {"name": label_of(text), "gpu": text.strip(), **beside}
    device_id, payload = parse_device(given)
    return device_id, payload | _asked_about(text.strip(), given)


def parse_fleet(
    entries: Sequence[Mapping[str, object]], ram: str | None = None, rate: str | None = None
) -> dict[str, dict[str, object]]:
    """Payloads by device id of hardware listed for one question; errors say which entry.

    `ram` and `rate` are those of every entry that does not state its own.
    """
    found: dict[str, dict[str, object]] = {}
    for i, entry in enumerate(entries):
        name = entry.get("name")
        where = f"device {i + 1}" + (f" ({name[:40]!r})" if isinstance(name, str) and name else "")
        given = _with_defaults(entry, ram, rate)
        try:
            device_id, payload = parse_device(given)
        except RequestError as error:
            raise RequestError("BadRequest", f"{where}: {error.text}", error.hint) from error
        if device_id in found:
            refuse(f"{where}: name: used twice", "names tell them apart")
        found[device_id] = payload | _asked_about(str(payload["name"]), given)
    return found


def _with_defaults(
    entry: Mapping[str, object], ram: str | None, rate: str | None
) -> dict[str, object]:
    given = dict(entry)
    if ram is not None:
        given.setdefault("ram", ram)
    if rate is not None and "price" not in given:
        given.setdefault("rate", rate)
    return given


def _asked_about(name: str, given: Mapping[str, object]) -> dict[str, object]:
    """What a payload says of hardware that stands in no ledger."""
    what = described_hardware(given)
    refuse_stranger(what)
    notes = notes_of(what)
    ram = given.get("ram")
    if isinstance(ram, str) and what.shares_ram and parse_memory(ram) != what.memory_bytes:
        notes.append(f"{what.name} computes in its host's own RAM: {ram} more are not counted")
    return {"name": name, "described_by": "what-if"} | ({"notes": notes} if notes else {})
