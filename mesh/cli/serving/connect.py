"""`fleet connect`: how a tool uses this machine's address, shown or written into its own file."""

import os
import secrets
import shlex
import stat
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import need_daemon
from mesh.cli.exits import CANNOT, USAGE, stop
from mesh.cli.output import emit_json, json_option, say
from mesh.cli.serving.connecting import (
    APPS,
    NAMES_NO_MODEL,
    Address,
    File,
    Joined,
    NotUnderstood,
    Settings,
    joined,
    settings,
)
from mesh.cli.table import emit_text

BACKUP: Final = ".before-fleet"
MAX_BYTES: Final = 4 << 20  # a tool's settings are a few kB
MODEL: Final = "MODEL"  # stands for a name that was not given


@click.command()
@click.argument("app", type=click.Choice(sorted(APPS)), metavar="APP")
@click.option("-m", "--model", default="", help="the model that the tool asks for")
@click.option("--key", default="", help="the address's key, where it has one")
@click.option("-y", "--yes", is_flag=True, help="write them into the tool's own file")
@json_option
def connect(*, app: str, model: str, key: str, yes: bool, output: str) -> None:
    """Show the settings with which APP uses the models of this fleet.

    APP: aider, claude-code, cline, codex, continue, langchain, open-webui, opencode. With -y they
    join what its file already holds, and a copy of the file as it was stays beside it.
    """
    from mesh.config import fleet_home

    said = need_daemon(fleet_home()).get("/v1/status")
    url = _url(said)
    to = Address(url=url, model=model.strip() or _only_served(url), key=key)
    if yes and to.model == MODEL and app not in NAMES_NO_MODEL:
        stop(USAGE, f"{app} is told a model's name", f"fleet connect {app} --model NAME -y")
    found, home = settings(app, to), Path.home()
    written = _write(home, found.files) if yes else []
    if output == "json":
        emit_json(_as_dict(app, to, found) | {"written": written})
    else:
        _show(app, to, found)
        _report(found, written, yes=yes)
    if yes and len(written) < len(found.files):
        stop(CANNOT, f"~/{found.files[0].path} is there and not rewritten", "add the text to it")


def _url(said: Mapping[str, Any]) -> str:
    """The address where models answer, as the daemon says it."""
    gateway = said.get("gateway")
    url = gateway.get("url") if isinstance(gateway, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        stop(CANNOT, "this daemon has no model address", "fleet down, then fleet up --detach")
    return url.rstrip("/")


def _only_served(url: str) -> str:
    """The model that is served, where there is just one; else what stands for a name."""
    from mesh.cli.serving.asking import models_at

    try:
        found = list(models_at(url))
    except RequestError:
        return MODEL  # the settings are the same whether or not somebody answers now
    return found[0] if len(found) == 1 else MODEL


# Showing.


def _as_dict(app: str, to: Address, found: Settings) -> dict[str, Any]:
    return {
        "app": app,
        "url": to.url,
        "model": to.model,
        "files": [{"path": f"~/{file.path}", "content": file.content} for file in found.files],
        "environment": dict(found.environment),
        "words": list(found.words),
    }


def _show(app: str, to: Address, found: Settings) -> None:
    """The settings as they are typed, never broken: they are copied from here."""
    emit_text(f"{found.title} at {to.url}")
    for file in found.files:
        say(f"\n~/{file.path}")
        for line in file.text.splitlines():
            say(f"  {line}".rstrip())
    if found.environment:
        join = "" if not found.files else "and " if found.both else "or "
        say(f"\n{join}in its environment")
        for name, value in found.environment.items():
            say(f"  {name}={shlex.quote(value)}")
    if found.words:
        say()
    for text in found.words:
        emit_text(text)
    if to.model == MODEL and app not in NAMES_NO_MODEL:
        emit_text(f"{MODEL} stands for a model's name: fleet connect {app} --model NAME", err=True)


def _report(found: Settings, written: Sequence[Mapping[str, Any]], *, yes: bool) -> None:
    """What was written, on stderr: the settings alone are the answer."""
    for one in written:
        emit_text(f"{one['path']}: {one['state']}", err=True)
        if one["replaced"]:
            emit_text(f"replaced: {', '.join(one['replaced'])}", err=True)
        if one["backup"]:
            emit_text(f"as it was: {one['backup']}", err=True)
    if found.files and not yes:
        emit_text("-y writes the file", err=True)
    if yes and not found.files:
        emit_text(f"nothing is written: {found.title} has no file for this", err=True)


# Writing.


def _write(home: Path, files: Sequence[File]) -> list[dict[str, Any]]:
    """Each file that could be written, or is right already; all are looked at before the first."""
    ready = [(file, *_ready(home, file)) for file in files]
    return [
        _written(path, there, whole, file)
        for file, path, there, whole in ready
        if whole is not None
    ]


def _ready(home: Path, file: File) -> tuple[Path, str | None, Joined | None]:
    """Where a file lies, what it holds, and what it should hold."""
    named = home / file.path
    elsewhere = os.environ.get(file.moved_by, "") if file.moved_by else ""
    if elsewhere and Path(elsewhere) != home / Path(file.path).parts[0]:
        stop(CANNOT, f"{file.moved_by} says that the file lies elsewhere", "write it there by hand")
    path = named.resolve()
    if not path.is_relative_to(home.resolve()):
        stop(CANNOT, f"~/{file.path} is a link out of your home", "nothing is written")
    try:
        there = _text(path)
        return path, there, joined(there, file)
    except NotUnderstood as error:
        stop(CANNOT, f"~/{file.path} {error}", "nothing is written: add the settings by hand")


def _text(path: Path) -> str | None:
    """What a file holds; None where there is none."""
    if not path.exists():
        return None
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise NotUnderstood("is no file of settings")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise NotUnderstood("is no text in UTF-8") from error


def _written(path: Path, there: str | None, whole: Joined, file: File) -> dict[str, Any]:
    """Write a file, unless it is right already."""
    said = {"path": f"~/{file.path}", "state": "is so already", "replaced": [], "backup": ""}
    if there == whole.text:
        return said
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if there is None else stat.S_IMODE(path.stat().st_mode)
    if there is not None:
        said["backup"] = str(_backup(path, there, mode))
    _replace(path, whole.text, mode)
    return said | {"state": "written", "replaced": list(whole.replaced)}


def _backup(path: Path, there: str, mode: int) -> Path:
    """A copy under a name that is free: an older copy is the one a person may want."""
    copy = path.with_name(f"{path.name}{BACKUP}")
    numbers = count(2)
    while os.path.lexists(copy):
        copy = path.with_name(f"{path.name}{BACKUP}-{next(numbers)}")
    _replace(copy, there, mode)
    return copy


def _replace(path: Path, text: str, mode: int) -> None:
    """Write a file whole or not at all."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
