"""docs/how-to/mcp.md as somebody types it: its commands run, its settings start the server."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.cli.mcp.bounds import MAX_ANSWER_CHARS
from mesh.cli.mcp.command import KEY
from mesh.cli.mcp.spending import Spending
from mesh.cli.mcp.tools import READS
from tests.mesh.conftest import ROOT, Machine, make
from tests.mesh.test_mcp import call, tools_of
from tests.support.tiny_gguf import write_tiny_gguf

PAGE = (ROOT / "docs" / "how-to" / "mcp.md").read_text()
CLIENTS = ("claude", "codex")
DISPATCH = [one.name for one in Spending("mcp", 1, "total").tools()]


def blocks(kind: str) -> list[str]:
    found = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.S)
    return [text for one, text in found if one == kind]


def typed() -> list[list[str]]:
    lines = [line for block in blocks("") for line in block.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


def started_by_clients() -> list[list[str]]:
    """What clients start: after `--` of their commands, and in their settings."""
    added = [words[words.index("--") + 1 :] for words in typed() if words[0] in CLIENTS]
    (settings,) = map(json.loads, blocks("json"))
    (toml,) = map(tomllib.loads, blocks("toml"))
    servers: list[dict[str, Any]] = [
        settings["mcpServers"]["fleet"],
        toml["mcp_servers"]["fleet"],
    ]
    return [*added, *([one["command"], *one["args"]] for one in servers)]


@pytest.fixture(scope="module")
def ana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    maker = make(tmp_path_factory.mktemp("page"))
    made: Machine = next(maker)("ana")
    made.env["FLEET_GATEWAY_PORT"] = "0"
    yield made
    next(maker, None)


def test_every_way_to_start_it_starts_it(ana: Machine) -> None:
    ana.up()
    found = started_by_clients()
    assert len(found) == 5
    for program, verb, *words in found:
        assert (program, verb) == ("fleet", "mcp")
        names = [one.name for one in tools_of(ana, *words)]
        wanted = [one.name for one in READS]
        assert names == (wanted + DISPATCH if words else wanted)


def test_the_commands_of_the_page_run(ana: Machine, tmp_path: Path) -> None:
    lines = [words for words in typed() if words[0] not in CLIENTS]
    assert [words[0] for words in lines] == ["pipx", *["fleet"] * 5]
    if not (ana.home / "daemon.json").exists():
        ana.up()
    with_key = ["--allow-dispatch", "--budget", "$2/day"]
    write_tiny_gguf(tmp_path / "tiny.gguf")
    wrong, first = [
        {"model": str(tmp_path / name), "prompt": "x", "tokens": 1, "context": "256"}
        for name in ("no-such.gguf", "tiny.gguf")
    ]
    said, made = call(ana, *with_key, calls=[("run", wrong), ("run", first)])
    assert said.refused
    assert made.value["job_id"]  # the first job makes the key
    for _, *words in lines[1:]:
        done = ana.run(*words)
        assert done.code == (3 if words[0] == "up" else 0), f"{words}: {done.err}"
    assert f"`{KEY.format(name='NAME')}` with this machine's name" in " ".join(PAGE.split())


def test_the_page_names_each_tool_and_the_bound() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert named == [*(one.name for one in READS), *DISPATCH]
    assert f"{MAX_ANSWER_CHARS:,} characters at most" in PAGE
