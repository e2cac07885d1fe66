"""Where this peer keeps its state, and its settings from fleet.toml and FLEET_* variables."""

import os
import platform
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh.api.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one peer; money in nano-dollars, time in ms."""

    name: str
    port: int = 0
    tariff_nusd_per_kwh: int = 150_000_000  # $0.15 a kWh, US residential mean
    host_price_nusd: int = 0
    host_lifetime_months: int = 60
    host_watts: int = 65  # a desktop processor under load, when nobody measured it
    # Where other peers reach this one: every interface, one address, or "none" for nobody.
    listen: str = ""
    mesh_port: int = 7433  # unassigned by IANA; a taken one is replaced by any free one
    pairing_port: int = 7434
    peers: tuple[str, ...] = ()  # addresses to try, HOST or HOST:PORT
    discovery: tuple[str, ...] = ("mdns", "tailnet")
    interfaces: tuple[str, ...] = ()  # for mDNS; none means every real one
    tailscale_socket: str = ""  # tailscaled's; none means where it usually is
    tailscale_api_key: str = ""  # for the admin API; tailscaled itself needs none
    tailnet: str = "-"  # the key's own


SOURCES = ("mdns", "tailnet")


def fleet_home() -> Path:
    """The state directory: FLEET_HOME, else the platform's data directory for `fleet`."""
    chosen = os.environ.get("FLEET_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("fleet-ledger", appauthor=False))


def slug(text: str) -> str:
    """Lower-case letters, digits and dashes: a name safe in ids, URLs and shells."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "peer"


def load_config(home: Path) -> Config:
    """fleet.toml in `home`, overridden by FLEET_*; RequestError names the first wrong setting."""
    path = home / "fleet.toml"
    try:
        table = tomllib.loads(path.read_text()) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _wrong(f"{path} cannot be read: {error}") from error
    known = set(Config.__slots__)
    for key in table:
        if key not in known:
            raise _wrong(f"unknown setting {key!r} in {path}; known: {', '.join(sorted(known))}")
    values: dict[str, object] = dict(table)
    for key in known:
        given = os.environ.get(f"FLEET_{key.upper()}")
        if given is not None:
            values[key] = given
    name = str(values.pop("name", "") or platform.node().split(".")[0] or "peer")
    return Config(name=slug(name), **{key: _read(key, value) for key, value in values.items()})


def _read(key: str, value: object) -> Any:
    """A setting in the type of its default."""
    default = Config.__dataclass_fields__[key].default
    if isinstance(default, int):
        return _whole(key, value)
    if isinstance(default, tuple):
        return _words(key, value)
    if not isinstance(value, str):
        raise _wrong(f"setting {key} must be a text, not {value!r}")
    return value.strip()


def _words(key: str, value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas, as variables have it."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _wrong(f"setting {key} must be a list of texts, not {value!r}")
    found = tuple(word.strip() for word in words if word.strip())
    if key == "peers":
        _check_addresses(found)
    unknown = [word for word in found if key == "discovery" and word not in SOURCES]
    if unknown:
        raise _wrong(f"unknown source {unknown[0]!r} in discovery; known: {', '.join(SOURCES)}")
    return found


def _check_addresses(texts: tuple[str, ...]) -> None:
    from mesh.state.address import parse_address

    for text in texts:
        try:
            parse_address(text, 1)
        except ValueError as error:
            raise _wrong(f"setting peers: {error}") from error


def _whole(key: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise _wrong(f"setting {key} must be a whole number >= 0, not {value!r}")
    return number


def _wrong(text: str) -> RequestError:
    return RequestError("BadSetting", text, "correct fleet.toml or the FLEET_* variable")
