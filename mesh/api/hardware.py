"""Hardware as a person names it: described by hand, or asked about as a what-if."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from mathcore.hardware.facts import GpuFacts
from mathcore.hardware.names import lookup_gpu
from mathcore.units import parse_bytes, parse_link_bps, parse_nusd
from mesh.api.errors import RequestError
from mesh.api.requests import Name, convert
from mesh.state.facts.device import DescribedDevice
from mesh.state.facts.fact import encode

ENGINES = ("llama.cpp", "mlx", "ollama", "tgi", "vllm")
# 24 GiB cards were seen to report 0.48 GiB less than their name says, 48 GiB ones 0.60.
DRIVER_RESERVE_BYTES = 512 * 1024 * 1024
# A card nobody catalogued: the median of the desktop cards that are. Its basis says "prior".
PRIOR_BANDWIDTH = 500_000_000_000
# US residential mean, $0.15 a kWh; `tariff_nusd_per_kwh` in fleet.toml sets your own.
DEFAULT_TARIFF_NUSD_PER_KWH = 150_000_000
# "RTX 5090 x2", "2x RTX 5090": more cards than any host holds is a typing error.
MAX_CARDS = 64
# "RTX 4090 + RTX 3090": no board has more slots.
MAX_KINDS = 8


# What a device or a host may be called.
Label = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class DeviceRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Hardware described by hand, in the words of `fleet devices add`."""

    name: Label
    gpu: Name
    memory: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    network: str | None = None
    host: Label | None = None
    backends: str | None = None
    location: Literal["lan", "tailnet", "cloud"] = "lan"
    transport: Literal["agent", "ssh", "api"] = "ssh"
    price: str | None = None
    lifetime: str | None = None
    watts: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None


def parse_device(given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """(device_id, `device_registered` payload) of hand-described hardware.

    An accelerator outside the catalogue needs its memory; its speed then rests on the class prior.
    """
    asked = convert(given, DeviceRequest)
    known = lookup_gpu(asked.gpu)
    if known is None and asked.memory is None:
        raise RequestError(
            "BadRequest", f"{asked.gpu!r} is not in the catalogue", "add --memory 24GiB"
        )
    memory = _read("memory", parse_bytes, asked.memory) if asked.memory else 0
    memory = memory or (known.memory_bytes if known else 0)
    lifetime = _read("lifetime", _months, asked.lifetime) if asked.lifetime else 60
    fact = DescribedDevice(
        name=asked.name,
        kind=known.kind if known else "gpu",
        model=known.name if known else asked.gpu,
        count=asked.count,
        memory_bytes=memory,
        free_bytes=usable_bytes(memory, known),
        free_basis="estimated",
        bandwidth_bytes_per_s=known.bandwidth_bytes_per_s if known else PRIOR_BANDWIDTH,
        bandwidth_basis="catalogue" if known else "prior",
        flops=known.flops if known else 0,
        watts=asked.watts or (known.watts if known else 0),
        engines=_engines(asked.backends),
        location=asked.location,
        transport=asked.transport,
        provider=asked.transport,
        cores=asked.cores or 0,
        network=asked.network or "",
        network_bps=_read("network", parse_link_bps, asked.network) if asked.network else 0,
        host=asked.host or "",
        price_nusd=_read("price", parse_nusd, asked.price) if asked.price else 0,
        lifetime_months=lifetime,
        tariff_nusd_per_kwh=DEFAULT_TARIFF_NUSD_PER_KWH,
        described_by="hand",
    )
    return f"dev-{asked.name.lower()}", encode(fact)


def usable_bytes(memory_bytes: int, known: GpuFacts | None) -> int:
    """What a driver leaves of nominal memory: seen on that card, else the seen minimum less."""
    if known is not None and known.usable_bytes:
        return min(memory_bytes, known.usable_bytes)
    return max(0, memory_bytes - DRIVER_RESERVE_BYTES)


def _engines(backends: str | None) -> tuple[str, ...]:
    chosen = [word.strip().lower() for word in (backends or "llama.cpp").split(",")]
    unknown = [word for word in chosen if word not in ENGINES]
    if unknown:
        raise RequestError(
            "BadRequest", f"unknown backend {unknown[0]!r}", f"one of {', '.join(ENGINES)}"
        )
    return tuple(sorted(set(chosen)))


def _months(text: str) -> int:
    months = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= months <= 1200:
        raise ValueError(f"{text!r} is not a number of months between 1 and 1200")
    return months


def _read(field: str, parse: Callable[[str], int], value: str) -> int:
    try:
        return parse(value)
    except ValueError as error:
        raise RequestError("BadRequest", f"{field}: {error}", "fleet devices add --help") from error


def parse_what_ifs(texts: Sequence[str]) -> dict[str, dict[str, object]]:
    """Payloads by device id of hardware nobody owns yet: each text is one host.

    "RTX 4090 + 2x RTX 3090" is a host of several kinds of cards. The same hardware named twice is
    two devices, numbered.
    """
    found: dict[str, dict[str, object]] = {}
    for i, text in enumerate(texts):
        parts = re.split(r"(?:^|\s)\+(?=\s|$)", text)
        if len(parts) > MAX_KINDS:
            raise RequestError(
                "BadRequest",
                f"what-if {text[:60]!r}: {len(parts)} kinds of cards",
                f"at most {MAX_KINDS} in a host",
            )
        if len(parts) > 1 and not all(part.strip() for part in parts):
            raise RequestError(
                "BadRequest",
                f"what-if {text[:60]!r}: a card is missing beside the +",
                'say for example "RTX 4090 + RTX 3090"',
            )
        for part in parts:
            device_id, payload = parse_what_if(part)
            if len(parts) > 1:
                payload["host"] = f"what-if-{i + 1}"
            _add(found, device_id, payload)
    return found


def _add(found: dict[str, dict[str, object]], device_id: str, payload: dict[str, object]) -> None:
    """Under its id; one more of the same is numbered."""
    free, number = device_id, 1
    while free in found:
        number += 1
        free = f"{device_id}-{number}"
    if number > 1:
        payload["name"] = f"{payload['name']} #{number}"
    found[free] = payload


def parse_what_if(text: str) -> tuple[str, dict[str, object]]:
    """(device_id, payload) of "RTX 5090", "RTX 5090 x2", "2x A100 80GB": nobody owns it yet."""
    count, name, memory = _counted(text)
    if not 1 <= count <= MAX_CARDS:
        raise RequestError("BadRequest", f"what-if {text!r}: {count} cards", f"1 to {MAX_CARDS}")
    known = lookup_gpu(name) or lookup_gpu(f"{name} {memory}".strip())
    if known is None and not memory:
        raise RequestError(
            "BadRequest", f"what-if: {name!r} is not in the catalogue", "add its memory: X 24GiB"
        )
    label = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "device"
    given: dict[str, object] = {"name": label, "gpu": name, "count": count}
    if memory and known is None:
        given["memory"] = memory
    elif known is not None:
        given["gpu"] = known.name
    device_id, payload = parse_device(given)
    return device_id, payload | {"name": text.strip(), "described_by": "what-if"}


def parse_fleet(entries: Sequence[Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Payloads by device id of hardware listed for one question; errors say which entry."""
    found: dict[str, dict[str, object]] = {}
    for i, entry in enumerate(entries):
        name = entry.get("name")
        where = f"device {i + 1}" + (f" ({name[:40]!r})" if isinstance(name, str) and name else "")
        try:
            device_id, payload = parse_device(entry)
        except RequestError as error:
            raise RequestError("BadRequest", f"{where}: {error.text}", error.hint) from error
        if device_id in found:
            raise RequestError("BadRequest", f"{where}: name: used twice", "names tell them apart")
        found[device_id] = payload | {"described_by": "what-if"}
    return found


def _counted(text: str) -> tuple[int, str, str]:
    """(count, name, memory or "") of a device as people write it."""
    name, count, memory = text.strip(), 1, ""
    if found := re.match(r"(\d{1,4})\s*x\s+(.+)", name, re.I):
        count, name = int(found[1]), found[2]
    if found := re.fullmatch(r"(.+?)\s+x\s*(\d{1,4})", name, re.I):
        name, count = found[1], int(found[2])
    if found := re.fullmatch(r"(.+?)\s+(\d+(?:\.\d+)?\s*[GT]i?B)", name, re.I):
        name, memory = found[1], found[2]
    return count, name.strip(), memory
