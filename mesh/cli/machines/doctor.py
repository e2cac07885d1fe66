"""`fleet doctor`: what works on this machine and around it, and what to do about what does not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, find_daemon
from mesh.cli.exits import Stop
from mesh.cli.machines.extras import install_hint
from mesh.cli.operations.faults import faults
from mesh.cli.output import NONE, emit_json, json_option, now_ms, show_age, show_at
from mesh.cli.table import Column, emit

Check = tuple[str, str, str]  # what, state, what to do

COLUMNS: Final[tuple[Column[Check], ...]] = (
    Column(title="CHECK", value=lambda check: check[0], least=10, wrap=True),
    Column(title="STATE", value=lambda check: check[1], least=22, wrap=True),
    Column(title="FIX", value=lambda check: check[2], least=22, wrap=True),
)


@click.command()
@click.option("--fix", is_flag=True, help="mend what can be mended safely, asking for each")
@click.option("-y", "--yes", is_flag=True, help="with --fix: without asking")
@json_option
def doctor(*, fix: bool, yes: bool, output: str) -> None:
    """What works on this machine, and what to do about what does not.

    --fix mends permissions, what a killed daemon left behind, a damaged token and a damaged file of
    bills; never the ledger, nor a key. What is left for a person is listed after.
    """
    from mesh.config import fleet_home

    if yes and not fix:
        raise click.UsageError("--yes goes with --fix")
    if fix:
        from mesh.cli.operations.fixing import fix_all

        fix_all(fleet_home(), output, _checks, yes=yes)
        return
    checks = list(_checks(fleet_home()))
    if output == "json":
        emit_json([dict(zip(("check", "state", "fix"), check, strict=True)) for check in checks])
        return
    emit(COLUMNS, checks)


def check_home(home: Path) -> Check:
    """Whether the state directory is there, or can be made."""
    import os

    what = "state directory"
    if home.is_dir():
        if os.access(home, os.W_OK):
            return (what, str(home), "")
        return (what, f"{home} (not writable)", "set FLEET_HOME to a folder you own")
    if home.exists():
        return (what, f"{home} is not a folder", "set FLEET_HOME to a folder")
    place = home.absolute()
    above = next(one for one in place.parents if one.exists())
    if above.is_dir() and os.access(above, os.W_OK):
        return (what, f"{place} (not there yet)", "fleet up --detach makes it")
    text = f"{place} is not there, and {above} is not writable"
    return (what, text, "set FLEET_HOME to a folder you own")


def _checks(home: Path) -> Iterator[Check]:
    yield check_home(home)
    yield from _check_mends(home)
    yield from faults(home)
    alive = find_daemon(home)
    yield _check_daemon(home, alive)
    if alive is not None:
        yield from _check_signing(alive)
    yield _check_ledger(home)
    yield from _check_fleet(home)
    yield from _check_words(home)
    if alive is not None:
        yield from _check_mesh(alive)
    yield _check_compiled()
    yield _check_engine()


def _check_daemon(home: Path, alive: Daemon | None) -> Check:
    """Where it is; also one that runs beside a daemon.json or a token that is damaged."""
    from mesh.cli.operations.mend import writer_of
    from mesh.edge.announcement import DAEMON_FILE

    if alive is not None:
        return ("daemon", alive.url, "")
    # Only where one was announced: to look takes the lock from one that starts.
    pid = writer_of(home) if (home / DAEMON_FILE).exists() else None
    if pid:
        text = f"process {pid} writes the ledger, and is not found by daemon.json and token"
        return ("daemon", text, f"unless it just starts: kill {pid}, then fleet up --detach")
    return ("daemon", "down", "fleet up --detach")


def _check_mends(home: Path) -> Iterator[Check]:
    """What `--fix` would put right; a home that is not there yet is no fault."""
    from mesh.cli.operations.mend import FIX, mends

    if home.is_dir():
        yield from ((one.what, one.state, FIX) for one in mends(home))


def _check_signing(daemon: Daemon) -> Iterator[Check]:
    """Whether this peer may write into the ledger."""
    from mesh.edge.signing.hearing import NotHeard

    try:
        waits = str(daemon.get("/v1/status").get("waiting_for", ""))
    except (RequestError, Stop):
        return
    if waits:
        yield ("signing", f"nothing yet: waits for {waits}", NotHeard(waits).hint)


def _check_words(home: Path) -> Iterator[Check]:
    """Whether older programs signed what people typed: nothing can take that back."""
    from mesh.edge.jobs.forget import MAX_EVENTS_READ, typed_in_ledger
    from mesh.edge.store.ledger import Reader, StoreError

    try:
        reader = Reader.open(home)
        try:
            events, count = reader.last_cursor(), typed_in_ledger(reader.events())
        finally:
            reader.close()
    except StoreError:
        return
    if count:
        least = "at least " if events > MAX_EVENTS_READ else ""
        text = f"{least}{count} older jobs hold a prompt, a command or a path, on every peer"
        yield ("signed words", text, "they stay: docs/threat-model.md says who reads them")


def _check_fleet(home: Path) -> Iterator[Check]:
    """Keys on two disks, and what would lock people out of this fleet one day."""
    from mesh.edge.identity import fleet_of
    from mesh.edge.peering.advice import advice
    from mesh.edge.store.ledger import StoreError

    try:
        fleet_of(home)
    except StoreError as error:
        yield ("fleet", error.text, error.hint)
        return
    try:
        yield from advice(home, now_ms())
    except StoreError:
        return  # the ledger's own check says what is wrong with it


def _check_mesh(daemon: Daemon) -> Iterator[Check]:
    """What the daemon says of its surroundings."""
    try:
        said = daemon.get("/v1/doctor")
        peers = daemon.get("/v1/peers")["peers"]
    except (RequestError, Stop) as error:
        known = getattr(error, "code", "") == "Unauthorized"
        yield ("mesh", error.text, error.hint if known else "FLEET_LISTEN=none turns it off")
        return
    where = ", ".join(said["addresses"]) or "no network"
    yield ("listens on", f"{where} port {said['port']}, pairing on {said['pairing_port']}", "")
    yield from _check_peers(said, peers)
    yield from _check_sources(said, members_at(said, peers))
    for one in said["invites"]:
        left = f"{one['left']} left" if one["left"] > 1 else "once"
        yield ("open invite", f"as {one['role']}, {left}, until {show_at(one['expires_ms'])}", "")


def _check_peers(said: Mapping[str, Any], peers: list[dict[str, Any]]) -> Iterator[Check]:
    names = {row["peer_id"]: row["name"] for row in peers}
    for row in peers:
        if row["you"] or row["state"] == "removed":
            continue
        seen = ", ".join(f"{name} {show_age(age)} ago" for name, age in row["sources"].items())
        yield (
            f"peer {row['name']}",
            row.get("apart") or f"{row['state']}; seen by {seen or 'no source'}",
            "" if row["state"] == "online" else "is it up, and on this network or tailnet?",
        )
    for one in said["dials"]:
        if one["text"]:
            age = NONE if one["age_ms"] is None else f"{show_age(one['age_ms'])} ago"
            who = names.get(one["peer_id"], "address")
            yield (f"dial {who}", f"{one['address']} ({one['source']}): {one['text']}, {age}", "")
    for one in said["skews"]:
        who, skew = names.get(one["peer_id"], one["peer_id"][:7]), one["skew_ms"] / 1000
        yield (f"clock of {who}", f"{skew:+.1f} s from ours", "turn on time synchronisation there")


def members_at(said: Mapping[str, Any], peers: list[dict[str, Any]]) -> set[str]:
    """Where this peer and the fleet's members are: nobody seen there is a stranger.

    A member that was given a new key is announced under the old one for a while.
    """
    own = {f"{address}:{said['port']}" for address in said["addresses"]}
    linked = {row["address"] for row in peers if row["state"] != "removed"}
    return own | linked | {one["address"] for one in said["dials"] if one["peer_id"]}


def _check_sources(said: Mapping[str, Any], known: set[str]) -> Iterator[Check]:
    for one in said["sources"]:
        yield (f"source {one['source']}", one["state"], one["fix"])
    for one in said["strangers"]:
        if one["address"] in known:
            continue
        who = one["name"] or one["peer_id"][:7]
        yield (
            f"stranger {who}",
            f"{one['source']} saw it at {one['address']}",
            "if it is yours: fleet invite here, fleet join CODE there",
        )


def _check_ledger(home: Path) -> Check:
    from mesh.edge.store.ledger import Reader, StoreError

    try:
        reader = Reader.open(home)
    except StoreError as error:
        return ("ledger", error.text, error.hint)
    try:
        report = reader.verify()
    except StoreError as error:
        return ("ledger", error.text, error.hint)
    finally:
        reader.close()
    state = f"{report.count} events, {'verified' if report.ok else 'DOES NOT VERIFY'}"
    return ("ledger", state, "" if report.ok else "fleet verify")


def _check_compiled() -> Check:
    from mathcore import units

    module = Path(str(units.__file__))
    if module.suffix != ".py":
        return ("mathcore", "compiled", "")
    why = module.with_name("_pure.txt")  # setup.py leaves it beside what it could not compile
    reason = f": {why.read_text(encoding='utf-8').strip()}" if why.exists() else ""
    return (
        "mathcore",
        f"pure Python (same answers, slower){reason}",
        "install it again where a C compiler works; FLEET_COMPILE=require says what fails",
    )


def _check_engine() -> Check:
    from importlib.util import find_spec

    found = find_spec("xllamacpp") is not None
    return (
        "llama.cpp",
        "xllamacpp found" if found else "not installed",
        "" if found else install_hint("llamacpp"),
    )
