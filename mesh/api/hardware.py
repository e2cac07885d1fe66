"""Hardware a person describes: its fields in, the payload of a `device_registered` event out."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from mathcore.hardware.described import Described, describe, is_stranger
from mathcore.hardware.engines import engines_for
from mathcore.hardware.nearby import did_you_mean
from mathcore.quant.families import ENGINES
from mathcore.units import (
    parse_bytes,
    parse_hourly_nusd,
    parse_link_bps,
    parse_memory,
    parse_nusd,
    show_bytes,
)
from mesh.api.fields import read, refuse, unknown_name, wrong_value
from mesh.api.requests import Name, convert
from mesh.state.facts.device import DescribedDevice
from mesh.state.facts.fact import encode

# US residential mean, $0.15 a kWh; `tariff_nusd_per_kwh` in fleet.toml sets your own.
DEFAULT_TARIFF_NUSD_PER_KWH = 150_000_000
DEFAULT_LIFETIME_MONTHS = 60
# What a device or a host may be called.
LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
Label = Annotated[str, msgspec.Meta(pattern=LABEL)]
Dollars = str | int | float


class DeviceRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Hardware described by hand, in the words of `fleet devices add`.

    `gpu` may hold size and count: "2x A100 40GB", "EPYC 9654 768GB"; where it is left out, `name`
    is the hardware. `usable` is what of its memory a GPU may use where somebody set it (a raised
    iogpu.wired_limit_mb, a GTT limit). `ram` is the host's, `rate` an hour of the whole machine for
    who rents it.
    """

    name: Name
    gpu: Name | None = None
    memory: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    usable: str | None = None
    ram: str | None = None
    rate: Dollars | None = None
    price: Dollars | None = None
    lifetime: str | int | None = None
    watts: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    engines: str | list[str] | None = None
    backends: str | list[str] | None = None  # the old name of `engines`
    cores: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    disk: str | None = None
    network: str | None = None
    host: Label | None = None
    location: Literal["lan", "tailnet", "cloud"] | None = None
    transport: Literal["agent", "ssh", "api"] = "ssh"


def parse_device(given: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """(device_id, `device_registered` payload) of hand-described hardware.

    Hardware outside the catalogue needs its memory; its speed then rests on the class prior.
    """
    asked = convert(given, DeviceRequest)
    label = asked.name
    if asked.gpu is None:
        label = label_of(asked.name)
    elif re.fullmatch(LABEL, asked.name) is None:
        wrong_value("name", asked.name)
    what = described_hardware(given)
    return f"dev-{label.lower()}", _payload(asked, what)


def described_hardware(given: Mapping[str, object]) -> Described:
    """What the hardware of a description is; its `notes` are for the person who described it."""
    asked = convert(given, DeviceRequest)
    memory = read("memory", parse_memory, asked.memory) if asked.memory else 0
    text = asked.gpu or asked.name
    what = describe(text, memory)
    if what.memory_bytes == 0 and what.kind == "cpu" and asked.ram is not None:
        what = describe(text, read("ram", parse_memory, asked.ram))
    if what.memory_bytes == 0:
        _refuse_unsized(what)
    if asked.count is not None and what.count not in (1, asked.count):
        refuse(f"count: {asked.count}, but {text!r} is {what.count}", "say it once")
    return what


def _refuse_unsized(what: Described) -> None:
    """Raises: nobody said how much memory it has."""
    if what.facts is not None:
        refuse(f"{what.name!r}: how much RAM it has is not stated", f"say {what.name} 128GB")
    near = did_you_mean(what.name)
    meant = f'did you mean "{near[0]}"? Else ' if near else ""
    known = "is not in the catalogue and its memory is not stated"
    refuse(f"{what.name!r} {known}", f"{meant}add its memory: {what.name or 'RTX 4090'} 24GB")


def refuse_stranger(what: Described) -> None:
    """Raises where neither the catalogue nor a word of the name says what hardware is: a question
    about it would be answered with a card nobody meant, at no price."""
    if not is_stranger(what):
        return
    near = did_you_mean(what.name)
    meant = f'did you mean "{near[0]}"? Else ' if near else ""
    refuse(
        f"{what.name!r} is not in the catalogue, and its name does not say what it is",
        f'{meant}say its maker or kind with it: "RTX {what.name}", "Radeon …", "CPU …"',
    )


def _payload(asked: DeviceRequest, what: Described) -> dict[str, object]:
    facts = what.facts
    ram = _host_ram(asked, what)
    granted = _granted(asked, what)
    rent = read("rate", parse_hourly_nusd, str(asked.rate)) if asked.rate is not None else 0
    fact = DescribedDevice(
        name=asked.name,
        kind=what.kind,
        model=what.name,
        count=asked.count or what.count,
        memory_bytes=what.memory_bytes,
        free_bytes=granted or what.free_bytes,
        free_low_bytes=0 if granted else what.free_low_bytes,
        free_basis="estimated",
        bandwidth_bytes_per_s=what.bandwidth_bytes_per_s,
        bandwidth_basis=what.bandwidth_basis,
        flops=what.flops,
        watts=asked.watts or (facts.watts if facts else 0),
        engines=_engines(asked, what),
        location=asked.location or ("cloud" if rent else "lan"),
        transport=asked.transport,
        provider=asked.transport,
        cores=asked.cores or 0,
        network=asked.network or "",
        network_bps=read("network", parse_link_bps, asked.network) if asked.network else 0,
        host=asked.host or "",
        price_nusd=_price_nusd(asked),
        lifetime_months=_lifetime_months(asked),
        tariff_nusd_per_kwh=DEFAULT_TARIFF_NUSD_PER_KWH,
        described_by="hand",
        hourly_nusd=rent,
        ram_bytes=ram,
        ram_free_bytes=ram,
        disk_free_bytes=read("disk", parse_bytes, asked.disk) if asked.disk else 0,
    )
    return encode(fact)


def _price_nusd(asked: DeviceRequest) -> int:
    """What it was bought for; 0, unknown, where nobody said or where it is rented."""
    if asked.price is None:
        return 0
    if asked.rate is not None:
        refuse("rate and price: what is rented was not bought", "give one of the two")
    if asked.location == "cloud":
        refuse("price: a cloud machine is rented by the hour", "say --rate 0.45/h")
    return read("price", parse_nusd, str(asked.price))


def _lifetime_months(asked: DeviceRequest) -> int:
    if asked.lifetime is None:
        return DEFAULT_LIFETIME_MONTHS
    return read("lifetime", _months, str(asked.lifetime))


def _host_ram(asked: DeviceRequest, what: Described) -> int:
    """The host's RAM beside the accelerator's own memory; 0 where nobody said."""
    ram = read("ram", parse_memory, asked.ram) if asked.ram else what.ram_bytes
    return 0 if what.shares_ram else ram


def _granted(asked: DeviceRequest, what: Described) -> int:
    """What its owner says the GPU may use of its memory; 0 where nobody said."""
    if asked.usable is None:
        return 0
    usable = read("usable", parse_memory, asked.usable)
    if usable > what.memory_bytes:
        text = f"usable: {show_bytes(usable)} of {show_bytes(what.memory_bytes)}"
        refuse(text, "a device cannot use more memory than it has")
    return usable


def _engines(asked: DeviceRequest, what: Described) -> tuple[str, ...]:
    """The engines named, else all the hardware could run."""
    named = asked.engines if asked.engines is not None else asked.backends
    if named is None:
        return engines_for(what.facts, what.kind)
    words = named.split(",") if isinstance(named, str) else named
    chosen = {word.strip().lower() for word in words}
    for word in sorted(chosen.difference(ENGINES)):
        unknown_name("engines", word, ENGINES)
    return tuple(sorted(chosen))


def _months(text: str) -> int:
    months = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= months <= 1200:
        raise ValueError(f"{text!r} is not a number of months between 1 and 1200: say 36")
    return months


def notes_of(what: Described) -> list[str]:
    """What a person should know of how their description was read, a sentence each."""
    notes = list(what.notes)
    if what.facts is None:
        near = did_you_mean(what.name)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        notes.append(f"{what.name!r} is not in the catalogue: its speed is a guess{meant}")
    return notes


def label_of(text: str) -> str:
    """A name for a device that is called what it is."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "device"
