"""`fleet proxy`: the fleet's models where tools look for another program's."""

from collections.abc import Mapping
from typing import Any, Final

import click

from mesh.cli.client import need_daemon
from mesh.cli.output import emit_json, json_option, say
from mesh.cli.table import Column, emit

# What a tool is told where it can't find the port by itself.
SETTING: Final = {"ollama": "OLLAMA_HOST", "lmstudio": "OPENAI_BASE_URL"}
CALLED: Final = {"ollama": "Ollama", "lmstudio": "LM Studio"}
NOBODY: Final = "no port is taken over (fleet proxy --as ollama takes Ollama's)"

Row = Mapping[str, Any]
COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column(title="AS", value=lambda row: row["as"]),
    Column(title="ADDRESS", value=lambda row: row["url"]),
    Column(title="STATE", value=lambda row: "open" if row["open"] else "port is taken", least=8),
)


@click.command()
@click.argument("word", required=False, type=click.Choice(["list", "ls"]), metavar="[list]")
@click.option("--as", "name", type=click.Choice(list(SETTING)), help="whose port is taken over")
@click.option("--port", type=click.IntRange(1, 65535), help="another than its usual one")
@click.option("--off", is_flag=True, help="give the port back")
@json_option
@click.pass_context
def proxy(
    ctx: click.Context,
    /,
    *,
    word: str | None,
    name: str | None,
    port: int | None,
    off: bool,
    output: str,
) -> None:
    """Take over Ollama's or LM Studio's port on this machine, so that tools need no change.

    The daemon keeps it open, also after a restart, until --off. Alone it lists what is open.
    """
    from mesh.config import fleet_home

    body = {"as": name} if name else {}
    place = body | ({"port": port} if port else {})
    if word and (place or off):
        raise click.UsageError("list stands alone", ctx)
    if off and not place:
        raise click.UsageError("say which: --as NAME or --port N", ctx)
    daemon = need_daemon(fleet_home())
    if not place:
        _show(daemon.get("/v1/proxies"), output)
    elif off:
        _show_closed(daemon.post("/v1/proxies/close", place), output)
    else:
        _show_open(daemon.post("/v1/proxies", place), output)


def _show(found: Mapping[str, Any], output: str) -> None:
    if output == "json":
        emit_json(found["proxies"])
        return
    emit(COLUMNS, found["proxies"], NOBODY)


def _show_closed(found: Mapping[str, Any], output: str) -> None:
    if output == "json":
        emit_json(found)
        return
    for port in found["closed"]:
        say(f"port {port} is free")


def _show_open(row: Row, output: str) -> None:
    if output == "json":
        emit_json(row)
        return
    name = str(row["as"])
    say(f"{row['url']}  every model of the fleet{', as ' + CALLED[name] if name else ''}")
    for line in advice(row):
        say(line)


def advice(row: Row) -> list[str]:
    """What to set in a tool, and how it ends."""
    name, url = str(row["as"]), str(row["url"])
    kept = f"--as {name}" if name else f"--port {row['port']}"
    value = url if name == "ollama" else f"{url}/v1"
    setting = SETTING.get(name, "OPENAI_BASE_URL")
    return [
        f"  tools that look there need no change; for others: {setting}={value}",
        f"  fleet proxy {kept} --off gives the port back",
    ]
