"""Files that a command left in its --workdir, wherever it ran."""

from collections.abc import Mapping
from typing import Any, Final

import click

from mathcore.units import show_bytes
from mesh.cli.client import job_url, need_daemon, quoted
from mesh.cli.exits import CANNOT, stop
from mesh.cli.output import emit_json, say
from mesh.cli.table import Column, emit

Row = Mapping[str, Any]
COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="FILE", value=lambda row: row["path"], least=20),
    Column(title="SIZE", value=lambda row: show_bytes(row["size_bytes"]), right=True),
)


def list_files(job_id: str, output: str) -> None:
    """Their paths and sizes, by path."""
    from mesh.config import fleet_home

    found = need_daemon(fleet_home()).get(job_url(job_id, "/files"))
    if output == "json":
        emit_json(found)
        return
    if not found["kept"]:
        say("its folder is gone from where it ran")
        return
    emit(COLUMNS, found["files"], "it left no files: fleet run --workdir gives a command a folder")
    if found["more"]:
        say(f"there are more than these {len(found['files'])}")


def get_file(job_id: str, path: str) -> None:
    """A file that a command left in its --workdir, to standard output; its hash is checked."""
    import base64
    import hashlib

    from mesh.config import fleet_home

    daemon, at, made = need_daemon(fleet_home()), 0, hashlib.blake2b(digest_size=32)
    while True:
        url = job_url(job_id, f"/file?offset={at}&path={quoted(path)}")
        part = daemon.get(url)
        data = base64.b64decode(part["data"])
        made.update(data)
        click.echo(data, nl=False)
        at += len(data)
        if at >= part["size"] or not data:
            break
    if made.hexdigest() != part["hash"]:
        stop(CANNOT, f"{path} changed while it was read", "once more, when the job has ended")
