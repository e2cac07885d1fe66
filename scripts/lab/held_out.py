"""Measured times beside what a fit without their device, or without their model, says of them."""

import csv
import statistics
from dataclasses import dataclass
from math import exp
from pathlib import Path

from scripts.lab.fit_spread import fold_of
from scripts.lab.offload_rows import offload_cases, read_offload
from scripts.lab.speed_rows import (
    Case,
    Row,
    Unreadable,
    broken,
    case_of,
    chip_of_case,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One measured time and what a fit without its device said."""

    case: Case
    row: Row
    what: str
    device_out: float  # logarithm of measured over predicted, by a fit without this device
    model_out: float  # the same, by a fit without this model
    fold: str  # the models left out together

    @property
    def off(self) -> float:
        """Relative error of the predicted rate."""
        return relative(self.device_out)

    @property
    def device_class(self) -> str:
        chip = chip_of_case(self.case)
        return chip.device_class if chip is not None else "unknown"

    @property
    def device(self) -> str:
        return self.case.facts.name if self.case.facts is not None else self.case.device


def relative(log_error: float) -> float:
    """|predicted rate / measured - 1|."""
    return abs(exp(log_error) - 1.0)


def _held(case: Case, row: Row, line: Row) -> Held:
    return Held(
        case=case,
        row=row,
        what=line["what"],
        device_out=float(line["device_out"]),
        model_out=float(line["model_out"]),
        fold=fold_of(case.model),
    )


def read_held(rows: list[Row], configs: Path, errors: Path) -> list[Held]:
    """The errors `scripts/fit --errors` wrote, with their rows; broken rows are left out."""
    out: list[Held] = []
    for line in csv.DictReader(errors.read_text().splitlines()):
        index = int(line["index"])
        if index >= len(rows):  # of another table: `read_offloaded`
            continue
        try:
            case = case_of(index, rows[index], configs)
        except Unreadable:
            continue
        if not broken(case, line["what"]):
            out.append(_held(case, rows[index], line))
    return out


def read_offloaded(offload: Path, start: int, errors: Path) -> list[Held]:
    """The same of `scripts/fit --offload`, whose rows are numbered from `start`."""
    rows = read_offload(offload)
    cases = {case.index: case for case in offload_cases(rows, start)[0]}
    lines = csv.DictReader(errors.read_text().splitlines())
    return [
        _held(cases[int(line["index"])], rows[int(line["index"]) - start], line)
        for line in lines
        if int(line["index"]) in cases
    ]


def percent(values: list[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f} %" if values else "–"


def middle(values: list[float]) -> str:
    return f"{100 * statistics.median(values):.1f} %" if values else "–"
