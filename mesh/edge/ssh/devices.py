"""A host's facts as devices of the peer that adopted it: registrations, and what is free now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from mathcore.device import DeviceSpec
from mathcore.hardware.described import PRIOR_BANDWIDTH, Described, describe
from mesh.config import Config
from mesh.edge.inventory import CPU_ENGINES
from mesh.edge.planning import with_free
from mesh.edge.ssh.book import MAX_ORDER, Rent
from mesh.state.facts.device import ProbedDevice
from mesh.state.facts.fact import encode
from mesh.state.fleet import spec
from mesh.state.peer_id import short_id
from mesh.state.state import State
from providers.ssh.bring.engines import engines_for, why_none
from providers.ssh.reading.facts import Card, HostFacts

Registration = tuple[str, dict[str, object]]


def prefix(author: str, host: str) -> str:
    """What ids of a host's devices begin with: nobody else may register them."""
    return f"dev-{short_id(author)}-{host}"


def is_of(device_id: str, author: str, host: str) -> bool:
    """Whether a device is a host's: another one's name may begin with this host's."""
    start = f"{prefix(author, host)}-"
    number = device_id.removeprefix(f"{start}gpu")
    return device_id == f"{start}cpu" or (number != device_id and number.isdecimal())


def numbered(known: Sequence[str], cards: Sequence[Card]) -> tuple[str, ...]:
    """The cards' locks in the order they were first seen; those that are gone keep their place.
    A host that shows others at each probe gets no number for them in the end."""
    return tuple(dict.fromkeys([*known, *(card.lock for card in cards)]))[:MAX_ORDER]


def registrations(
    author: str,
    name: str,
    facts: HostFacts,
    order: Sequence[str],
    config: Config,
    rent: Rent | None = None,
) -> list[Registration]:
    """(device_id, payload) of the host's processor and of each of its cards.

    A rented host is paid for as a whole: each of its cards costs its part of that, and the
    processor of one with cards nothing of its own.
    """
    start = prefix(author, name)
    found = [(f"{start}-cpu", _cpu(name, facts, config))]
    for card in [one for one in facts.cards if one.lock in order]:
        i = order.index(card.lock)
        found.append((f"{start}-gpu{i}", _gpu(name, i, card, facts, config)))
    return [(key, encode(_paid(one, facts, rent))) for key, one in found]


def _paid(one: ProbedDevice, facts: HostFacts, rent: Rent | None) -> ProbedDevice:
    """What an hour of a rented host's device costs, rounded up."""
    if rent is None:
        return one
    parts = len(facts.cards) or 1
    hourly = -(-rent.hourly_nusd // parts) if one.kind != "cpu" or not facts.cards else 0
    return msgspec.structs.replace(
        one, hourly_nusd=hourly, location="cloud", provider=rent.provider
    )


def live(
    state: State, author: str, name: str, facts: HostFacts, order: Sequence[str]
) -> Iterator[DeviceSpec]:
    """The host's registered devices with the free memory of its last probe."""
    start, ram = prefix(author, name), facts.ram_free_bytes
    free: dict[str, tuple[int | None, int]] = {f"{start}-cpu": (ram, ram or 0)}
    for card in facts.cards:
        if card.lock in order:
            beside = 0 if card.shares_ram else ram or 0
            free[f"{start}-gpu{order.index(card.lock)}"] = (card.free_bytes, beside)
    lacking = why_none(facts, name)
    for device_id, (own, beside) in free.items():
        view = state.devices.get(device_id)
        if view is not None and own is not None:
            found = with_free(spec(view), own, beside)
            yield replace(found, withheld=("DependencyMissing", lacking)) if lacking else found


def _cpu(name: str, facts: HostFacts, config: Config) -> ProbedDevice:
    what = describe(facts.cpu or "CPU", facts.ram_bytes or 0)
    known = what if what.kind == "cpu" else describe("CPU", facts.ram_bytes or 0)
    return _device(
        name,
        facts,
        config,
        name=name,
        kind="cpu",
        model=known.name if known.facts else facts.cpu or facts.arch or "CPU",
        memory=facts.ram_bytes,
        free=facts.ram_free_bytes,
        what=known,
        watts=known.facts.watts if known.facts and known.facts.watts else config.host_watts,
        engines=engines_for(facts, processor=True) & {*CPU_ENGINES, "ollama"},
    )


def _gpu(host: str, index: int, card: Card, facts: HostFacts, config: Config) -> ProbedDevice:
    what = describe(card.name)
    known = what.facts if what.kind != "cpu" else None
    return _device(
        host,
        facts,
        config,
        name=f"{host}-gpu{index}",
        kind="apple" if card.vendor == "apple" else "gpu",
        model=known.name if known else card.name,
        memory=card.memory_bytes,
        free=card.free_bytes,
        what=what if known else None,
        watts=card.watts_limit or (known.watts if known else 0),
        engines=engines_for(facts, processor=card.vendor == "apple"),
        shares_ram=card.shares_ram,
    )


def _device(
    host: str,
    facts: HostFacts,
    config: Config,
    *,
    name: str,
    kind: str,
    model: str,
    memory: int | None,
    free: int | None,
    what: Described | None,
    watts: int,
    engines: set[str],
    shares_ram: bool = False,
) -> ProbedDevice:
    """One device's facts with those of its host; `what` holds catalogued rates, None without."""
    return ProbedDevice(
        name=name,
        kind=kind,
        model=model,
        count=1,
        memory_bytes=memory or 0,
        free_bytes=free or 0,
        free_basis="measured" if free is not None else "estimated",
        bandwidth_bytes_per_s=what.bandwidth_bytes_per_s if what else PRIOR_BANDWIDTH,
        bandwidth_basis=what.bandwidth_basis if what else "prior",
        flops=what.flops if what else 0,
        flops_basis="",
        watts=watts,
        engines=tuple(sorted(engines)),
        location="lan",
        transport="ssh",
        provider="ssh",
        cores=facts.cores or 0,
        disk_free_bytes=facts.disk_free_bytes or 0,
        network_bps=0,
        ram_bytes=0 if shares_ram else facts.ram_bytes or 0,
        ram_free_bytes=0 if shares_ram else facts.ram_free_bytes or 0,
        ram_bandwidth_bytes_per_s=0,
        tariff_nusd_per_kwh=config.tariff_nusd_per_kwh,
        price_nusd=0,
        lifetime_months=config.host_lifetime_months,
        described_by="probe",
        host=host,
        os=facts.system,
        hostname=facts.hostname,
    )
