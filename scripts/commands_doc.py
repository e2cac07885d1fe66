"""Writes docs/reference/commands.md from the program's commands: scripts/commands-doc [--check]."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from mesh.cli.app import fleet
from mesh.cli.exits import EPILOG

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
# What click calls a number within bounds; the bounds follow.
NUMBER = re.compile(r"\bINTEGER(?: RANGE)?\b|\bFLOAT(?: RANGE)?\b")
HEAD = """# Commands

Made from the program by `scripts/commands-doc`; do not edit. `--help` after a command says the
same. What to use when: [tasks.md](../tasks.md).

Every read takes `-o json`, before the command or after it, and most that change something take
`-y`, which asks nothing. `rm` and `delete` mean `remove`, `ls` and `list` a group alone. A context
or a batch is written `8k`, memory `24GB`; GB of device memory means GiB, as makers mean it.
"""
CODES = """## Exit codes

The same for every command. An error is one line on standard error: what, why, and what to try.

| code | means |
|---|---|
"""


def page() -> str:
    """The whole page."""
    top = click.Context(fleet, info_name="fleet")
    parts = [HEAD, CODES + "\n".join(_codes()) + "\n", *_command(fleet, top)]
    return "\n".join(parts)


def _codes() -> Iterator[str]:
    """A row of each exit code; a line without a number goes on with the one before."""
    rows: list[list[str]] = []
    for line in EPILOG.splitlines()[2:]:
        code, _, said = line.strip().partition("  ")
        if code.isdigit():
            rows.append([code, said.strip()])
        else:
            rows[-1][1] += f" {line.strip()}"
    return (f"| {code} | {said} |" for code, said in rows)


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """The part of a command, then those of the commands below it."""
    yield "\n".join([f"## {context.command_path}", "", *_said(command, context)]) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _command(below, click.Context(below, info_name=name, parent=context))


def _said(command: click.Command, context: click.Context) -> Iterator[str]:
    """How it is called, what it does, its options."""
    words = " ".join(command.collect_usage_pieces(context))
    yield from ("```text", f"{context.command_path} {words}".rstrip(), "```", "")
    yield _paragraphs(command)
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    rows = [record for one in options if (record := one.get_help_record(context))]
    rows = [record for record in rows if "--help" not in record[0]]
    if rows:
        yield from ("", "| option | what it says |", "|---|---|")
        named = ((NUMBER.sub("N", names), said) for names, said in rows)
        yield from (f"| `{_cell(names)}` | {_cell(said)} |" for names, said in named)


def _paragraphs(command: click.Command) -> str:
    """A command's help, each paragraph on a line of its own."""
    said = inspect.cleandoc(command.help or "").replace("\b\n", "")
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", said))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the page; with --check, say whether it is as it should be."""
    if "--check" in sys.argv[1:]:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
