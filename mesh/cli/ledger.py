"""`fleet events`, `note`, `verify`, `repair`, `export`, `import`, `id`: the signed ledger."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mesh.cli.exits import BROKEN_LEDGER, CANNOT, NOT_FOUND, stop
from mesh.cli.output import clean, emit_json, json_option, say
from mesh.cli.table import Column, Table, fitted, terminal_width

if TYPE_CHECKING:
    from mesh.edge.store.ledger import Reader
    from mesh.ledger.event import Event

    Show = Callable[[Sequence[Event]], None]

# `events -f` reads the store, so it works with any writer; the eye sees no difference.
POLL_S: Final = 0.2
SHOWN_REJECTED: Final = 10  # lines of a bad import named on the terminal


@click.command()
@click.option("-f", "--follow", is_flag=True, help="go on with what comes")
@click.option("-n", "count", type=click.IntRange(min=0), help="only the last N")
@json_option
def events(*, follow: bool, count: int | None, output: str) -> None:
    """The ledger's events in the order this peer received them."""
    reader = _reader()
    try:
        known = deque(reader.events(), count)
        show = _show_json(follow=follow) if output == "json" else _show_table(reader, known)
        show([event for _, event in known])
        after = known[-1][0] if known else reader.count()
        for event in _next_events(reader, after) if follow else ():
            show([event])
    finally:
        reader.close()


def _reader() -> "Reader":
    from mesh.config import fleet_home
    from mesh.edge.store.ledger import Reader

    return Reader.open(fleet_home())


def _names(reader: "Reader") -> Mapping[str, str]:
    """What each author is called in the fleet."""
    from mesh.edge.store.state import current_state

    return current_state(reader).members.names


def _next_events(reader: "Reader", after: int) -> "Iterator[Event]":
    import time

    while True:
        for at, event in reader.events(after):
            after = at
            yield event
        time.sleep(POLL_S)


def _dict(event: "Event") -> dict[str, Any]:
    import msgspec

    return dict(msgspec.to_builtins(event))


def _show_json(*, follow: bool) -> "Show":
    """One document, or with `follow` one line an event, for there is no end to it."""
    if not follow:
        return lambda events: emit_json([_dict(event) for event in events])

    def lines(events: "Sequence[Event]") -> None:
        import json

        for event in events:
            click.echo(json.dumps(_dict(event)))

    return lines


def _show_table(reader: "Reader", known: "Sequence[tuple[int, Event]]") -> "Show":
    """Lines of a table as wide as the events known at first need it."""
    names = _names(reader)
    table: Table[Event] = fitted(_columns(names), [event for _, event in known], terminal_width())
    say(table.head())

    def lines(events: "Sequence[Event]") -> None:
        for event in events:
            for line in table.lines(event):
                say(line)

    return lines


def _columns(names: Mapping[str, str]) -> "tuple[Column[Event], ...]":
    import json

    from mesh.edge.identity import peer_id

    return (
        Column(
            title="TIME (UTC)", value=lambda event: event.timestamp, brief=_second, brief_rank=60
        ),
        Column(title="ID", value=lambda event: event.id[:12], rank=50),
        Column(
            title="PEER",
            value=lambda event: names.get(event.author) or peer_id(event.author)[:7],
            rank=20,
            least=8,
        ),
        Column(title="DEVICE", value=_device, rank=40, least=12),
        Column(title="EVENT", value=lambda event: event.event_type),
        Column(
            title="WHAT",
            value=lambda event: json.dumps(event.payload, ensure_ascii=False),
            least=16,
        ),
    )


def _second(event: "Event") -> str:
    """The instant without its year: "06-15 15:06:40"."""
    return str(event.timestamp)[5:19].replace("T", " ")


def _device(event: "Event") -> str:
    """The device an event is about; "" where it is the peer that wrote it."""
    from mesh.edge.identity import peer_id

    return "" if event.device_id == peer_id(event.author) else str(event.device_id)


@click.command()
@click.argument("text")
def note(text: str) -> None:
    """Write an annotation to the ledger."""
    from mesh.cli.writes import write_note

    click.echo(write_note(text)["id"])


@click.command()
@click.option("--all", "every", is_flag=True, help="also what was found sound before")
@json_option
def verify(*, every: bool, output: str) -> None:
    """Check every hash, link and signature; exit 4 names the author and seq that fails.

    Signatures that were checked before are not checked again as long as their bytes are the same.
    """
    reader = _reader()
    try:
        report = reader.verify(every=every)
    finally:
        reader.close()
    if output == "json":
        import msgspec

        emit_json(msgspec.to_builtins(report))
    elif report.ok:
        click.echo(f"ledger verified: {report.count} events")
    if report.ok:
        return
    for finding in report.findings:
        click.echo(f"author {finding.author} seq {finding.seq}: {clean(finding.text)}", err=True)
    stop(
        BROKEN_LEDGER,
        f"the ledger does not verify: {len(report.findings)} findings",
        "fleet doctor" if all(_fork(one.text) for one in report.findings) else "fleet repair",
    )


def _fork(text: str) -> bool:
    """Whether a finding tells of a copied disk, which no repair undoes."""
    return text.startswith("fork:")


@click.command()
@json_option
def repair(output: str) -> None:
    """Make a damaged ledger anew from what is sound in it; peers bring the rest.

    The daemon must be down. The damaged file is kept beside the new one.
    """
    from mesh.config import fleet_home, load_config
    from mesh.edge.identity import peer_id
    from mesh.edge.store.care.repair import repair as rebuild

    home = fleet_home()
    archive = load_config(home).archive
    report = rebuild(home, Path(archive) if archive else None)
    if output == "json":
        import msgspec

        emit_json(msgspec.to_builtins(report))
        return
    if report.sound:
        click.echo("the ledger is sound: nothing was changed")
        return
    click.echo(f"{report.kept} events kept; the damaged file is {report.aside}")
    for one in report.lost:
        name = peer_id(one.author)[:7]
        click.echo(f"of {name}: events {one.after + 1} to {one.beyond} at least are missing")
    click.echo("run: fleet up; what is missing comes from other peers at the next sync")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def export(file: Path) -> None:
    """Write every event to FILE as JSON Lines."""
    reader = _reader()
    try:
        count = reader.export(file)
    finally:
        reader.close()
    click.echo(f"exported {count} events to {file}")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
def import_(file: Path, output: str) -> None:
    """Admit the events of FILE whose signatures and links hold; the daemon may run."""
    from mesh.cli.writes import write_import

    if not file.is_file():
        stop(NOT_FOUND, f"no file {file}", "check the path")
    report = write_import(file)
    if output == "json":
        emit_json(report)
    else:
        click.echo(
            f"{report['lines']} lines: {report['admitted']} admitted, {report['known']} already "
            f"known, {report['held']} wait for an event before them, "
            f"{report['rejected_count']} rejected"
        )
    _stop_where_rejected(file, report)


def _stop_where_rejected(file: Path, report: Mapping[str, Any]) -> None:
    shown, count = report["rejected"][:SHOWN_REJECTED], report["rejected_count"]
    for one in shown:
        click.echo(f"line {one['line']}: {clean(one['text'])}", err=True)
    if count > len(shown):
        click.echo(f"and {count - len(shown)} more", err=True)
    if count:
        stop(
            BROKEN_LEDGER,
            f"{count} of the {report['lines']} lines of {file} were refused",
            "fleet export it anew, where it came from",
        )


@click.command("id")
@json_option
def id_(output: str) -> None:
    """This peer's id."""
    from mesh.config import fleet_home
    from mesh.edge.identity import KEY_FILE, load_or_create, peer_id

    home = fleet_home()
    if not (home / KEY_FILE).exists():
        stop(CANNOT, f"no identity in {home}", "fleet up --detach")
    found = peer_id(load_or_create(home).author)
    emit_json({"peer_id": found}) if output == "json" else click.echo(found)
