"""Where this peer keeps its state, and its settings from fleet.toml and FLEET_* variables.

A setting is written in units people use ("0.30 USD/kWh", "5y"); inside it is an integer of the unit
its field says. docs/settings.md is made from SETTINGS.
"""

import os
import platform
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mathcore.units import parse_bytes
from mesh.api.errors import RequestError
from mesh.policy.yield_settings import YieldPolicies, read_yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of one peer; money in nano-dollars, 0 where nobody said what the machine cost."""

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
    gateway_port: int = 7435  # on loopback, for models; a taken one is replaced likewise
    gateway_listen: str = ""  # one more address for models, by keys alone; none where it is empty
    gateway_lan_port: int = 7436
    peers: tuple[str, ...] = ()  # addresses to try, HOST or HOST:PORT
    discovery: tuple[str, ...] = ("mdns", "tailnet")
    interfaces: tuple[str, ...] = ()  # for mDNS; none means every real one
    tailscale_socket: str = ""  # tailscaled's; none means where it usually is
    tailscale_api_key: str = ""  # for the admin API; tailscaled itself needs none
    tailnet: str = "-"  # the key's own
    archive: str = ""  # a folder for full segments of the ledger; none keeps them in it
    yields: YieldPolicies = YieldPolicies()  # when preemptible work gives way to the owner
    models: tuple[str, ...] = ()  # folders with models, beside those that programs keep
    models_disk_bytes: int = 200_000_000_000  # for everything fetched from other peers
    models_rate: int = 0  # bytes a second that fetching and serving models may take; 0: no bound
    # What this peer may spend on rented machines: on a UTC day, and at one provider in a month.
    rent_day_nusd: int = 50 * 1_000_000_000
    rent_month_nusd: int = 500 * 1_000_000_000
    zone: str = "UTC"  # whose days and months bills are kept by
    metered: str = "auto"  # whether this machine's line costs by the byte; auto asks the system


SOURCES: Final = ("mdns", "tailnet")
METERED: Final = ("auto", "yes", "no")
NUSD: Final = 1_000_000_000  # nano-dollars in a dollar
MAX_PORT: Final = 65_535
MAX_MONTHS: Final = 1200
# Money or power above this is a typing error, and would not fit a ledger's integers.
MAX_AMOUNT: Final = 1_000_000_000
_YEARS: Final = ("y", "year", "years")
_MONTHS: Final = ("mo", "month", "months")


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


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value.strip()


def _zone(value: object) -> str:
    from mesh.state.bills.calendar import zone_of

    name = _text(value)
    if zone_of(name) is None:
        raise ValueError(f"this machine knows no time zone {name[:40]!r}; say Europe/Berlin")
    return name


def _folder(value: object) -> str:
    """Absolute: a daemon may start anywhere."""
    path = Path(_text(value)).expanduser()
    if not path.is_absolute():
        raise ValueError("must be a whole path")
    return str(path)


def _whole(value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0 or isinstance(value, bool):
        raise ValueError("must be a whole number >= 0")
    return number


def _port(value: object) -> int:
    number = _whole(value)
    if number > MAX_PORT:
        raise ValueError(f"must be a port, 0 to {MAX_PORT}")
    return number


def _words(value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas, as variables have it."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("must be a list of texts")
    return tuple(word.strip() for word in words if word.strip())


def _folders(value: object) -> tuple[str, ...]:
    return tuple(_folder(one) for one in _words(value))


def _size(value: object) -> int:
    """Bytes."""
    return parse_bytes(_text(value))


def _byte_rate(value: object) -> int:
    """Bytes a second."""
    text = _text(value)
    if not text.lower().endswith("/s"):
        raise ValueError("must be bytes a second, such as 50MB/s")
    rate = parse_bytes(text[:-2])
    if not rate:
        raise ValueError("must be more than nothing")
    return rate


def _metered(value: object) -> str:
    text = _text(value)
    if text not in METERED:
        raise ValueError(f"must be one of {', '.join(METERED)}")
    return text


def _addresses(value: object) -> tuple[str, ...]:
    from mesh.state.address import parse_address

    found = _words(value)
    for text in found:
        parse_address(text, 1)
    return found


def _sources(value: object) -> tuple[str, ...]:
    found = _words(value)
    unknown = [word for word in found if word not in SOURCES]
    if unknown:
        raise ValueError(f"unknown source {unknown[0]!r}; known: {', '.join(SOURCES)}")
    return found


def _amount(value: object, says: str) -> tuple[str, str]:
    """(number, what follows it) of "0.30 USD/kWh" or a bare number; ValueError saying `says`."""
    text = "" if isinstance(value, bool) else str(value).strip().removeprefix("$").strip()
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*(.*)", text, re.ASCII)
    if found is None or float(found[1]) > MAX_AMOUNT:
        raise ValueError(f"must be {says}")
    return found[1], found[2].strip().lower()


def _scaled(number: str, scale: int) -> int:
    """The number times a power of ten, rounded half up, without floats."""
    whole, _, part = number.partition(".")
    bottom = int("1" + "0" * len(part))
    return (2 * int(whole + part) * scale + bottom) // (2 * bottom)


def _tariff(value: object) -> int:
    """Nano-dollars of a kilowatt-hour."""
    number, unit = _amount(value, "dollars a kWh")
    if unit.replace(" ", "") not in ("", "usd/kwh", "/kwh", "usd", "$/kwh"):
        raise ValueError(f"must be dollars a kWh, not {unit!r}")
    return _scaled(number, NUSD)


def _price(value: object) -> int:
    """Nano-dollars."""
    number, unit = _amount(value, "dollars")
    if unit not in ("", "usd", "$"):
        raise ValueError(f"must be dollars, not {unit!r}")
    return _scaled(number, NUSD)


def _lifetime(value: object) -> int:
    """Months."""
    number, unit = _amount(value, "years or months")
    scale = 12 if unit in _YEARS else 1 if unit in _MONTHS else 0
    months = _scaled(number, scale)
    if not 1 <= months <= MAX_MONTHS:
        raise ValueError("must be years or months, up to 100 years")
    return months


def _power(value: object) -> int:
    """Watts."""
    number, unit = _amount(value, "watts")
    scale = {"": 1, "w": 1, "watts": 1, "kw": 1000}.get(unit, 0)
    if not scale:
        raise ValueError(f"must be watts, not {unit!r}")
    return _scaled(number, scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of fleet.toml: the field it fills, how it is read, an example, what it means."""

    field: str
    read: Callable[[object], Any]
    example: str  # as TOML has it
    default: str  # in words
    what: str


def _own(
    read: Callable[[object], Any], field: str, example: str, default: str, what: str
) -> Setting:
    return Setting(read=read, field=field, example=example, default=default, what=what)


SETTINGS: Final[dict[str, Setting]] = {
    "name": _own(_text, "name", '"rig"', "the host's name", "what this peer is called"),
    "port": _own(_port, "port", "7420", "a free one", "the HTTP API's port on loopback"),
    "tariff": _own(
        _tariff, "tariff_nusd_per_kwh", '"0.30 USD/kWh"', "0.15 USD/kWh", "what electricity costs"
    ),
    "price": _own(
        _price, "host_price_nusd", '"1600 USD"', "unknown", "what this machine cost to buy"
    ),
    "lifetime": _own(
        _lifetime, "host_lifetime_months", '"5y"', "5y", "how long it is written off over"
    ),
    "power": _own(_power, "host_watts", '"65 W"', "65 W", "what its processor draws under load"),
    "listen": _own(
        _text,
        "listen",
        '"192.168.1.20"',
        "every interface",
        'where other peers reach this one; "none": nobody does',
    ),
    "mesh_port": _own(_port, "mesh_port", "7433", "7433", "the port for the fleet's members"),
    "pairing_port": _own(_port, "pairing_port", "7434", "7434", "the port for newcomers"),
    "gateway_port": _own(
        _port, "gateway_port", "7435", "7435", "the port on loopback where tools find every model"
    ),
    "gateway_listen": _own(
        _text,
        "gateway_listen",
        '"192.168.1.20"',
        "none",
        "an address where other machines find every model, by keys; it is not encrypted",
    ),
    "gateway_lan_port": _own(_port, "gateway_lan_port", "7436", "7436", "the port there"),
    "peers": _own(
        _addresses, "peers", '["nas.lan:7433"]', "none", "addresses to try, HOST or HOST:PORT"
    ),
    "discovery": _own(
        _sources, "discovery", '["mdns", "tailnet"]', "both", "how peers are looked for"
    ),
    "interfaces": _own(
        _words, "interfaces", '["eth0"]', "every real one", "network interfaces for mDNS"
    ),
    "tailscale_socket": _own(
        _text,
        "tailscale_socket",
        '"/run/tailscale/tailscaled.sock"',
        "where it usually is",
        "where tailscaled listens",
    ),
    "tailscale_api_key": _own(
        _text, "tailscale_api_key", '"tskey-api-…"', "none", "for the admin API of the tailnet"
    ),
    "tailnet": _own(_text, "tailnet", '"example.com"', "the key's own", "which tailnet to ask for"),
    "archive": _own(
        _folder, "archive", '"/mnt/disk/fleet"', "none", "a folder for what is old in the ledger"
    ),
    "yield": _own(
        read_yield,
        "yields",
        '{ when = ["person", "heat"], idle = "5m", max_temp = 83, action = "pause" }',
        "all reasons on a desktop, none without one",
        "when work marked preemptible gives way; see below",
    ),
    "models": _own(
        _folders, "models", '["/mnt/models"]', "none", "folders with models, beside programs' own"
    ),
    "models_disk": _own(
        _size, "models_disk_bytes", '"200GB"', "200GB", "how much models from other peers may take"
    ),
    "models_rate": _own(
        _byte_rate, "models_rate", '"50MB/s"', "no bound", "how fast models go over the line"
    ),
    "rent_day": _own(
        _price, "rent_day_nusd", '"20 USD"', "50 USD", "what rented machines may cost on a day, UTC"
    ),
    "zone": _own(_zone, "zone", '"Europe/Berlin"', "UTC", "whose days and months bills go by"),
    "rent_month": _own(
        _price,
        "rent_month_nusd",
        '"200 USD"',
        "500 USD",
        "and at one provider in a month",
    ),
    "metered": _own(
        _metered, "metered", '"yes"', "auto", "whether the line costs by the byte: yes, no, auto"
    ),
}
# Names of earlier versions, in the units they had; a new name beside them wins.
OLD: Final[dict[str, tuple[str, str]]] = {
    "tariff_nusd_per_kwh": ("tariff_nusd_per_kwh", "tariff"),
    "host_price_nusd": ("host_price_nusd", "price"),
    "host_lifetime_months": ("host_lifetime_months", "lifetime"),
    "host_watts": ("host_watts", "power"),
}


def load_config(home: Path) -> Config:
    """fleet.toml in `home`, overridden by FLEET_*; RequestError names the first wrong setting."""
    path = home / "fleet.toml"
    try:
        table = tomllib.loads(path.read_text()) if path.exists() else {}
    except OSError as error:
        raise _unread(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unread(path, f"its byte {error.start + 1} is not text in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _unread(path, str(error)) from error
    for key in table:
        if key not in SETTINGS and key not in OLD:
            raise _unknown(key, path)
    said = {key: os.environ.get(f"FLEET_{key.upper()}") for key in (*OLD, *SETTINGS)}
    given = {key: value for key, value in said.items() if value is not None}
    values = _fields(table) | _fields(given)
    name = str(values.pop("name", "") or platform.node().split(".")[0] or "peer")
    return Config(name=slug(name), **values)


def _fields(given: Mapping[str, object]) -> dict[str, Any]:
    """The fields that these settings fill, old names first."""
    found = {OLD[key][0]: _read(key, _whole, given[key]) for key in OLD if key in given}
    for key, setting in SETTINGS.items():
        if key in given:
            found[setting.field] = _read(key, setting.read, given[key])
    return found


def _read(key: str, read: Callable[[object], Any], value: object) -> Any:
    try:
        return read(value)
    except ValueError as error:
        new = OLD[key][1] if key in OLD else key
        raise _wrong(f"setting {key} = {value!r}: {error}", example(new)) from error


def example(name: str) -> str:
    """A line of fleet.toml that sets it."""
    return f"{name} = {SETTINGS[name].example}"


def _unknown(key: str, path: Path) -> RequestError:
    from difflib import get_close_matches

    near = get_close_matches(key.lower(), list(SETTINGS), 1, 0.6)
    text = f"unknown setting {key!r} in {path}"
    if near:
        return _wrong(f"{text}; did you mean {near[0]}?", example(near[0]))
    return _wrong(f"{text}; known: {', '.join(SETTINGS)}", example("tariff"))


def _unread(path: Path, why: str) -> RequestError:
    return _wrong(f"{path} cannot be read: {why}", "correct it, or move it away")


def _wrong(text: str, hint: str) -> RequestError:
    return RequestError("BadSetting", text, hint)
