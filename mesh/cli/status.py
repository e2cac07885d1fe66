"""`fleet status` and `fleet doctor`: the fleet at a glance, and what is wrong with this peer."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mesh.cli.client import find_daemon
from mesh.cli.devices import emit_devices
from mesh.cli.output import emit_json, emit_table, json_option, now_ms, number, show_age

Check = tuple[str, str, str]  # what, state, what to do


@click.command()
@json_option
def status(output: str) -> None:
    """The fleet at a glance: daemon, devices, jobs, today's cost."""
    from mesh.config import fleet_home
    from mesh.views import load_state, status_dict

    home = fleet_home()
    alive = find_daemon(home)
    found = status_dict(load_state(home), now_ms(), daemon=alive is not None)
    if output == "json":
        emit_json(found)
        return
    _show(found)


def _show(found: Mapping[str, Any]) -> None:
    from mathcore.units import show_nusd

    click.echo("daemon up" if found["daemon"] else "daemon down (start it: fleet up --detach)")
    jobs = ", ".join(f"{count} {name}" for name, count in sorted(found["jobs"].items()))
    click.echo(f"jobs: {jobs or 'none yet'}")
    today, total = (show_nusd(number(found, f"cost_{when}_nusd")) for when in ("today", "total"))
    click.echo(f"cost: {today} today, {total} in all")
    age = show_age(now_ms() - number(found, "last_event_ms"))
    click.echo(f"ledger: {found['events']} events, the last {age} ago\n")
    emit_devices(found["devices"])


@click.command()
@json_option
def doctor(output: str) -> None:
    """What works on this machine, and what to do about what does not."""
    from mesh.config import fleet_home

    checks = list(_checks(fleet_home()))
    if output == "json":
        emit_json([dict(zip(("check", "state", "fix"), check, strict=True)) for check in checks])
        return
    emit_table(("CHECK", "STATE", "FIX"), checks, "")


def _checks(home: Path) -> Iterator[Check]:
    import os

    writable = os.access(home if home.exists() else home.parent, os.W_OK)
    yield ("state directory", f"{home}{'' if writable else ' (not writable)'}",
           "" if writable else "set FLEET_HOME to a folder you own")
    alive = find_daemon(home)
    yield ("daemon", alive.url if alive else "down", "" if alive else "fleet up --detach")
    yield _check_ledger(home)
    yield _check_compiled()
    yield _check_engine()


def _check_ledger(home: Path) -> Check:
    from mesh.edge.store import Reader, StoreError

    try:
        reader = Reader.open(home)
    except StoreError as error:
        return ("ledger", error.text, error.hint)
    try:
        report = reader.verify()
    finally:
        reader.close()
    state = f"{report.count} events, {'verified' if report.ok else 'DOES NOT VERIFY'}"
    return ("ledger", state, "" if report.ok else "fleet verify")


def _check_compiled() -> Check:
    from mathcore import units

    compiled = not str(units.__file__).endswith(".py")
    return ("mathcore", "compiled" if compiled else "pure Python (same answers, slower)",
            "" if compiled else "install with a C compiler: FLEET_COMPILE=require pip install .")


def _check_engine() -> Check:
    from importlib.util import find_spec

    found = find_spec("xllamacpp") is not None
    return ("llama.cpp", "xllamacpp found" if found else "not installed",
            "" if found else "pip install 'fleet-ledger[llamacpp]'")
