"""A hint never leads nowhere: every command it names exists, with its options, models and cards."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mathcore.api import find_model
from mathcore.hardware.names import lookup_gpu
from mesh.cli.app import fleet
from mesh.cli.hints import COMMANDS, as_command

ROOT = Path(__file__).parents[2]
# What raises an error with a hint, the hint its last text.
RAISES = frozenset(
    "HttpRefusal ModelError ProviderError RequestError Stop StoreError Trouble refuse stop".split()
)
# A command ends where a sentence goes on.
END = re.compile(r"[,;()…—\n]|\. | then | or fleet ")
COMMAND = re.compile(r"(?<![\w/.'-])(?<!that )fleet (?=[a-z-])")
OPTION = re.compile(r"(?<!\S)--?[a-zA-Z][\w-]*")
MODEL = re.compile(r"(?<![\w/])(?:llama|qwen|gemma|mistral|gpt-oss|deepseek)[\w.]*[-:][\w.:-]*\w")
HARDWARE = re.compile(r"""--(?:what-if|gpu) ["']([^"']+)["']""")
ASIDE = re.compile(r"\{.*?\}")


def sources() -> Iterator[Path]:
    for package in ("mesh", "providers"):
        yield from sorted((ROOT / package).rglob("*.py"))


def text_of(node: ast.AST) -> str | None:
    """A text as it is shown, what is filled in replaced by X; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "X" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or "X") + (text_of(node.right) or "X")
    return None


def docstrings(tree: ast.AST) -> set[int]:
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            found.add(id(body[0].value))
    return found


def shown_texts() -> Iterator[tuple[str, str]]:
    """(where, text) of every text the product holds, docstrings aside."""
    for path in sources():
        tree = ast.parse(path.read_text())
        left_out = docstrings(tree)
        for node in ast.walk(tree):
            text = text_of(node) if id(node) not in left_out else None
            if text is not None:
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", text


def hints() -> Iterator[tuple[str, str]]:
    """(where, hint) of every error the product raises."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            texts = [text for arg in node.args if (text := text_of(arg)) is not None]
            if name in RAISES and texts:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", texts[-1]


def commands(text: str) -> Iterator[str]:
    """What stands after each "fleet " up to the end of the command."""
    for found in COMMAND.finditer(text):
        yield END.split(text[found.end() :], maxsplit=1)[0]


def walk(words: list[str]) -> tuple[click.Command | None, list[str]]:
    """The command that the first words name, and the words after them."""
    here: click.Command = fleet
    while words and isinstance(here, click.Group):
        inner = here.get_command(click.Context(here), words[0])
        if inner is None:
            break
        here, words = inner, words[1:]
    return (None if here is fleet else here), words


def options(command: click.Command) -> set[str]:
    found = {"--help", "-h"}
    for one in command.params:
        found |= {*one.opts, *one.secondary_opts}
    return found


def faults(text: str) -> list[str]:
    """Options in a text's commands that those commands do not have."""
    found = []
    for rest in commands(text):
        command, words = walk(rest.split())
        if command is not None:
            used = set(OPTION.findall(" ".join(words).partition(" -- ")[0]))
            found += [f"fleet {command.name} has no {name}" for name in used - options(command)]
    return found


def test_every_command_of_a_hint_exists() -> None:
    wrong = [
        f"{where}: fleet {rest}"
        for where, hint in hints()
        for rest in commands(hint)
        if walk(rest.split())[0] is None and not rest.startswith("-")
    ]
    assert wrong == []


def test_every_option_that_a_text_names_beside_its_command_exists() -> None:
    wrong = [f"{where}: {one}" for where, text in shown_texts() for one in faults(text)]
    assert wrong == []


def test_every_model_and_card_that_a_text_names_is_known() -> None:
    wrong = []
    for where, text in shown_texts():
        if "cli/" not in where and "api/" not in where:
            continue
        names = HARDWARE.findall(ASIDE.sub("", text))
        wrong += [f"{where}: {name}" for name in names if not known_card(name)]
        if "fleet " in text or "say " in text:
            wrong += [f"{where}: {m}" for m in MODEL.findall(text) if find_model(m) is None]
    assert wrong == []


def known_card(name: str) -> bool:
    return "X" in name.split() or lookup_gpu(re.sub(r"\s+x\d+$|\s+\d+GB$", "", name)) is not None


WHOLE = [
    hint
    for _, hint in hints()
    if hint.startswith("fleet ") and "X" not in hint and not END.search(hint)
]


@pytest.mark.parametrize("hint", sorted(set(WHOLE)))
def test_a_hint_that_is_a_command_alone_is_parsed(hint: str) -> None:
    """Words of a sentence after it ("fleet peers lists them") are the one thing allowed."""
    command, words = walk(shlex.split(hint)[1:])
    assert command is not None
    said = [word for word in words if word.isalpha() and word.islower()]
    if said and not command.params:
        return
    fault = parse_fault(command, list(words))
    assert not fault or said, f"{hint}: {fault}"


def parse_fault(command: click.Command, words: list[str]) -> str:
    """What click says of the words; "" where it takes them."""
    try:
        command.parse_args(click.Context(command, info_name=command.name), words)
    except click.UsageError as error:
        return error.format_message()
    except click.exceptions.Exit:  # --help was shown
        return ""
    return ""


# What a program would do: ask a route, send a header, read a file of the daemon's.
FOR_PROGRAMS = re.compile(
    r"^(?:\S+ )?(?:GET|POST|DELETE) /(?!.*HTTP/1|.*/$)|send Authorization|see daemon"
)

NO_HINTS = (
    "mesh/cli/hints.py",
    "mesh/edge/openapi/",
)  # the table itself, and what describes routes


def test_a_hint_for_programs_is_a_command_where_a_command_shows_it() -> None:
    for where, text in shown_texts():
        if FOR_PROGRAMS.search(text) and not where.startswith(NO_HINTS):
            told = as_command(text)
            assert not FOR_PROGRAMS.search(told), f"{where}: {text}"
            for rest in commands(told):
                assert walk(rest.split())[0] is not None, f"{where}: {told}"


def test_every_hint_that_has_another_wording_is_one_that_the_product_gives() -> None:
    said = {text for where, text in shown_texts() if not where.startswith(NO_HINTS)}
    assert set(COMMANDS) - said == set()


def test_the_test_sees_a_hint_that_leads_nowhere() -> None:
    assert faults("try: fleet plan MODEL --quantum 3, or fleet up --detach") == [
        "fleet plan has no --quantum"
    ]
    assert walk("grant a role".split())[0] is None
    assert len(list(hints())) > 100
