"""The tables of hardware: every row parses, says its unit's worth, and names where it is from."""

import subprocess
import sys
from pathlib import Path

import pytest

import mathcore.data
from mathcore.data import read_rows, read_text
from mathcore.hardware.facts import (
    ACCELERATOR_TABLES,
    MEMORY_KINDS,
    PROCESSOR_TABLES,
    SOURCES,
    cpus,
    gpus,
)
from mathcore.hardware.names import lookup_cpu, lookup_gpu

TABLES = ACCELERATOR_TABLES + PROCESSOR_TABLES
COLUMNS = (
    "name memory_kind architecture memory_gib bandwidth_gb_s shader_tflops fp16_tflops fp8_tflops "
    "fp4_tflops int8_tops watts link_gb_s usable_bytes source note"
).split()
# From the least to the most any device has: beyond them a figure has the wrong unit.
RANGES = {
    "bandwidth_gb_s": (10, 10_000),
    "shader_tflops": (1, 200),
    "fp16_tflops": (1, 3_000),
    "fp8_tflops": (10, 6_000),
    "fp4_tflops": (50, 20_000),
    "int8_tops": (10, 10_000),
    "watts": (5, 2_000),
    "link_gb_s": (10, 1_000),
    "usable_bytes": (2**30, 2**40),
}
ROWS = [(table, row) for table in TABLES for row in read_rows("hardware", f"{table}.csv")]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_named_columns_and_a_row_a_line(table: str) -> None:
    lines = read_text("hardware", f"{table}.csv").splitlines()
    assert lines[0].split(",") == COLUMNS
    rows = read_rows("hardware", f"{table}.csv")
    assert len(rows) == len(lines) - 1
    assert all(value == value.strip() for row in rows for value in row.values())


def test_every_table_in_the_folder_is_read() -> None:
    folder = Path(mathcore.data.__file__).parent / "hardware" / "data"
    tables = {path.stem for path in folder.glob("*.csv")}
    assert set(TABLES) <= tables


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[row["name"] for _, row in ROWS])
def test_a_row_has_figures_in_its_units_and_a_known_source(table: str, row: dict[str, str]) -> None:
    assert row["memory_kind"] in MEMORY_KINDS
    assert row["architecture"]
    assert row["bandwidth_gb_s"]
    for column, (least, most) in RANGES.items():
        assert not row[column] or least <= float(row[column]) <= most, column
    assert row["source"]
    assert set(row["source"].split()) <= set(SOURCES)
    sizes = [int(size) for size in row["memory_gib"].split()]
    assert sizes == sorted(set(sizes))
    assert all(2 <= size <= 1024 for size in sizes)
    assert bool(sizes) == (table not in PROCESSOR_TABLES)


def test_what_a_driver_leaves_is_less_than_the_largest_version_has() -> None:
    for fact in gpus():
        assert 0 <= fact.usable_bytes < fact.memory_bytes


def test_no_two_rows_have_one_name() -> None:
    names = [row["name"].lower() for _, row in ROWS]
    assert len(names) == len(set(names))


def test_a_processor_is_found_by_its_own_name() -> None:
    for fact in cpus():
        assert lookup_gpu(fact.name) is None or fact.name == "Grace", fact.name
        found = lookup_cpu(fact.name)
        assert found is not None
        assert found.bandwidth_bytes_per_s == fact.bandwidth_bytes_per_s, fact.name


def test_a_figure_nobody_published_is_0_not_a_guess() -> None:
    inferentia = next(fact for fact in gpus() if fact.name == "Inferentia2")
    assert (inferentia.watts, inferentia.shader_flops, inferentia.fp8_flops) == (0, 0, 0)
    assert cpus()[0].memory_options == ()
    assert cpus()[0].memory_bytes == 0


def test_no_table_is_read_before_somebody_asks_for_a_row() -> None:
    program = (
        "import mathcore.api, mathcore.hardware.facts as f\n"
        "print(len(f._READ)); f.cpus(); print(sorted(f._READ))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["0", "[('processors',)]"]


def test_a_range_of_shared_memory_has_both_ends_and_where_each_is_from() -> None:
    rows = read_rows("hardware", "reach.csv")
    known = {fact.name for fact in gpus()} | {fact.arch for fact in gpus()} | {"apple"}
    for row in rows:
        assert row["match"] in known
        assert 30 <= float(row["low_percent"]) <= float(row["high_percent"]) <= 100
        assert row["source"]
    for match in {row["match"] for row in rows}:
        sizes = [int(row["ram_gib"]) for row in rows if row["match"] == match]
        assert sizes == sorted(set(sizes))
        assert sizes[0] == 0


def test_every_chip_that_shares_its_memory_has_a_range() -> None:
    matches = {row["match"] for row in read_rows("hardware", "reach.csv")}
    for fact in gpus():
        if fact.memory_kind == "unified":
            assert {fact.name, fact.arch} & matches, fact.name
