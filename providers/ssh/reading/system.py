"""The host itself: what Linux's own files, lscpu, free, df and a Mac's sysctl say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from providers.ssh.reading.sections import plain, scaled, whole

KIB: Final = 1024
MAX_FILES: Final = 4096


def read_files(text: str) -> dict[str, str]:
    """`grep -s ''` over many files: each file's text by its path."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, colon, value = line.partition(":")
        # A PCI address in a path holds a colon; no file of ours that is asked for has one in its
        # name.
        if colon and path.startswith("/") and len(found) < MAX_FILES:
            found.setdefault(path, []).append(value)
    return {path: "\n".join(lines) for path, lines in found.items()}


def memory(files: Mapping[str, str], free: str = "") -> tuple[int | None, int | None]:
    """(RAM, free RAM), no more than the cgroup allows; what `free` says where /proc doesn't."""
    said = dict(re.findall(r"^(\w+):\s+(\d{1,15}) kB$", files.get("/proc/meminfo", ""), re.M))
    total = scaled(said.get("MemTotal"), KIB)
    available = scaled(said.get("MemAvailable", said.get("MemFree")), KIB)
    if total is None:
        row = re.search(r"^Mem:\s+(\d+)\s+\d+\s+(\d+)(?:\s+\d+\s+\d+\s+(\d+))?", free, re.M)
        total, available = (whole(row[1]), whole(row[3] or row[2])) if row else (None, None)
    limit = whole(files.get("/sys/fs/cgroup/memory.max"))
    if limit is not None and total is not None and limit < total:
        total, available = limit, min(available or 0, limit)
    return total, available


def processor(text: str) -> tuple[str, int | None, int | None]:
    """(model, cores, threads) from lscpu, or from /proc/cpuinfo's lines."""
    said = {k.strip(): v.strip() for k, _, v in (one.partition(":") for one in text.splitlines())}
    threads = whole(said.get("CPU(s)"))
    if threads is not None:
        per, sockets = whole(said.get("Core(s) per socket")), whole(said.get("Socket(s)"))
        per = per or whole(said.get("Core(s) per cluster"))
        cores = per * (sockets or 1) if per else None
        return plain(said.get("Model name", "")), min(cores, threads) if cores else None, threads
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.M)
    pairs = set(re.findall(r"physical id\s*:\s*(\d+)(?:.*\n)*?core id\s*:\s*(\d+)", text))
    return plain(names[0]) if names else "", len(pairs) or None, len(names) or None


def disk_free(text: str) -> int | None:
    """Free bytes of `df -Pk`'s last row."""
    rows = [line.split() for line in text.splitlines()]
    return scaled(rows[-1][3], KIB) if rows and len(rows[-1]) >= 6 else None


def container(files: Mapping[str, str]) -> str:
    """What the host runs inside of; "" for a machine of its own."""
    if "microsoft" in files.get("/proc/version", "").lower():
        return "wsl"
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if path in files:
            return name
    found = re.search(r"kubepods|docker|lxc|podman", files.get("/proc/1/cgroup", ""))
    return found[0] if found else ""


def machine_model(files: Mapping[str, str]) -> str:
    """What the maker calls the machine."""
    tree = files.get("/sys/firmware/devicetree/base/model", "").replace("\0", "")
    maker = files.get("/sys/class/dmi/id/sys_vendor", "")
    return plain(tree or f"{maker} {files.get('/sys/class/dmi/id/product_name', '')}")


def undriven(pci: str) -> list[str]:
    """Sentences about cards that stand on the PCI bus and have no driver."""
    makers = {"0x10de": "an NVIDIA", "0x1002": "an AMD", "0x8086": "an Intel"}
    found = []
    for line in pci.splitlines():
        words = line.split()
        # Processing accelerators and 3D controllers count for all; a display adapter of Intel's
        # is a desktop's own.
        if len(words) != 5 or words[4] != "none" or words[1] not in makers:
            continue
        if words[1] == "0x8086" and words[3].startswith("0x0300"):
            continue
        found.append(f"{makers[words[1]]} GPU on PCI bus at {words[0]}, no driver: install it")
    return found
