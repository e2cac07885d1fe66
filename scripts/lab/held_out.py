"""Measured times beside what a fit without their device, or without their model, says of them."""

import csv
import statistics
from collections import defaultdict
from dataclasses import dataclass
from math import exp
from pathlib import Path

from mathcore.speed.bars import spread_key
from mathcore.speed.terms import decode_terms
from scripts.lab.fit_spread import Errors, bar, enough, fold_of
from scripts.lab.speed_rows import (
    Case,
    Row,
    Unreadable,
    broken,
    case_of,
    chip_of_case,
    run_of,
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


def read_held(rows: list[Row], configs: Path, errors: Path) -> list[Held]:
    """The errors `scripts/fit --errors` wrote, with their rows; broken rows are left out."""
    out: list[Held] = []
    for line in csv.DictReader(errors.read_text().splitlines()):
        index = int(line["index"])
        try:
            case = case_of(index, rows[index], configs)
        except Unreadable:
            continue
        if broken(case, line["what"]):
            continue
        out.append(
            Held(
                case=case,
                row=rows[index],
                what=line["what"],
                device_out=float(line["device_out"]),
                model_out=float(line["model_out"]),
                fold=fold_of(case.model),
            )
        )
    return out


def percent(values: list[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f} %" if values else "–"


def middle(values: list[float]) -> str:
    return f"{100 * statistics.median(values):.1f} %" if values else "–"


class Bars:
    """Error bars of a table of errors, each made without the group it is held against."""

    def __init__(self, table: Errors) -> None:
        self.table = table
        self.made: dict[tuple[str, str], tuple[float, float] | None] = {}

    def hold(self, group: str, error: float, keys: list[str]) -> bool | None:
        """Whether an error lies in the bar of the first key with enough of others; None without."""
        for key in keys:
            place = (key, group)
            if place not in self.made:
                others = [pair for pair in self.table[key] if pair[0] != group]
                self.made[place] = bar(others) if enough(others) else None
            found = self.made[place]
            if found is not None:
                return found[0] <= error <= found[1]
        return None


def inside(own: list[Held], everything: list[Held]) -> list[bool]:
    """Whether each truth lies in an error bar made of other devices' errors only."""
    table: Errors = defaultdict(list)
    for one in everything:
        for key in _keys(one):
            table[key].append((one.device, one.device_out))
    bars = Bars(table)
    found = [bars.hold(one.device, one.device_out, _keys(one)) for one in own]
    return [one for one in found if one is not None]


def inside_known(own: list[Held]) -> list[bool]:
    """The same for models left out, in bars made of the other groups of models."""
    table: Errors = defaultdict(list)
    for one in own:
        table[_keys(one)[0]].append((one.fold, one.model_out))
    bars = Bars(table)
    found = [bars.hold(one.fold, one.model_out, _keys(one)[:1]) for one in own]
    return [one for one in found if one is not None]


def _keys(one: Held) -> list[str]:
    chip, run = chip_of_case(one.case), run_of(one.case)
    assert chip is not None
    offloaded = decode_terms(chip, run, one.case.work).host > 0
    return spread_key(one.what, chip, run, one.case.work, offloaded=offloaded, seen=False)
