"""docs/accuracy-speed.md: errors on devices left out of the fit, beside other planners'."""

import csv
import random
import statistics
from collections import defaultdict
from dataclasses import dataclass
from math import exp
from pathlib import Path

import click

from mathcore.learning import kinship, ridge
from mathcore.speed import group_of, spread_key
from mathcore.terms import decode_terms
from scripts.accuracy_speed import FILE, FOLDER
from scripts.speed_models import bits_of
from scripts.speed_rows import (
    Case,
    Row,
    Unreadable,
    broken,
    case_of,
    chip_of_case,
    read_rows,
    run_of,
)

SEED = 7  # of the draw of observed jobs; any other gives the same to a percent
DRAWS = 20
LEAST_SPREAD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One measured time and what a fit without its device said."""

    case: Case
    row: Row
    what: str
    log_error: float  # measured over predicted
    layer_share: float  # of the predicted time

    @property
    def off(self) -> float:
        """Relative error of the predicted rate."""
        return abs(exp(self.log_error) - 1.0)

    @property
    def klass(self) -> str:
        chip = chip_of_case(self.case)
        return chip.klass if chip is not None else "unknown"

    @property
    def device(self) -> str:
        return self.case.facts.name if self.case.facts is not None else self.case.device


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
            Held(case=case, row=rows[index], what=line["what"],
                 log_error=float(line["log_error"]), layer_share=float(line["layer_share"]))
        )  # fmt: skip
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
    klass = chip_of_case(case)
    vendor = {"apple": 0.82, "radeon": 0.78, "instinct": 0.78, "unified": 0.78, "igpu": 0.78,
              "arc": 0.65}.get(klass.klass if klass else "", 1.0)  # fmt: skip
    rate = case.facts.bandwidth_bytes_per_s if case.facts is not None else 50e9
    return share * vendor * rate / case.work.weight_bytes(1.0)


def percent(values: list[float]) -> str:
    return f"{100 * statistics.fmean(values):.1f} %" if values else "–"


def middle(values: list[float]) -> str:
    return f"{100 * statistics.median(values):.1f} %" if values else "–"


def inside(held: list[Held]) -> list[bool]:
    """Whether each truth lies in an error bar made of other devices' errors only."""
    keys: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in held:
        for key in _keys(one):
            keys[key].append((one.device, one.log_error))
    out: list[bool] = []
    bars: dict[tuple[str, str], tuple[float, float] | None] = {}
    for one in held:
        for key in _keys(one):
            place = (key, one.device)
            if place not in bars:
                others = sorted(value for device, value in keys[key] if device != one.device)
                enough = len(others) >= LEAST_SPREAD
                cut = statistics.quantiles(others, n=10, method="inclusive") if enough else []
                bars[place] = (cut[0], cut[-1]) if cut else None
            bar = bars[place]
            if bar is not None:
                out.append(bar[0] <= one.log_error <= bar[1])
                break
    return out


def _keys(one: Held) -> list[str]:
    chip, run = chip_of_case(one.case), run_of(one.case)
    assert chip is not None
    away = decode_terms(chip, run, one.case.work).host > 0
    return spread_key(one.what, chip, run, one.case.work, away, False)


def by_class(held: list[Held], what: str, clean: bool) -> dict[str, list[Held]]:
    """Single-stream rows, and rows of servers with many sequences, by class of device."""
    out: dict[str, list[Held]] = defaultdict(list)
    for one in held:
        if one.what != what or one.case.clean != clean or one.case.speculative:
            continue
        local = group_of(one.case.engine) == "local"
        out[one.klass if local else f"{one.klass}, server ({one.case.engine})"].append(one)
        out["all"].append(one)
    return out


def class_table(held: list[Held], what: str, clean: bool) -> list[str]:
    lines = [
        "| class | rows | devices | MAPE | median | inside p10–p90 |",
        "|---|---|---|---|---|---|",
    ]
    groups = by_class(held, what, clean)
    for name in sorted(groups):
        own = groups[name]
        off = [one.off for one in own]
        devices = len({one.device for one in own})
        within = inside(own) if len(own) >= LEAST_SPREAD else []
        share = f"{100 * statistics.fmean(within):.0f} %" if within else "–"
        lines.append(
            f"| {name} | {len(own)} | {devices} | {percent(off)} | {middle(off)} | {share} |"
        )
    return lines


def beside_table(held: list[Held]) -> list[str]:
    """Our held-out error and the other planners' formulas on the same single-stream rows."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in held:
        local = group_of(one.case.engine) == "local" and one.case.batch == 1
        if one.what == "decode" and local and not one.case.speculative and one.case.decode:
            for name in (one.klass, "all clean" if one.case.clean else "all user-submitted"):
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


def _jobs(held: list[Held]) -> dict[str, dict[tuple[str, int], Held]]:
    """Per device and engine, one row for each model and size."""
    out: dict[str, dict[tuple[str, int], Held]] = defaultdict(dict)
    for one in held:
        if one.what == "decode" and not one.case.speculative and one.case.batch == 1:
            key = f"{one.klass}|{one.device} x{one.case.devices} {one.case.engine}"
            key += f" {one.case.source} {' '.join(one.case.flags)}".rstrip()
            out[key].setdefault((one.case.model, one.case.work.total_bytes), one)
    return out


def _step(job: Held, asked: Held) -> tuple[float, float, float]:
    """A finished job as the ridge takes it: the prior's seconds over the measured ones."""
    ratio = exp(-job.log_error)
    weight = kinship(run_of(asked.case), asked.case.work, run_of(job.case), job.case.work)
    return ratio * (1 - job.layer_share), ratio * job.layer_share, weight


def learned_errors(held: list[Held], count: int) -> dict[str, tuple[list[float], list[float]]]:
    """Per class (cold, after `count` jobs) errors on the device's other models."""
    draw = random.Random(SEED)
    out: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for name, jobs in sorted(_jobs(held).items()):
        if len(jobs) <= count:
            continue
        for _ in range(DRAWS):
            seen = draw.sample(sorted(jobs), count)
            for key, one in jobs.items():
                if key in seen:
                    continue
                moved, layers = ridge([_step(jobs[other], one) for other in seen])
                after = exp(-one.log_error) * (
                    moved * (1 - one.layer_share) + layers * one.layer_share
                )
                out[name.split("|")[0]][0].append(one.off)
                out[name.split("|")[0]][1].append(abs(1 / after - 1))
    return out


def learning_table(held: list[Held]) -> list[str]:
    lines = ["| class | jobs seen | cold | after | less by |", "|---|---|---|---|---|"]
    for count in (1, 2, 4):
        found = learned_errors([one for one in held if one.case.clean], count)
        whole: tuple[list[float], list[float]] = ([], [])
        for name in sorted(found):
            cold, warm = found[name]
            whole[0].extend(cold)
            whole[1].extend(warm)
            lines.append(_learned_line(name, count, cold, warm))
        lines.append(_learned_line("all", count, *whole))
    return lines


def _learned_line(name: str, count: int, cold: list[float], warm: list[float]) -> str:
    if not cold:
        return f"| {name} | {count} | – | – | – |"
    less = 1 - statistics.fmean(warm) / statistics.fmean(cold)
    return f"| {name} | {count} | {percent(cold)} | {percent(warm)} | {100 * less:.0f} % |"


def ranking(held: list[Held]) -> list[float]:
    """Per question asked of several devices: what the one we would choose loses to the fastest."""
    asked: dict[tuple[object, ...], dict[str, tuple[float, float]]] = defaultdict(dict)
    for one in held:
        case = one.case
        if one.what == "decode" and case.clean and case.batch == 1 and case.decode:
            key = (case.source, case.model, one.row.get("quant"), case.depth, case.devices)
            asked[key][one.device] = (case.decode * exp(one.log_error), case.decode)
    out: list[float] = []
    for devices in asked.values():
        if len(devices) >= 2:
            chosen = max(devices.values())
            out.append(1 - chosen[1] / max(truth for _, truth in devices.values()))
    return out


HEAD = """# How accurate the planner's speeds are

Generated by `scripts/fit --errors` and `scripts/accuracy speed-report`; nothing in it is typed by
hand. Every figure is for a device whose rows, from whatever source, were left out of the fit; its
error bar is made of other devices' errors. Errors are of the rate: |predicted / measured - 1|.
"Clean" sources publish their scripts (XiongjieDai, aiconfigurator's silicon table, lhl and kyuz0
on Strix Halo, mlx-lm, LocalScore, Geerling, Argonne); the rest is user-submitted."""


@click.command("speed-report")
@click.argument("file", type=FILE)
@click.option("--configs", type=FOLDER, required=True)
@click.option("--errors", type=FILE, required=True, help="what scripts/fit --errors wrote")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def command(file: Path, configs: Path, errors: Path, out: Path) -> None:
    """Writes docs/accuracy-speed.md."""
    held = read_held(read_rows(file), configs, errors)
    lines = [HEAD, ""]
    for title, what in (
        ("Decode", "decode"), ("Prefill", "prefill"),
        ("Whole requests (prompt and generated tokens per second)", "total"),
    ):  # fmt: skip
        lines += [f"## {title}, clean sources", "", *class_table(held, what, True), ""]
    lines += ["## Decode, user-submitted", "", *class_table(held, "decode", False), ""]
    lines += ["## Beside other planners, one sequence", "", *beside_table(held), ""]
    lines += ["## After the first jobs on a device", "", *learning_table(held), ""]
    losses = ranking(held)
    lines += [
        "## Choosing a device", "",
        f"{len(losses)} questions measured on several devices: the one the planner would choose "
        f"is slower than the fastest by {middle(losses)} (median), {percent(losses)} (mean).",
        "",
    ]  # fmt: skip
    out.write_text("\n".join(lines))
