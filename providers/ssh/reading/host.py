"""A whole probe's answer as a host's facts; what broke off or is missing stays unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from providers.ssh.reading.amd import read_amd
from providers.ssh.reading.apple import free_bytes, read_apple, read_mac_lines
from providers.ssh.reading.facts import Card, Cards, HostFacts
from providers.ssh.reading.nvidia import read_nvidia
from providers.ssh.reading.sections import Section, number, plain, split, whole
from providers.ssh.reading.software import engines, python
from providers.ssh.reading.system import (
    container,
    disk_free,
    machine_model,
    memory,
    processor,
    read_files,
    undriven,
)

EMPTY: Final = Section("")
# An ARM host whose card has less than a quarter of its RAM and no desktop or server card's name:
# what the driver tells is the carve-out of a shared memory.
DISCRETE: Final = re.compile(r"GeForce|RTX|GTX|Tesla|Quadro|TITAN|\b[AHLTPVB]\d{1,3}\b", re.I)
CARVE_OUT_SHARE: Final = 4


def read_host(body: str, nonce: str, *, everything: bool) -> HostFacts:
    """The facts of a probe that was sent with this nonce."""
    parts = split(body, nonce)
    files = read_files(parts.get("files", EMPTY).text)
    facts = _machine(parts, files, everything=everything)
    makers = _makers(parts, files)
    cards = tuple(_with_ram(card, facts) for maker in makers.values() for card in maker.found)
    states = {name: (one.state, one.text) for name, one in makers.items() if one.state != "ok"}
    warned = (
        undriven(parts.get("pci", EMPTY).text)
        if not any(c.vendor != "apple" for c in cards)
        else []
    )
    for name, (_, text) in states.items():
        warned.append(f"{name}: {text}")
    return replace(facts, cards=cards, states=states, warnings=(*warned, *_denied(parts)))


def _makers(parts: Mapping[str, Section], files: Mapping[str, str]) -> dict[str, Cards]:
    """Each maker's cards. A probe that ended before a risky program came back says which one
    hangs."""
    return {
        "nvidia": read_nvidia(parts.get("nv"), parts.get("nvp"), parts.get("nvl")),
        "amd": read_amd(parts.get("amdm"), parts.get("amd"), parts.get("rocm"), files),
        "apple": Cards(found=read_apple(parts.get("macsp"), parts.get("mac", EMPTY).text)),
    }


def _machine(
    parts: Mapping[str, Section], files: Mapping[str, str], *, everything: bool
) -> HostFacts:
    said = parts.get("id", EMPTY).text.splitlines()
    system = (*(said[0].split() if said else ()), "", "", "", "")
    who = dict(line.partition(" ")[::2] for line in said[1:])
    mac = parts.get("mac", EMPTY).text
    lines = read_mac_lines(mac)
    cpu = parts.get("cpu", EMPTY).text
    model, cores, threads = processor(cpu)
    ram, free = memory(files, cpu)
    load = files.get("/proc/loadavg") or lines.get("vm.loadavg", "").strip("{ }")
    tools = parts.get("tools", EMPTY).text
    interpreter, version = python(parts.get("python"))
    linger = re.search(r"^Linger=(yes|no)$", parts.get("logind", EMPTY).text, re.M)
    return HostFacts(
        whole=everything,
        system=plain(f"{system[0]} {system[2]}"),
        arch=plain(system[3]),
        hostname=plain(system[1]),
        user=plain(who.get("user", "")),
        machine_id=plain(files.get("/etc/machine-id", ""))[:64],
        boot_id=plain(
            files.get("/proc/sys/kernel/random/boot_id") or lines.get("kern.bootsessionuuid", "")
        )[:64],
        model=machine_model(files) or plain(lines.get("hw.model", "")),
        cpu=model or plain(lines.get("machdep.cpu.brand_string", "")),
        cores=cores or whole(lines.get("hw.physicalcpu")),
        threads=threads or whole(lines.get("hw.logicalcpu")),
        ram_bytes=ram if ram is not None else whole(lines.get("hw.memsize")),
        ram_free_bytes=free if free is not None else free_bytes(mac),
        disk_free_bytes=disk_free(parts.get("disk", EMPTY).text),
        load=number(load.split()[0]) if load.split() else None,
        python=interpreter,
        python_version=version,
        can_unshare="works unshare" in tools,
        container=container(files),
        linger=None if linger is None else linger[1] == "yes",
        tools=tuple(line.rpartition("/")[2] for line in tools.splitlines() if line.startswith("/")),
        engines=engines(tools, parts.get("environments", EMPTY).text),
    )


def _with_ram(card: Card, facts: HostFacts) -> Card:
    """A card that shares the host's memory has what the host has."""
    ram, free = facts.ram_bytes, facts.ram_free_bytes
    total = card.memory_bytes
    carved = (
        facts.arch in ("aarch64", "arm64")
        and card.vendor == "nvidia"
        and ram is not None
        and total is not None
        and total * CARVE_OUT_SHARE < ram
        and DISCRETE.search(card.name) is None
    )
    if not card.shares_ram and not carved:
        return card
    usable = ram if total is None or carved else total
    spare = free if usable is None or free is None else min(free, usable)
    used = None if usable is None or spare is None else usable - spare
    return replace(card, memory_bytes=usable, free_bytes=spare, used_bytes=used, shares_ram=True)


def _denied(parts: Mapping[str, Section]) -> list[str]:
    """Sentences about cards this account may not open."""
    lines = parts.get("pci", EMPTY).text.splitlines()
    closed = [plain(line[3:]) for line in lines if line.startswith("no /dev/")]
    who = f"this account may not open {', '.join(closed[:4])}"
    return [f"{who}: add it to the groups render and video"] if closed else []
