"""What the documents say to type, and where they point: read from their Markdown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from mesh.cli.app import fleet

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^\s*```\s*(.*?)\s*$")
SHELL = ("", "sh")  # how a block is marked whose lines are typed
SHOWN = "text"  # and one that shows what the program wrote; `text answer`: what a model did
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"!?\[[^\]\n]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.*?)\s*$", re.M)
SETTINGS = re.compile(r"^(?:\w+=\S* )+")  # before a command: NAME=VALUE


@dataclass(frozen=True, slots=True)
class Command:
    """One line to type. `said`: its comment; `typed`: it stands in a block, not in a sentence."""

    page: str
    text: str
    said: str = ""
    typed: bool = True

    @property
    def words(self) -> list[str]:
        """Those after `fleet`; [] for a line that is none of ours."""
        words = shlex.split(SETTINGS.sub("", self.text.split(" > ")[0].split(" | ")[0]))
        return words[1:] if words[:1] == ["fleet"] else []

    @property
    def ends(self) -> int:
        """The exit code that its comment names ("ends with 104"), else 0."""
        said = re.search(r"\bends with (\d+)", self.said)
        return int(said.group(1)) if said else 0

    @property
    def is_ours(self) -> bool:
        """Whether the line runs `fleet`."""
        return shlex.split(SETTINGS.sub("", self.text))[:1] == ["fleet"]


@cache
def text_of(page: str) -> str:
    """A page by its path from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def pages(*folders: str) -> list[str]:
    """Markdown files right in these folders, by their paths from the root."""
    return [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).glob("*.md"))
    ]


def parted(text: str) -> Iterator[tuple[str | None, str]]:
    """Each line with the mark of the block it stands in, None outside of blocks."""
    mark: str | None = None
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            mark = None if mark is not None else fence.group(1)
        else:
            yield mark, line


def prose(page: str) -> str:
    """What stands outside of blocks."""
    return "\n".join(line for mark, line in parted(text_of(page)) if mark is None)


def typed(page: str) -> list[Command]:
    """The lines of a page's shell blocks, in their order."""
    lines = [line.partition("#") for mark, line in parted(text_of(page)) if mark in SHELL]
    return [Command(page, line.strip(), said.strip()) for line, _, said in lines if line.strip()]


def shown(page: str) -> list[tuple[Command, list[str]]]:
    """What a page shows of a command's output, with that command: the last one before it."""
    found: list[tuple[Command, list[str]]] = []
    last, before = Command(page, ""), None
    for mark, line in parted(text_of(page)):
        if mark in SHELL and line.strip():
            last = Command(page, line.partition("#")[0].strip())
        elif mark == SHOWN and before != SHOWN:
            found.append((last, [line]))
        elif mark == SHOWN:
            found[-1][1].append(line)
        before = mark
    return found


def strange(lines: list[str], output: str) -> list[str]:
    """Those of a page's shown lines that no such output has: names and numbers may be others', so
    of a head all columns must be there, of another line half of its words."""
    found = set(re.findall(r"\w{3,}", output))

    def is_there(line: str) -> bool:
        words = re.findall(r"[^\W\d_]{3,}", line)
        least = len(words) if line.isupper() else len(words) // 2
        return sum(word in found for word in words) >= least

    return [line for line in lines if not is_there(line)]


def mentioned(page: str) -> list[Command]:
    """`fleet …` inside sentences and tables; of `a|b` each."""
    found = [one.replace("\\|", "|").removeprefix("… | ") for one in INLINE.findall(prose(page))]
    ours = [one for one in found if re.match(r"(\w+=\S* )*fleet($| )", one)]
    return [Command(page, each, typed=False) for one in ours for each in _choices(one)]


def _choices(text: str) -> Iterator[str]:
    """`--by key|model` is two commands; what is quoted, and a pipe between spaces, is not cut."""
    for at, word in enumerate(words := text.split(" ")):
        if "|" in word.strip("|") and '"' not in word:
            for one in word.split("|"):
                yield from _choices(" ".join([*words[:at], one, *words[at + 1 :]]))
            return
    yield text


def path_of(words: list[str]) -> tuple[str, ...]:
    """The verbs of a command: ("ssh", "add")."""
    return tuple(_descend(words)[0])


def options_of(words: list[str]) -> set[str]:
    """The names of a command's options, as the program calls them."""
    _, command, rest = _descend(words)
    names = {name: one.name or "" for one in command.params for name in one.opts}
    names |= {name: one.name or "" for one in command.params for name in one.secondary_opts}
    said = [word.partition("=")[0] for word in rest if word.startswith("-")]
    return {names[word] for word in said if word in names}


def _descend(words: list[str]) -> tuple[list[str], click.Command, list[str]]:
    command: click.Command = fleet
    path: list[str] = []
    rest = list(words)
    while rest and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            break
        path.append(rest.pop(0))
        command = found
    return path, command, rest


def fault(words: list[str]) -> str:
    """What the program's own parser has against a command; "" for nothing. Nothing is run."""
    try:
        context = fleet.make_context("fleet", list(words))
        command: click.Command = fleet
        while isinstance(command, click.Group) and context.args + context._protected_args:
            rest = [*context._protected_args, *context.args]
            name, found, rest = command.resolve_command(context, rest)
            assert found is not None
            context = found.make_context(name, rest, parent=context)
            command = found
    except click.exceptions.Exit:  # --help, --version
        return ""
    except click.ClickException as error:
        return error.format_message()
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return "Missing command."
    return ""


def links(page: str) -> list[str]:
    """Where a page points inside this repository."""
    found = LINK.findall(prose(page))
    return [one for one in found if not re.match(r"[a-z]+:", one)]


@cache
def anchors(page: str) -> set[str]:
    """The names of a page's headings, as forges make them."""
    found: dict[str, int] = {}
    made: set[str] = set()
    for heading in HEADING.findall(prose(page)):
        plain = LINK.sub(lambda link: link.group(0).split("](")[0].lstrip("!["), heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        again = found.get(name, 0)
        found[name] = again + 1
        made.add(f"{name}-{again}" if again else name)
    return made


def rows(page: str) -> list[Command]:
    """The commands of tables' second column; an option alone goes on with the command before it."""
    found: list[Command] = []
    for row in re.findall(r"^\| [a-z].*? \| (.*) \|$", prose(page), re.M):
        for word in INLINE.findall(row.replace("\\|", "|")):
            if word.startswith(("fleet", "… | fleet")):
                found.append(Command(page, word.removeprefix("… | ")))
            elif word.startswith("--"):
                found.append(Command(page, _with(found[-1].text, word)))
    return found


def _with(command: str, options: str) -> str:
    """A command with another option: of `--what-if` and `--fleet` the last one counts."""
    name = shlex.split(options)[0]
    kept = re.sub(r' --what-if (?:"[^"]*"|\S+)', "", command)
    return f"{kept if name in ('--what-if', '--fleet') else command} {options}"
