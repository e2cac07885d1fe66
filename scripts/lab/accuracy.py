"""Predicts every row of a table of measured bytes and says how far off we are, or why we refuse."""

import csv
import gzip
import json
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click

from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.cache import cache_refusal
from mathcore.engines.llamacpp.memory import LIBRARY, compute_bytes, context_bytes
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import ModelSpec, SpecError
from scripts.lab.accuracy_speed import command as speed_command
from scripts.lab.accuracy_speed_report import command as speed_report_command
from scripts.lab.accuracy_weights import Refused, predict_weights
from scripts.lab.device.command import command as device_command

Row = dict[str, str]
Predict = Callable[[Row, ModelSpec], Row]


def shape_of(row: Row) -> ContextShape:
    """The context a row describes; its n_ctx is that of all sequences together."""
    sequences = int(row["n_seq"])
    return ContextShape(
        context=int(row["n_ctx"]) // sequences,
        sequences=sequences,
        kv_type=row["kv_type_k"],
        v_type=row["kv_type_v"],
        micro_batch=int(row["n_ubatch"]),
        flash=row["flash_attn"] == "1",
        unified=row["kv_unified"] == "1",
        full_window=row["swa_full"] == "1",
    )


def predict_memory(row: Row, spec: ModelSpec) -> Row:
    """Cache with states, and the compute buffer, of one llama.cpp context."""
    shape = shape_of(row)
    no = cache_refusal(spec, shape.kv_type, shape.v_type, flash=shape.flash)
    if no:
        raise Refused(no)
    return {
        "context_bytes": str(context_bytes(spec, shape)),
        "compute_bytes": str(compute_bytes(spec, shape, LIBRARY)),
    }


TABLES: dict[str, tuple[Predict, tuple[str, ...]]] = {
    "memory": (predict_memory, ("context_bytes", "compute_bytes")),
    "weights": (predict_weights, ("tensor_bytes",)),
}


@cache
def spec_of(path: Path) -> ModelSpec | str:
    """The model of a config file, or why it is refused."""
    try:
        return spec_from_config(json.loads(path.read_text()), path.stem)
    except SpecError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{path.name}: {error}"


def predicted(row: Row, configs: Path, predict: Predict) -> Row:
    """The row's predictions, or {"refused": reason}."""
    spec = spec_of(configs / f"{row['config']}.json")
    if isinstance(spec, str):
        return {"refused": spec}
    try:
        return predict(row, spec)
    except (SpecError, Refused, ValueError, KeyError) as error:
        return {"refused": str(error)}


def errors(rows: list[Row], found: list[Row], column: str) -> list[float]:
    """Relative errors in percent where both a truth and a prediction exist."""
    pairs = [(r.get(column), f.get(column)) for r, f in zip(rows, found, strict=True)]
    return [abs(int(f) - int(float(r))) / float(r) * 100 for r, f in pairs if r and f]


def spread(off: list[float]) -> dict[str, object]:
    off = sorted(off)
    return {
        "count": len(off),
        "exact": sum(error == 0 for error in off),
        "median_percent": round(statistics.median(off), 4) if off else None,
        "p90_percent": round(off[int(0.9 * (len(off) - 1))], 4) if off else None,
    }


def summary(rows: list[Row], found: list[Row], columns: tuple[str, ...]) -> dict[str, object]:
    said: dict[str, object] = {"rows": len(rows)}
    for column in columns:
        said[column] = spread(errors(rows, found, column))
    said["refused"] = dict(Counter(f["refused"] for f in found if "refused" in f).most_common())
    return said


def read_rows(path: Path) -> list[Row]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return list(csv.DictReader(text.decode().splitlines()))


def write_rows(path: Path, rows: list[Row], found: list[Row], columns: tuple[str, ...]) -> None:
    fields = list(dict.fromkeys([*(rows[0] if rows else ()), *columns, "refused"]))
    blank = dict.fromkeys(columns, "")
    with path.open("w", newline="") as target:
        writer = csv.DictWriter(target, fields)
        writer.writeheader()
        writer.writerows({**r, **blank, **f} for r, f in zip(rows, found, strict=True))


def run(table: str, file: Path, configs: Path, out: Path | None, *, as_json: bool) -> None:
    predict, columns = TABLES[table]
    rows = read_rows(file)
    found = [predicted(row, configs, predict) for row in rows]
    if out is not None:
        write_rows(out, rows, found, columns)
    said = summary(rows, found, columns)
    if as_json:
        json.dump(said, sys.stdout)
        return
    for name, value in said.items():
        print(f"{name}: {json.dumps(value, indent=2) if isinstance(value, dict) else value}")


FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def main() -> None:
    """Our bytes against measured ones."""


def _command(table: str) -> None:
    @main.command(table, help=TABLES[table][0].__doc__)
    @click.argument("file", type=FILE)
    @click.option("--configs", type=FOLDER, required=True)
    @click.option("--out", type=click.Path(path_type=Path), help="write the rows with predictions")
    @click.option("--json", "as_json", is_flag=True)
    def command(file: Path, configs: Path, out: Path | None, *, as_json: bool) -> None:
        run(table, file, configs, out, as_json=as_json)


for _table in TABLES:
    _command(_table)
main.add_command(speed_command)
main.add_command(speed_report_command)
main.add_command(device_command)

PLANNERS = {
    "llmfit_formula": "llmfit",
    "whichllm_formula": "whichllm",
    "hfmem_code": "hf-mem",
    "hwledger_original": "hwLedger (ancestor)",
}


def percent(value: object) -> str:
    return "–" if value is None else f"{value:.2f} %"


def _class_table(rows: list[Row], configs: Path) -> list[str]:
    """Cache bytes per architecture class: ours and the other planners'."""
    off: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    count: Counter[str] = Counter()
    for row in rows:
        count[row["class"]] += 1
        truth = float(row["true_context_bytes_llamacpp"])
        said = {name: row[name] for name in PLANNERS}
        spec = spec_of(configs / f"{row['model']}.json")
        if not isinstance(spec, str):
            said["ours"] = str(context_bytes(spec, ContextShape(context=int(row["n_ctx"]))))
        for name, value in said.items():
            if value.isdigit():
                off[row["class"]][name].append(abs(int(value) - truth) / truth * 100)
    names = ["ours", *PLANNERS]
    heads = ["class", "models", *["ours", *PLANNERS.values()]]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for kind in sorted(count):
        cells = [kind, str(count[kind])]
        for name in names:
            got = off[kind][name]
            middle = statistics.median(got) if got else None
            close = sum(error <= 1 for error in got)
            cells.append(f"{percent(middle)} ({close}/{count[kind]})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _measured_table(rows: list[Row], found: list[Row], columns: tuple[str, ...]) -> list[str]:
    """Our errors per llama.cpp architecture."""
    lines = [
        "| architecture | rows | column | exact | median | p90 | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    by: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by[row.get("arch", "all") or "all"].append(i)
    for name in [*sorted(by), "all"]:
        places = by[name] if name in by else list(range(len(rows)))
        own, said = [rows[i] for i in places], [found[i] for i in places]
        for column in columns:
            got = spread(errors(own, said, column))
            refused = sum("refused" in f for f in said)
            lines.append(
                f"| {name} | {len(own)} | {column} | {got['exact']} | "
                f"{percent(got['median_percent'])} | {percent(got['p90_percent'])} | {refused} |"
            )
    return lines


@main.command()
@click.option("--memory", type=FILE, help="table of llama.cpp contexts")
@click.option("--weights", type=FILE, help="table of file sizes")
@click.option("--planners", type=FILE, help="table of what other planners say")
@click.option("--configs", type=FOLDER, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def report(
    memory: Path | None, weights: Path | None, planners: Path | None, configs: Path, out: Path
) -> None:
    """Writes docs/accuracy.md from tables of measurements."""
    lines = ["# How accurate the planner's bytes are", "", HEAD, ""]
    if planners is not None:
        lines += [
            "## Beside other planners",
            "",
            BESIDE,
            "",
            *_class_table(read_rows(planners), configs),
            "",
        ]
    for table, file in (("memory", memory), ("weights", weights)):
        if file is None:
            continue
        predict, columns = TABLES[table]
        rows = read_rows(file)
        found = [predicted(row, configs, predict) for row in rows]
        lines += [f"## {TITLES[table]}", "", *_measured_table(rows, found, columns), ""]
    out.write_text("\n".join(lines))


HEAD = (
    "Generated by `scripts/accuracy report`; nothing in it is typed by hand. Truth is llama.cpp's "
    "own allocation and its own quantiser; models are read from their config.json alone. Speeds, "
    "beside the same planners': [accuracy-speed.md](accuracy-speed.md)."
)
BESIDE = (
    "Cache and state bytes at the largest context recorded, f16, flash attention, one sequence: "
    "median error, and in brackets how many models are within 1 %. The other columns are those "
    "planners' formulas applied to the same configs."
)
TITLES = {"memory": "llama.cpp contexts", "weights": "File sizes"}


if __name__ == "__main__":
    main()
