"""Writes: through the daemon when one lives, else straight into the ledger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mesh.cli.client import find_daemon, quoted
from mesh.cli.output import now_ms


def write_note(text: str) -> Mapping[str, Any]:
    """Annotate the ledger; returns the event."""
    from mesh.api.requests import parse_note
    from mesh.config import fleet_home
    from mesh.state.facts.events import NoteAdded
    from mesh.state.facts.fact import encode

    note = parse_note(text)
    daemon = find_daemon(fleet_home())
    if daemon is not None:
        return dict(daemon.post("/v1/notes", {"text": note}))
    return append("note_added", "", encode(NoteAdded(text=note)))


def write_device(given: Mapping[str, object]) -> Mapping[str, Any]:
    """Register hand-described hardware; returns the event."""
    from mesh.api.hardware import parse_device
    from mesh.config import fleet_home

    daemon = find_daemon(fleet_home())
    if daemon is not None:
        return dict(daemon.post("/v1/devices", given))
    device_id, payload = parse_device(given)
    return append("device_registered", _own_id(fleet_home(), device_id), payload)


def _own_id(home: Path, device_id: str) -> str:
    """The id under which this peer registers a device, as the ledger stands."""
    from mesh.edge.disk import StoreError
    from mesh.edge.identity import load_or_create
    from mesh.edge.store.state import load_state
    from mesh.state.devices import Devices, own_id

    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    author = load_or_create(home).author
    try:
        return own_id(load_state(home).claims, author, device_id)
    except StoreError:  # there is no ledger yet
        return own_id(Devices(), author, device_id)


def write_removal(device_id: str) -> Mapping[str, Any]:
    """Remove a device; returns the event."""
    from mesh.config import fleet_home
    from mesh.state.facts.device import DeviceRemoved
    from mesh.state.facts.fact import encode

    daemon = find_daemon(fleet_home())
    if daemon is not None:
        return dict(daemon.post(f"/v1/devices/{quoted(device_id)}/remove"))
    return append("device_removed", device_id, encode(DeviceRemoved(reason="removed by hand")))


def write_import(file: Path) -> Mapping[str, Any]:
    """Take in an export; the report, each line of it accounted for."""
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = find_daemon(home)
    if daemon is not None:
        with file.open("rb") as body:
            return dict(daemon.post_file(f"/v1/import?name={quoted(str(file))}", body))
    import msgspec

    from mesh.edge.imports import import_at_rest
    from mesh.edge.store.ledger import Ledger

    with Ledger.open(home) as ledger:
        return dict(msgspec.to_builtins(import_at_rest(ledger, file)))


def append(event_type: str, device_id: str, payload: Mapping[str, object]) -> Mapping[str, Any]:
    """Sign and store one event without a daemon; StoreError where the ledger is in use, or
    is known to be an older copy of itself."""
    import msgspec

    from mesh.config import fleet_home
    from mesh.edge.signing.highwater import sign_at_rest
    from mesh.edge.store.ledger import Ledger

    ledger = Ledger.open(fleet_home())
    try:
        device_id = device_id or ledger.peer_id
        event = sign_at_rest(ledger, event_type, device_id, dict(payload), now_ms())
    finally:
        ledger.close()
    return dict(msgspec.to_builtins(event))
