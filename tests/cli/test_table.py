"""Tables keep to the terminal: what leaves, in which order, and what is said of it."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.cli.output import clean, emit_json, show_cost, wide
from mesh.cli.table import (
    Column,
    emit_table,
    emit_wide,
    fitted,
    shortened,
    table_lines,
    terminal_width,
    wrapped,
)

ROOT = Path(__file__).parents[2]
Row = tuple[str, str, str]
COLUMNS: list[Column[Row]] = [
    Column(title="NAME", value=lambda row: row[0], least=6),
    Column(title="NOTE", value=lambda row: row[1], rank=20, brief=lambda row: row[1][:2]),
    Column(title="N", value=lambda row: row[2], rank=10, right=True),
]
COLUMNS[1] = Column(
    title="NOTE", value=lambda r: r[1], rank=20, brief=lambda r: r[1][:2], brief_rank=30
)
ROWS: list[Row] = [("a-long-device-name", "fifteen letters", "7"), ("b", "x", "12345")]


def shown(width: int | None, rows: list[Row] = ROWS) -> list[str]:
    return list(table_lines(COLUMNS, rows, width, "-o json has all"))


def test_with_room_for_everything_nothing_is_left_out() -> None:
    assert shown(44) == [
        "NAME                NOTE                 N",
        "a-long-device-name  fifteen letters      7",
        "b                   x                12345",
    ]


def test_a_short_form_comes_before_a_column_leaves() -> None:
    assert shown(33) == [
        "NAME                NOTE      N",
        "a-long-device-name  fi        7",
        "b                   x     12345",
    ]


def test_the_highest_rank_leaves_first_and_a_line_says_so() -> None:
    rows: list[Row] = [("device", "fifteen letters", "7"), ("b", "x", "1" * 20)]
    assert shown(31, rows) == [
        "NAME                       N",
        "device                     7",
        "b       11111111111111111111",
        "hidden: NOTE; -o json has all",
    ]


def test_when_only_what_stays_is_left_the_widest_text_is_shortened() -> None:
    lines = shown(12)
    assert lines[:3] == ["NAME", "a-long-devi…", "b"]


def test_a_pipe_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_width() is None
    assert shown(None) == shown(200)


@pytest.mark.parametrize(("said", "width"), [("72", 72), ("1", 20)])
def test_columns_says_how_wide(monkeypatch: pytest.MonkeyPatch, said: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", said)
    assert terminal_width() == width


@pytest.mark.parametrize("said", ["", "0", "wide", "-3", "²"])
def test_columns_that_say_nothing_do_not_count(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("COLUMNS", said)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal_width() is None


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=5), st.integers(20, 130))
def test_no_line_is_wider_than_the_terminal(rows: list[Row], width: int) -> None:
    assert max(map(wide, shown(width, rows))) <= width


@given(TEXT, st.integers(1, 50))
def test_wrapping_keeps_every_letter_and_the_width(text: str, width: int) -> None:
    text = clean(text)
    if wide(text) != len(text):
        return  # a letter of two columns does not fit into one
    lines = wrapped(text, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == "".join(text.split())


def test_ideographs_take_two_columns() -> None:
    assert wide("设备") == 4
    assert shortened("设备名称", 5) == "设备…"
    assert shown(44, [("设备", "x", "1")])[1] == "设备  x     1"


def test_a_column_that_says_nothing_is_not_missed() -> None:
    quiet: Column[Row] = Column(title="WHY", value=lambda _: "", optional=True)
    table = fitted([*COLUMNS, quiet], ROWS, 200)
    assert [one.column.title for one in table.shown] == ["NAME", "NOTE", "N"]
    assert table.hidden == ()


def test_wide_shows_every_column_of_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    emit_wide(COLUMNS, ROWS)
    assert capsys.readouterr().out.splitlines() == shown(None)


def test_a_small_table_loses_its_columns_from_the_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    emit_table(("A", "B", "C"), [["a" * 6, "b" * 8, "c" * 30]], "")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "aaaaaa  bbbbbbbb"


def test_a_terminal_without_our_signs_gets_them_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    assert clean("≥$1 – naïve… 设") == ">=$1 - naïve~ ?"
    assert shortened("abcdef", 4) == "abc~"
    emit_json({"what": "设…"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue()) == {"what": "设…"}


def test_a_cost_that_lacks_a_part_is_a_lower_bound_or_unknown() -> None:
    said = [show_cost(1_200_000, lacks) for lacks in ((), ("power",), ("price", "power"))]
    assert said == ["$0.0012", "≥$0.0012", "unknown"]
    assert show_cost(0, ("price",)) == "unknown"
    assert show_cost(0) == "$0"


@pytest.mark.parametrize("args", [("events",), ("status",), ("models", "llama-3")])
def test_a_terminal_that_knows_only_latin_1_is_shown_every_command(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    env = {**os.environ, "FLEET_HOME": str(tmp_path), "PYTHONIOENCODING": "latin-1"}

    def fleet(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "mesh", *words]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=False)

    fleet("note", "naïve – 设 …")
    done = fleet(*args)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "–" not in done.stdout.decode("latin-1")
