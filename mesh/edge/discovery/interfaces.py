"""Where this machine can be reached: the addresses of its real interfaces."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

from mesh.state.address import show_address

# Bridges and pairs that containers and virtual machines bring: nobody else can reach us there.
VIRTUAL: Final = (
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "lxc",
    "lxd",
    "cni",
    "flannel",
    "cali",
    "podman",
    "vboxnet",
    "vmnet",
    "bridge",
    "awdl",
    "llw",
    "utun",
    "anpi",
    "kube",
    "nerdctl",
)
TAILNET_4: Final = ipaddress.ip_network("100.64.0.0/10")
TAILNET_6: Final = ipaddress.ip_network("fd7a:115c:a1e0::/48")
MAX_REACHABLE: Final = 12


def interfaces(chosen: Iterable[str] = ()) -> dict[str, list[str]]:
    """IPv4 and IPv6 addresses by interface: the real ones, or exactly the `chosen` ones."""
    import psutil

    wanted = set(chosen)
    stats = psutil.net_if_stats()
    found: dict[str, list[str]] = {}
    for name, entries in psutil.net_if_addrs().items():
        up = name not in stats or stats[name].isup
        if (name in wanted) if wanted else (up and not name.startswith(VIRTUAL)):
            texts = [
                e.address.partition("%")[0]
                for e in entries
                if e.family in (socket.AF_INET, socket.AF_INET6)
            ]
            found[name] = [one for one in texts if wanted or _is_useful(one)]
    return {name: texts for name, texts in found.items() if texts}


def reachable(listen: str) -> list[str]:
    """Addresses others may dial, the likeliest first; those of `listen` alone where it is set."""
    if listen and listen not in ("0.0.0.0", "::"):
        return [listen]
    every = [one for texts in interfaces().values() for one in texts]
    return sorted(dict.fromkeys(every), key=_rank)[:MAX_REACHABLE]


def show_all(found: Iterable[str], port: int) -> list[str]:
    """Addresses with a port, as the ledger keeps them."""
    return [show_address((one, port)) for one in found]


def is_tailnet(text: str) -> bool:
    """Whether an address is one that Tailscale gives out."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address in (TAILNET_4 if address.version == 4 else TAILNET_6)


def _is_useful(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    # A link-local IPv6 address means nothing without the name of an interface on the other side.
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)


def _rank(text: str) -> tuple[int, int]:
    address = ipaddress.ip_address(text)
    return (1 if is_tailnet(text) else 0 if address.is_private else 2, address.version)
