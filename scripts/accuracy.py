"""Predicts every row of a table of measured bytes and says how far off we are, or why we refuse."""

import csv
import gzip
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click

from mathcore.card import spec_from_config
from mathcore.footprint import ContextShape, compute_bytes, layer_cache_bytes
from mathcore.model import CardError, ModelSpec
from mathcore.weights import QUANTS, weigh

Row = dict[str, str]


class Refused(Exception):
    """A row our rules do not cover; the text says which part."""


def predict_memory(row: Row, spec: ModelSpec) -> Row:
    """KV bytes and the compute buffer of one llama.cpp context."""
    if row["swa_full"] == "1" or row["kv_unified"] == "1":
        raise Refused("unified or full-window cache")
    if row["kv_type_k"] != row["kv_type_v"]:
        raise Refused("different K and V types")
    if row["flash_attn"] != "1":
        raise Refused("flash attention off")
    sequences = int(row["n_seq"])
    shape = ContextShape(
        context=int(row["n_ctx"]) // sequences,
        sequences=sequences,
        kv_type=row["kv_type_k"],
        micro_batch=int(row["n_ubatch"]),
    )
    context = sum(layer_cache_bytes(spec, shape))
    return {"context_bytes": str(context), "compute_bytes": str(compute_bytes(spec, shape))}


def predict_weights(row: Row, spec: ModelSpec) -> Row:
    """Tensor bytes of the model at one file type."""
    if row["ftype"] not in QUANTS:
        raise Refused(f"file type {row['ftype']}")
    return {"tensor_bytes": str(weigh(spec, row["ftype"]).total_bytes)}


TABLES: dict[str, tuple[Callable[[Row, ModelSpec], Row], tuple[str, ...]]] = {
    "memory": (predict_memory, ("context_bytes", "compute_bytes")),
    "weights": (predict_weights, ("tensor_bytes",)),
}


@cache
def spec_of(path: Path) -> ModelSpec | str:
    """The model of a config file, or why it is refused."""
    try:
        return spec_from_config(json.loads(path.read_text()), path.stem)
    except CardError as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{path.name}: {error}"


def predicted(row: Row, configs: Path, predict: Callable[[Row, ModelSpec], Row]) -> Row:
    """The row's predictions, or {"refused": reason}."""
    spec = spec_of(configs / f"{row['config']}.json")
    if isinstance(spec, str):
        return {"refused": spec}
    try:
        return predict(row, spec)
    except (CardError, Refused, ValueError) as error:
        return {"refused": str(error)}


def errors(rows: list[Row], found: list[Row], column: str) -> list[float]:
    """Relative errors in percent where both a truth and a prediction exist."""
    pairs = [(r.get(column), f.get(column)) for r, f in zip(rows, found, strict=True)]
    return [abs(int(f) - int(float(r))) / float(r) * 100 for r, f in pairs if r and f]


def summary(rows: list[Row], found: list[Row], columns: tuple[str, ...]) -> dict[str, object]:
    said: dict[str, object] = {"rows": len(rows)}
    for column in columns:
        off = sorted(errors(rows, found, column))
        said[column] = {
            "count": len(off),
            "exact": sum(error == 0 for error in off),
            "median_percent": round(statistics.median(off), 4) if off else None,
            "p90_percent": round(off[int(0.9 * (len(off) - 1))], 4) if off else None,
        }
    said["refused"] = dict(Counter(f["refused"] for f in found if "refused" in f).most_common())
    return said


def read_rows(path: Path) -> list[Row]:
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    return list(csv.DictReader(text.decode().splitlines()))


@click.command()
@click.argument("table", type=click.Choice(sorted(TABLES)))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--configs", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), help="write the rows with predictions")
@click.option("--json", "as_json", is_flag=True)
def main(table: str, file: Path, configs: Path, out: Path | None, as_json: bool) -> None:
    """Predict each row of FILE and compare where it holds a measured value."""
    predict, columns = TABLES[table]
    rows = read_rows(file)
    found = [predicted(row, configs, predict) for row in rows]
    if out is not None:
        fields = list(dict.fromkeys([*(rows[0] if rows else ()), *columns, "refused"]))
        with out.open("w", newline="") as target:
            writer = csv.DictWriter(target, fields)
            writer.writeheader()
            blank = dict.fromkeys(columns, "")
            writer.writerows({**r, **blank, **f} for r, f in zip(rows, found, strict=True))
    said = summary(rows, found, columns)
    if as_json:
        json.dump(said, sys.stdout)
        return
    for name, value in said.items():
        print(f"{name}: {json.dumps(value, indent=2) if isinstance(value, dict) else value}")


if __name__ == "__main__":
    main()
