"""A network address as people and peers write it: HOST, HOST:PORT or [V6]:PORT."""

import contextlib
from collections.abc import Iterable

Address = tuple[str, int]


def parse_address(text: str, default_port: int) -> Address:
    """ "host", "host:port" or "[v6]:port"; ValueError says what is wrong."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not host or any(c.isspace() or c in "/@" for c in host):
        raise ValueError(f"{text!r} is no address; say HOST or HOST:PORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r}: {port!r} is no port")
    return host, int(port or default_port)


def read_addresses(texts: Iterable[str], default_port: int) -> list[Address]:
    """Addresses other peers wrote down; what is none is left out."""
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(parse_address(text, default_port))
    return found


def show_address(address: Address) -> str:
    """The way a person types it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
