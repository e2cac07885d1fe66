"""A file of hardware to plan for: a list in the words of `fleet devices add`, JSON or TOML."""

from pathlib import Path
from typing import Any, Final

from mesh.cli.exits import CANNOT, NOT_FOUND, USAGE, stop

# Thousands of devices come to some hundred bytes each; a body to the daemon holds 1 MiB.
MAX_FILE_BYTES: Final = 1 << 20
EXAMPLE: Final = '[{"name": "rig", "gpu": "RTX 5090", "count": 2}]'


def read_fleet(name: str) -> list[dict[str, object]]:
    """The devices a file lists, each checked; Stop names the file, the entry and the field."""
    from mesh.api.errors import RequestError
    from mesh.api.what_ifs import parse_fleet

    entries = _entries(name, _text(name))
    try:
        parse_fleet(entries)
    except RequestError as error:
        stop(USAGE, f"{name}: {error.text}", error.hint)
    return entries


def _text(name: str) -> str:
    try:
        data = Path(name).expanduser().read_bytes()
    except FileNotFoundError:
        stop(NOT_FOUND, f"cannot read {name}: there is no such file", "check the path")
    except OSError as error:
        stop(CANNOT, f"cannot read {name}: {error.strerror}", "check the path")
    if len(data) > MAX_FILE_BYTES:
        stop(USAGE, f"{name} has {len(data)} bytes", f"at most {MAX_FILE_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        stop(USAGE, f"{name} is not UTF-8 text", "JSON or TOML")


def _entries(name: str, text: str) -> list[dict[str, object]]:
    found = _parsed(name, text)
    if isinstance(found, dict):
        found = next(iter(found.values())) if len(found) == 1 else found
    if not isinstance(found, list):
        stop(USAGE, f"{name}: holds no list of devices", f"{EXAMPLE}, or [[device]] in TOML")
    if not found:
        stop(USAGE, f"{name}: lists no device", EXAMPLE)
    for i, entry in enumerate(found):
        if not isinstance(entry, dict):
            stop(USAGE, f"{name}: device {i + 1} is not a table of fields", EXAMPLE)
    return found


def _parsed(name: str, text: str) -> Any:
    import json
    import tomllib

    try:
        return tomllib.loads(text) if name.lower().endswith(".toml") else json.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if name.lower().endswith(".toml") else "JSON"
        stop(USAGE, f"{name} is not {kind}: {error}", EXAMPLE)
