"""docs/accuracy-speed.md: errors on devices left out of the fit, beside other planners'."""

import csv
import statistics
from collections import defaultdict
from dataclasses import dataclass
from math import exp
from pathlib import Path

import click

from mathcore.speed.bars import spread_key
from mathcore.speed.constants import group_of
from mathcore.speed.terms import decode_terms
from scripts.lab.accuracy_speed import FILE, FOLDER
from scripts.lab.fit_spread import Errors, bar, enough, fold_of
from scripts.lab.speed_models import bits_of
from scripts.lab.speed_rows import (
    Case,
    Row,
    Unreadable,
    broken,
    case_of,
    chip_of_case,
    read_rows,
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


def llmfit_tps(case: Case, row: Row) -> float:
    """llmfit: bandwidth over active parameters at its bytes per parameter, times 0.55."""
    bits = max(4.0, min(16.0, bits_of(row.get("quant") or "", row.get("model") or "")))
    bits = 4.0 if bits < 5.2 else bits
    rate = case.facts.bandwidth_bytes_per_s if case.facts is not None else 50e9
    factor = 0.9 if case.split == "tensor" and case.devices > 1 else 1.0
    return 0.55 * factor * rate / (case.work.active * bits / 8.0)


def whichllm_tps(case: Case, row: Row) -> float:
    """whichllm: bandwidth over bytes times an efficiency by quantisation and by vendor."""
    bits = bits_of(row.get("quant") or "", row.get("model") or "")
    share = 0.40 if bits > 12 else (0.45 if bits > 7 else 0.55)
    device_class = chip_of_case(case)
    vendor = {
        "apple": 0.82,
        "radeon": 0.78,
        "instinct": 0.78,
        "unified": 0.78,
        "igpu": 0.78,
        "arc": 0.65,
    }.get(device_class.device_class if device_class else "", 1.0)
    rate = case.facts.bandwidth_bytes_per_s if case.facts is not None else 50e9
    return share * vendor * rate / case.work.weight_bytes(1.0)


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


def by_class(held: list[Held], what: str, *, clean: bool) -> dict[str, list[Held]]:
    """Single-stream rows, and rows of servers with many sequences, by class of device."""
    out: dict[str, list[Held]] = defaultdict(list)
    for one in held:
        if one.what != what or one.case.clean != clean or one.case.speculative:
            continue
        local = group_of(one.case.engine) == "local"
        out[
            one.device_class if local else f"{one.device_class}, server ({one.case.engine})"
        ].append(one)
        out["all"].append(one)
    return out


def class_table(held: list[Held], what: str, *, clean: bool) -> list[str]:
    lines = [
        "| class | rows | devices | MAPE | median | inside p10–p90 "
        "| models: MAPE | inside | again |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    groups = by_class(held, what, clean=clean)
    everything = [one for one in held if one.what == what]
    for name in sorted(groups):
        own = groups[name]
        off, near = [one.off for one in own], [relative(one.model_out) for one in own]
        devices = len({one.device for one in own})
        lines.append(
            f"| {name} | {len(own)} | {devices} | {percent(off)} | {middle(off)} | "
            f"{share(inside(own, everything))} | {percent(near)} | {share(inside_known(own))} | "
            f"{percent(repeats(own))} |"
        )
    return lines


def repeats(own: list[Held]) -> list[float]:
    """What the median of rows that say the same of themselves is off: nobody could do better."""
    groups: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for one in own:
        case = one.case
        key = (
            case.source,
            one.device,
            case.devices,
            case.model,
            case.work,
            case.engine,
            case.flags,
            case.batch,
            case.replicas,
            case.prompt,
            case.generated,
            case.depth,
        )
        groups[key].append(_measured(one))
    several = [sorted(values) for values in groups.values() if len(values) > 1]
    return [abs(values[len(values) // 2] / value - 1) for values in several for value in values]


def _measured(one: Held) -> float:
    case = one.case
    return {"decode": case.decode, "prefill": case.prefill, "total": case.total}[one.what]


def share(within: list[bool]) -> str:
    return f"{100 * statistics.fmean(within):.0f} %" if within else "–"


def beside_table(held: list[Held]) -> list[str]:
    """Our held-out error and the other planners' formulas on the same single-stream rows."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in held:
        local = group_of(one.case.engine) == "local" and one.case.batch == 1
        if one.what == "decode" and local and not one.case.speculative and one.case.decode:
            for name in (one.device_class, "all clean" if one.case.clean else "all user-submitted"):
                groups[name].append(one)
    lines = ["| class | rows | ours (device unseen) | llmfit | whichllm |", "|---|---|---|---|---|"]
    for name in sorted(groups):
        own = groups[name] if name.startswith("all") else [o for o in groups[name] if o.case.clean]
        if not own:
            continue
        fit = [abs(llmfit_tps(one.case, one.row) / one.case.decode - 1) for one in own]
        which = [abs(whichllm_tps(one.case, one.row) / one.case.decode - 1) for one in own]
        ours = [one.off for one in own]
        lines.append(
            f"| {name} | {len(own)} | {percent(ours)} | {percent(fit)} | {percent(which)} |"
        )
    return lines


def ranking(held: list[Held]) -> list[float]:
    """Per question asked of several devices: what the one we would choose loses to the fastest."""
    asked: dict[tuple[object, ...], dict[str, tuple[float, float]]] = defaultdict(dict)
    for one in held:
        case = one.case
        if one.what == "decode" and case.clean and case.batch == 1 and case.decode:
            key = (case.source, case.model, one.row.get("quant"), case.depth, case.devices)
            asked[key][one.device] = (case.decode * exp(one.device_out), case.decode)
    out: list[float] = []
    for devices in asked.values():
        if len(devices) >= 2:
            chosen = max(devices.values())
            out.append(1 - chosen[1] / max(truth for _, truth in devices.values()))
    return out


HEAD = """# How accurate the planner's speeds are

Generated by `scripts/fit --errors` and `scripts/accuracy speed-report`; nothing in it is typed by
hand. Every figure is for a device whose rows, from whatever source, were left out of the fit; its
error bar is made of other devices' errors. The next two columns are for known devices: a sixth of
the models was left out at a time, the bar made of the other models. "Again": how far apart rows are
that say the same of themselves, from their median; builds, settings and drafts nobody wrote down.
Errors are of the rate: |predicted / measured - 1|.
"Clean" sources publish their scripts (XiongjieDai, aiconfigurator's silicon table, lhl and kyuz0
on Strix Halo, mlx-lm, LocalScore, Geerling, Argonne); the rest is user-submitted."""


@click.command("speed-report")
@click.argument("file", type=FILE)
@click.option("--configs", type=FOLDER, required=True)
@click.option("--errors", type=FILE, required=True, help="what scripts/fit --errors wrote")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def command(file: Path, configs: Path, errors: Path, out: Path) -> None:
    """Writes docs/accuracy-speed.md."""
    from scripts.lab.accuracy_learning import learning_table

    held = read_held(read_rows(file), configs, errors)
    lines = [HEAD, ""]
    for title, what in (
        ("Decode", "decode"),
        ("Prefill", "prefill"),
        ("Whole requests (prompt and generated tokens per second)", "total"),
    ):
        lines += [f"## {title}, clean sources", "", *class_table(held, what, clean=True), ""]
    lines += ["## Decode, user-submitted", "", *class_table(held, "decode", clean=False), ""]
    lines += ["## Beside other planners, one sequence", "", *beside_table(held), ""]
    clean = [one for one in held if one.case.clean]
    lines += ["## After the first jobs on a device", "", *learning_table(clean), ""]
    losses = ranking(held)
    lines += [
        "## Choosing a device",
        "",
        f"{len(losses)} questions measured on several devices: the one the planner would choose "
        f"is slower than the fastest by {middle(losses)} (median), {percent(losses)} (mean).",
        "",
    ]
    out.write_text("\n".join(lines))
