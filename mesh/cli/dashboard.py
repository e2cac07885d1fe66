"""`fleet dashboard`: a link that signs one browser in, once."""

from __future__ import annotations

import html
import os
import sys
from pathlib import Path
from typing import Final

import click

from mesh.cli.client import need_daemon
from mesh.cli.output import emit_json, json_option

# Opened in place of the link: a browser's command line can be read by every user of a machine.
DOOR: Final = "dashboard.html"
# What says that there is a screen, or which browser is wanted.
SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
PAGE: Final = """<!doctype html><meta charset="utf-8"><title>Fleet Ledger</title>
<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={link}">
<a href="{link}">to the dashboard</a>
"""


@click.command()
@click.option("--open/--no-open", "opens", default=True, help="open a browser  [default: open]")
@json_option
def dashboard(output: str, *, opens: bool) -> None:
    """A link to this machine's dashboard: it works once, within a minute.

    It holds a code, never the token. The browser stays signed in for 12 hours, or until the daemon
    ends. The page is on this machine alone; from another one, forward the port by ssh.
    """
    from mesh.config import fleet_home

    home = fleet_home()
    daemon = need_daemon(home)
    made = daemon.post("/v1/dashboard/codes")
    link = daemon.url + str(made["path"])
    if output == "json":
        emit_json({"url": link, "seconds": made["seconds"]})
        return
    click.echo(link)
    if opens and not _open(home, link):
        click.echo("no browser could be started: open the link within a minute", err=True)


def _open(home: Path, link: str) -> bool:
    """Show a browser the way in by a file that only its owner reads; False without a screen, where
    Python would start a browser of text and wait for its end."""
    import webbrowser

    from mesh.edge.disk import write_private

    if sys.platform.startswith("linux") and not any(map(os.environ.get, SCREENS)):
        return False
    door = home / DOOR
    write_private(door, PAGE.format(link=html.escape(link)))
    return webbrowser.open(door.resolve().as_uri())
