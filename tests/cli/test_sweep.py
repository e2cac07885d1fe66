"""`fleet sweep` as a person meets it: numbers in, a table, rows or a picture out."""

import csv
import io
import json
import sys
from math import log2
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from mesh.api.errors import RequestError
from mesh.api.numbers import parse_numbers
from mesh.cli.app import fleet
from mesh.cli.exits import Stop, code_of
from mesh.cli.planning.svg import (
    HEIGHT,
    SHADES,
    WIDTH,
    Label,
    Line,
    Panel,
    clipped,
    drawn,
    shade,
    ticks,
)
from mesh.cli.planning.sweep_view import picked
from mesh.edge.sweep import FIELDS

CARD = ("--what-if", "RTX 5090")


@pytest.fixture(autouse=True)
def no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))


def ask(*args: str, width: int = 80) -> Result:
    return CliRunner().invoke(fleet, ["sweep", *args], env={"COLUMNS": str(width)})


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,2,4..64", [1, 2, 4, 8, 16, 32, 64]),
        ("2k..128k", [2048 << n for n in range(7)]),
        ("1..4/1", [1, 2, 3, 4]),
        ("1k..4k/1536", [1024, 2560, 4096]),
        ("3..20", [3, 6, 12, 20]),
        ("8, 8,2", [2, 8]),
        ("1M", [1 << 20]),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, numbers: list[int]) -> None:
    assert parse_numbers(text, "--context") == numbers


@pytest.mark.parametrize(
    "text",
    ["", "x", "1..", "..4", "4..1", "1..4/0", "-1", "2kk", "1e9", "1..100m/1", "9" * 40, "²"],
)
def test_numbers_nobody_could_mean_are_one_error(text: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_numbers(text, "--context")
    assert error.value.text.startswith("--context: ")
    assert "\n" not in error.value.text


@given(st.text(alphabet="0123456789.,/km -", max_size=20))
def test_any_text_is_numbers_or_an_error(text: str) -> None:
    try:
        found = parse_numbers(text, "--batch")
    except RequestError:
        return
    assert found == sorted(set(found))
    assert found[0] >= 1


def test_rows_say_what_a_plan_of_the_same_question_says() -> None:
    done = ask(
        "llama-3-70b",
        "-b",
        "1,4",
        "-c",
        "2k,8k",
        *CARD,
        "--what-if",
        "RTX 3090 x2",
        "--quant",
        "Q3_K_M",
        "--quant",
        "Q4_K_M",
        "-o",
        "json",
    )
    rows = json.loads(done.stdout)
    assert len(rows) == 16
    for row in rows:
        assert tuple(row) == FIELDS
        plan = json.loads(
            CliRunner()
            .invoke(
                fleet,
                [
                    "plan",
                    "llama-3-70b",
                    "-b",
                    str(row["batch"]),
                    "-c",
                    str(row["context"]),
                    "--quant",
                    row["quant"],
                    "--engine",
                    "llama.cpp",
                    "--what-if",
                    row["device"],
                    "--prompt-tokens",
                    str(row["prompt_tokens"]),
                    "--tokens",
                    str(row["tokens"]),
                    "-o",
                    "json",
                ],
            )
            .stdout
        )
        if row["verdict"] == "NoFit(mem)":
            assert plan["refusals"][0]["missing_bytes"] == row["missing_bytes"] > 0
            continue
        placed = plan["placements"][0]
        assert (placed["fit"], placed["cards"]) == (row["verdict"], row["cards"])
        assert placed["footprint"]["total_bytes"] == row["needs_bytes"]
        assert placed["footprint"]["free_bytes"] == row["free_bytes"]
        for name in ("tokens_per_s", "duration_ms", "cost_nusd"):
            for band in ("p10", "p50", "p90"):
                assert placed[name][band] == row[f"{name}_{band}"]


def test_comma_separated_rows_are_the_json_s() -> None:
    args = ("llama-3-8b", "-b", "1..8", "-c", "1k..8k", *CARD)
    rows = json.loads(ask(*args, "-o", "json").stdout)
    read = list(csv.DictReader(io.StringIO(ask(*args, "-o", "csv").stdout)))
    assert read == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in rows
    ]


def test_the_table_keeps_to_the_terminal_and_says_what_it_leaves_out() -> None:
    done = ask("llama-3.1-8b", "-b", "1..64/1", "-c", "2k..128k/1k", *CARD)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "8128 cells a device; -o csv has them all."
    assert lines[1].split()[-1] == "128k"


def test_contexts_end_where_the_model_does_unless_asked_further() -> None:
    assert ask("llama-2-7b", *CARD).stdout.splitlines()[1].split() == ["GiB", "2k", "4k"]
    rows = json.loads(ask("llama-2-7b", "-c", "8k", "-b", "1", *CARD, "-o", "json").stdout)
    assert rows[0]["verdict"] == "NoFit(ctx)"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("llama-3-8b", "--quant", "Q9"), "quant: unknown"),
        (("llama-3-8b", "--plot", "x.pdf"), "neither .svg nor .png"),
        (("llama-3-8b", "-b", "1..65536/1", "-c", "1k..4M/1k"), "cells: "),
    ],
)
def test_wrong_input_is_one_error(args: tuple[str, ...], says: str) -> None:
    error = ask(*args, *CARD).exception
    assert isinstance(error, Stop | RequestError)
    assert code_of(error) == 2
    assert says in error.text.lower()


def test_a_sweep_where_nothing_fits_ends_with_its_code() -> None:
    error = ask("llama-3-70b", "-b", "1", "-c", "2k", "--what-if", "RTX 3060").exception
    assert isinstance(error, Stop)
    assert error.exit_code == 104


def test_the_picture_is_well_formed_and_shows_every_panel(tmp_path: Path) -> None:
    path = tmp_path / "out.svg"
    done = ask("llama-3-8b", *CARD, "--what-if", "RTX 4090", "--quant", "Q8_0", "--plot", str(path))
    assert done.exit_code == 0
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    said = {node.text for node in root.iter(f"{space}text")}
    assert {"RTX 5090, Q8_0: memory", "RTX 4090, Q8_0: speed", "batch 64", "23.5 GiB free"} <= said
    assert len(list(root.iter(f"{space}polygon"))) == 2  # how sure the speeds of each card are
    for line in root.iter(f"{space}polyline"):
        points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
        assert points == sorted(points)


@given(
    st.lists(st.integers(1, 3), min_size=2, max_size=8),
    st.floats(1.0, 40.0),
    st.sampled_from([[2048], [2048 << n for n in range(7)], [512, 1 << 20]]),
)
def test_names_of_lines_do_not_cover_each_other(
    steps: list[int], limit: float, contexts: list[int]
) -> None:
    slopes = [sum(steps[: n + 1]) for n in range(len(steps))]
    lines = [
        Line(name=f"batch {s}", points=[(log2(c), 8 + s * c / 65_536) for c in contexts])
        for s in slopes
    ]
    panel = Panel(
        title="t",
        unit="GiB",
        lines=lines,
        contexts=contexts,
        top=40.0,
        limit=limit,
        limit_name=f"{limit:.1f} GiB free",
    )
    root = ElementTree.fromstring(f"<g>{''.join(drawn(panel))}</g>")
    names = [
        Label(str(node.text), float(node.attrib["x"]), float(node.attrib["y"]), "")
        for node in root.iter("text")
        if node.attrib.get("fill", "").startswith("#") and "anchor" not in str(node.attrib)
    ]
    assert len(names) == len(lines) + 1
    for n, one in enumerate(names):
        assert 0 <= one.x <= WIDTH
        assert 0 <= one.y <= HEIGHT
        assert not any(one.overlaps(other) for other in names[n + 1 :])


def test_one_sequence_is_the_darkest_line() -> None:
    brightness = [int(shade(n, 8)[1:3], 16) for n in range(8)]
    assert brightness == sorted(brightness)
    assert shade(0, 1) == SHADES[0]


def test_a_line_that_leaves_the_panel_ends_at_its_edge() -> None:
    assert clipped([(1.0, 2.0), (2.0, 6.0), (3.0, 9.0)], 4.0) == [(1.0, 2.0), (1.5, 4.0)]
    assert clipped([(1.0, 5.0)], 4.0) == []


@pytest.mark.parametrize(("top", "binary"), [(1024.0, True), (0.3, True), (733.0, False)])
def test_ticks_are_few_and_inside(top: float, *, binary: bool) -> None:
    found = ticks(top, binary=binary)
    assert 4 <= len(found) <= 9
    assert found[0] == 0
    assert found[-1] <= top


def test_speeds_follow_the_context_they_stand_under() -> None:
    """A prompt that fills the context is what its column's speed is after; as `plan` has it."""
    args = ("llama-3.1-8b", "-b", "1", "-c", "4k,64k", "--quant", "Q4_K_M", *CARD)
    rows = json.loads(ask(*args, "-o", "json").stdout)
    assert [row["prompt_tokens"] for row in rows] == [4096 - 256, 65_536 - 256]
    assert rows[1]["tokens_per_s_p50"] < 0.9 * rows[0]["tokens_per_s_p50"]
    fixed = json.loads(ask(*args, "--prompt-tokens", "512", "-o", "json").stdout)
    assert [row["prompt_tokens"] for row in fixed] == [512, 512]


def test_hardware_where_nothing_fits_takes_one_line() -> None:
    done = ask("llama-3-70b", "-b", "1", "-c", "2k", "--what-if", "RTX 3060")
    (line,) = done.stdout.splitlines()
    assert line.startswith("RTX 3060, Q4_K_M: nothing fits: at least 40.1 GiB needed")


def test_a_png_without_matplotlib_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    error = ask("llama-3-8b", *CARD, "--plot", str(tmp_path / "out.png")).exception
    assert isinstance(error, Stop)
    assert "matplotlib" in error.text
    assert "out.svg" in error.hint


def test_without_numpy_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mathcore.planner.grids.arrays", None)
    error = ask("llama-3-8b", *CARD).exception
    assert isinstance(error, RequestError)
    assert "numpy" in error.text


@given(st.integers(1, 500), st.integers(2, 40))
def test_what_is_picked_keeps_both_ends(count: int, most: int) -> None:
    found = picked(count, most)
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, count - 1)
    assert len(found) == min(count, most)
