"""Predicts every row of a table of measured speeds, learning from observed rows first if asked."""

import csv
import json
import statistics
import sys
from collections import Counter, defaultdict
from pathlib import Path

import click

from mathcore.band import Band
from mathcore.speed.chip import Chip, guessed_chip
from mathcore.speed.learning import Observation, learned_speed
from mathcore.speed.predict import Speed
from scripts.lab.speed_rows import Case, Row, Unreadable, case_of, chip_of_case, read_rows, run_of

QUANTITIES: tuple[str, ...] = ("decode_tps", "prefill_tps", "total_tps")
COLUMNS: tuple[str, ...] = (
    *(f"{name}_{part}" for name in QUANTITIES for part in ("p10", "p50", "p90")),
    "basis",
)


class Refused(Exception):
    """A row the model has no answer to; the text says why."""


def chip_for(case: Case) -> Chip:
    """The chip of a row, at worst the class its name hints at; Refused when it hints at none."""
    chip = chip_of_case(case) or guessed_chip(case.device)
    if chip is None:
        raise Refused(f"device {case.device!r} is not in the catalogue, and its class is unknown")
    return chip


def _key(case: Case) -> str:
    return f"{case.model} {case.work.total_bytes}"


def _place(case: Case) -> str:
    """What one learns about: jobs on it teach only about it."""
    name = case.facts.name if case.facts is not None else case.device
    return f"{name} x{case.devices}{' cpu' if case.on_cpu else ''}"


def observation_of(case: Case) -> Observation | None:
    """What a measured row would have left in the ledger as a finished job."""
    if not case.decode and not case.prefill:
        return None
    return Observation(
        device=_place(case),
        key=_key(case),
        run=run_of(case),
        work=case.work,
        step_s=1.0 / case.decode if case.decode else 0.0,
        first_s=case.prompt * case.batch / case.prefill if case.prefill and case.prompt else 0.0,
    )


def observations(rows: list[Row], configs: Path) -> dict[str, list[Observation]]:
    """Every readable observed row, by device."""
    out: dict[str, list[Observation]] = defaultdict(list)
    for index, row in enumerate(rows):
        try:
            seen = observation_of(case_of(index, row, configs))
        except Unreadable:
            continue
        if seen is not None:
            out[seen.device].append(seen)
    return out


def speed_of(case: Case, seen: dict[str, list[Observation]]) -> Speed:
    """The speed of one row's question."""
    chip = chip_for(case)
    own = seen.get(_place(case), [])
    return learned_speed(chip, run_of(case), case.work, _key(case), own)


def _cells(name: str, band: Band) -> Row:
    return {
        f"{name}_p10": f"{band.p10:.6g}",
        f"{name}_p50": f"{band.p50:.6g}",
        f"{name}_p90": f"{band.p90:.6g}",
    }


def predicted(index: int, row: Row, configs: Path, seen: dict[str, list[Observation]]) -> Row:
    """The row's predictions, or {"refused": reason}; a fault in one row stops no other."""
    try:
        case = case_of(index, row, configs)
        speed = speed_of(case, seen)
    except (Unreadable, Refused) as error:
        return {"refused": str(error)}
    except (ValueError, KeyError, ArithmeticError, TypeError, AttributeError) as error:
        return {"refused": f"cannot be read: {type(error).__name__}: {error}"}
    return {
        **_cells("decode_tps", speed.decode_tps),
        **_cells("prefill_tps", speed.prefill_tps),
        **_cells("total_tps", speed.total_tps),
        "basis": speed.basis,
    }


def predictions(rows: list[Row], configs: Path, observed: list[Row]) -> list[Row]:
    """One answer per row, in order."""
    seen = observations(observed, configs)
    return [predicted(index, row, configs, seen) for index, row in enumerate(rows)]


def _truth(row: Row, name: str) -> float:
    try:
        return float(row.get(name) or 0)
    except ValueError:
        return 0.0


def _class_of(row: Row, configs: Path) -> str:
    try:
        return chip_for(case_of(0, row, configs)).device_class
    except (Unreadable, Refused):
        return "unknown"


def _figures(pairs: list[tuple[float, Row]], name: str) -> dict[str, float]:
    off = [abs(float(said[f"{name}_p50"]) / truth - 1) * 100 for truth, said in pairs]
    inside = [
        float(said[f"{name}_p10"]) <= truth <= float(said[f"{name}_p90"]) for truth, said in pairs
    ]
    return {
        "rows": len(pairs),
        "mape_percent": round(statistics.fmean(off), 2),
        "median_percent": round(statistics.median(off), 2),
        "coverage_percent": round(100 * statistics.fmean(inside), 1),
    }


def summary(rows: list[Row], found: list[Row], configs: Path) -> dict[str, object]:
    """Errors of p50 and how many truths lie within p10..p90, by quantity and class of device."""
    said: dict[str, object] = {"rows": len(rows)}
    classes = [_class_of(row, configs) for row in rows]
    for name in QUANTITIES:
        groups: dict[str, list[tuple[float, Row]]] = defaultdict(list)
        for row, answer, device_class in zip(rows, found, classes, strict=True):
            truth = _truth(row, name)
            if truth > 0 and "refused" not in answer:
                groups["all"].append((truth, answer))
                groups[device_class].append((truth, answer))
        said[name] = {key: _figures(groups[key], name) for key in sorted(groups)}
    said["refused"] = dict(Counter(one["refused"] for one in found if "refused" in one))
    return said


def write(out: Path, rows: list[Row], found: list[Row]) -> None:
    """The rows in their order with the predicted columns."""
    fields = list(dict.fromkeys([*(rows[0] if rows else ()), *COLUMNS, "refused"]))
    blank = dict.fromkeys((*COLUMNS, "refused"), "")
    with out.open("w", newline="") as target:
        writer = csv.DictWriter(target, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**r, **blank, **f} for r, f in zip(rows, found, strict=True))


FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("speed")
@click.argument("file", type=FILE)
@click.option("--configs", type=FOLDER, required=True)
@click.option("--observe", type=FILE, help="rows to learn from first, as finished jobs")
@click.option("--out", type=click.Path(path_type=Path), help="write the rows with predictions")
@click.option("--json", "as_json", is_flag=True)
def command(
    file: Path, configs: Path, observe: Path | None, out: Path | None, *, as_json: bool
) -> None:
    """Tokens per second of every row of FILE, with p10 and p90."""
    try:
        rows, observed = read_rows(file), read_rows(observe) if observe is not None else []
    except Unreadable as error:
        raise click.ClickException(str(error)) from error
    found = predictions(rows, configs, observed)
    if out is not None:
        try:
            write(out, rows, found)
        except OSError as error:
            raise click.ClickException(f"cannot write {out}: {error.strerror}") from error
    said = summary(rows, found, configs)
    if as_json:
        json.dump(said, sys.stdout)
        return
    print(f"{len(rows)} rows, {sum('refused' in one for one in found)} refused")
    for name in QUANTITIES:
        groups = said[name]
        assert isinstance(groups, dict)
        for key, figures in groups.items():
            print(f"{name:12} {key:12} " + "  ".join(f"{k} {v}" for k, v in figures.items()))
