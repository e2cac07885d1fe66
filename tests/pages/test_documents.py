"""Every document: its commands are typed by a test or listed with the reason, the program's own
parser understands each, and every link, picture and anchor is there."""

import re
from functools import cache
from pathlib import Path

import pytest

from scripts.commands_doc import PAGE as COMMANDS
from scripts.commands_doc import page as commands_page
from tests.pages.elsewhere import ELSEWHERE
from tests.pages.test_desk import PAGES as AT_A_DESK
from tests.support.pages import (
    ROOT,
    Command,
    anchors,
    fault,
    links,
    mentioned,
    options_of,
    pages,
    path_of,
    prose,
    rows,
    text_of,
    typed,
)

# Whose commands are typed, by which test. A page that is not here may have no block of commands,
# unless a test of its own has its name: tests/mesh/test_money_page.py types how-to/money.md.
TYPED = {
    **dict.fromkeys(AT_A_DESK, "tests/pages/test_desk.py"),
    "docs/tutorial.md": "tests/pages/test_tutorial.py",
    "docs/budgets.md": "tests/pages/test_several.py",
    "docs/how-to/lan-and-tailnet.md": "tests/pages/test_several.py",
    "docs/how-to/ssh.md": "tests/pages/test_ssh_page.py",
    "docs/how-to/compare.md": "tests/cli/test_compare.py",
    "docs/how-to/python.md": "tests/client/test_client.py",
}
TASKS = "docs/tasks.md"
READ = ["README.md", *pages("docs", "docs/how-to", "docs/reference")]
WRITTEN = [*pages("docs", "docs/how-to", "docs/reference", "docs/adr", "docs/measurements")]
LINKED = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    *WRITTEN,
    *pages("scripts", "scripts/lab"),
]
GENERATED = str(COMMANDS.relative_to(ROOT))
FIGURE = re.compile(r"\d+\.\d+ %")
# Said in a sentence with options or words that no page types: what a reader is told of, not told to
# type here. Each is parsed; the reason says where it runs, or why it can't.
SAID = {
    "fleet up --log": "stays in the foreground: tests/mesh/test_operations_page.py has a unit",
    "fleet up --detach --alone": "typed for how-to/operations.md, where there is no fleet",
    "fleet peers remove NAME": "typed for how-to/lan-and-tailnet.md",
    "fleet run --key NAME": "tests/mesh/test_mcp.py",
    "fleet recover --remove NAME --keep EVENT": "tests/mesh/test_thief.py",
    "fleet models --where -o json": "tests/mesh/test_models.py",
    "fleet devices add --usable": "tests/api/test_hardware.py",
}


@cache
def typed_by(page: str) -> str:
    """The test that types a page: from the list, or by its name; "" for none."""
    own = sorted((ROOT / "tests").glob(f"**/test_{Path(page).stem}_page.py"))
    return TYPED.get(page) or (str(own[0].relative_to(ROOT)) if own else "")


def to_type(page: str) -> list[Command]:
    """A page's lines that somebody types."""
    return [*typed(page), *(rows(page) if page == TASKS else ())]


@cache
def run_somewhere() -> frozenset[tuple[tuple[str, ...], frozenset[str]]]:
    """(verbs, options) of every line that some test types."""
    lines = [one for page in READ if typed_by(page) for one in to_type(page) if one.is_ours]
    there = [one for one in lines if one.text not in ELSEWHERE.get(one.page, {})]
    return frozenset((path_of(one.words), frozenset(options_of(one.words))) for one in there)


def is_mention(command: Command) -> bool:
    """`fleet ssh add`, `fleet run --rent`: the name of a command, or of options that it has."""
    words = command.words
    flags = [word for word in words if word.startswith("-")]
    path = path_of(words)
    return [*path, *flags] == words and len(options_of(words)) == len(flags)


@pytest.mark.parametrize("page", READ)
def test_a_page_with_commands_has_a_test_that_types_them(page: str) -> None:
    if not to_type(page):
        return
    assert typed_by(page), f"{page}: nothing types its commands; add it to a test in tests/pages"
    assert Path(page).stem in (ROOT / typed_by(page)).read_text(), f"{typed_by(page)} reads it not"


@pytest.mark.parametrize("page", READ)
def test_the_programs_parser_understands_every_command_of_the_page(page: str) -> None:
    found = [one for one in (*to_type(page), *mentioned(page)) if one.is_ours]
    told = [one for one in found if one.typed or not is_mention(one)]
    wrong = {
        one.text: fault(["aider" if word == "APP" else word for word in one.words]) for one in told
    }
    assert {text: said for text, said in wrong.items() if said} == {}


@pytest.mark.parametrize("page", [page for page in READ if page != GENERATED])
def test_what_a_sentence_says_to_type_runs_somewhere_or_says_why_not(page: str) -> None:
    missing = []
    for one in mentioned(page):
        path, options = path_of(one.words), options_of(one.words)
        runs = any(path == verbs and options <= flags for verbs, flags in run_somewhere())
        listed = one.text in SAID or one.text in ELSEWHERE.get(page, {})
        if not (runs or listed or (is_mention(one) and not options)):
            missing.append(one.text)
    assert missing == []


def test_the_lists_of_what_is_not_typed_name_lines_that_there_are() -> None:
    for page, listed in ELSEWHERE.items():
        there = {one.text for one in (*to_type(page), *mentioned(page))}
        assert set(listed) <= there, page
        assert all(listed.values())
    assert set(SAID) <= {one.text for page in READ for one in mentioned(page)}
    reasons = [*SAID.items(), *(one for listed in ELSEWHERE.values() for one in listed.items())]
    for line, reason in reasons:
        for test in re.findall(r"tests/\S+\.py", reason):
            words = Command("", line).words
            assert path_of(words)[-1] in (ROOT / test).read_text(), f"{line}: {test}"


@pytest.mark.parametrize("page", LINKED)
def test_every_link_picture_and_anchor_is_there(page: str) -> None:
    broken = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        inside = target.exists() and target.resolve().is_relative_to(ROOT)
        if not inside or (
            anchor and anchor not in anchors(str(target.resolve().relative_to(ROOT)))
        ):
            broken.append(link)
    assert broken == []


def test_every_document_stands_in_the_index() -> None:
    index = {str(((ROOT / "docs") / one).resolve()) for one in links("docs/README.md")}
    missing = [one for one in WRITTEN if str(ROOT / one) not in index]
    assert missing == ["docs/README.md"]


def test_every_picture_is_shown_somewhere() -> None:
    shown = {str(((ROOT / page).parent / one).resolve()) for page in LINKED for one in links(page)}
    there = {str(path) for path in (ROOT / "docs" / "pictures").iterdir()}
    assert there <= shown


def test_the_page_of_commands_is_as_the_program_says() -> None:
    assert COMMANDS.read_text() == commands_page(), "scripts/commands-doc writes it anew"


def test_every_option_of_every_command_says_what_it_does() -> None:
    cells = [row.split(" | ") for row in prose(GENERATED).splitlines() if row.startswith("| `-")]
    assert len(cells) > 400
    assert [row[0] for row in cells if len(row[1].strip(" |")) < 3] == []


def test_the_planners_page_says_what_the_pages_of_accuracy_say() -> None:
    """Each row of its tables of figures is one of theirs, with some columns left out."""
    sources = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for name in ("accuracy", "accuracy-device", "accuracy-speed")
        for row in text_of(f"docs/{name}.md").splitlines()
        if row.startswith("| ")
    ]
    named = {"cache and state": "context_bytes", "compute buffer": "compute_bytes"}
    named |= {"file size by type": "tensor_bytes"}
    figures = prose("docs/planner.md").partition("## How accurate is it?")[2]
    found = [row for row in figures.splitlines() if row.startswith("| ") and " %" in row]
    assert len(found) >= 20
    for row in found:
        first, *cells = [cell.strip() for cell in row.split("|")[1:-1]]
        wanted = [named.get(first, first), *cells]
        assert any(is_part(wanted, cells_of) for cells_of in sources) or is_learned(
            first, cells, sources
        ), row


def test_every_share_that_the_planners_page_names_is_one_of_theirs() -> None:
    theirs = "".join(text_of(f"docs/accuracy{name}.md") for name in ("", "-device", "-speed"))
    said = set(FIGURE.findall(prose("docs/planner.md")))
    assert said - set(FIGURE.findall(theirs)) == set()


def test_the_figures_of_the_readme_are_the_planners_pages() -> None:
    figures = FIGURE.findall(prose("README.md"))
    assert len(figures) >= 2
    assert [one for one in figures if one not in prose("docs/planner.md")] == []


def is_part(wanted: list[str], row: list[str]) -> bool:
    """All of them are cells of the row, the figures in its order; "(8/8)" is left out."""
    plain = [cell.partition(" (")[0] for cell in row]
    rest = iter(plain)
    return wanted[0] in (plain[0], row[0], *row[:3]) and all(
        any(cell == other for other in rest) for cell in wanted[1:]
    )


def is_learned(name: str, cells: list[str], sources: list[list[str]]) -> bool:
    """The row of what jobs change: the source has a row for each number of jobs."""
    rows_of = {row[2]: row for row in sources if row[0] == name and len(row) == 7}
    if not {"1", "2", "4"} <= set(rows_of):
        return False
    return cells == [rows_of["1"][3], *(rows_of[jobs][4] for jobs in ("1", "2", "4"))]
