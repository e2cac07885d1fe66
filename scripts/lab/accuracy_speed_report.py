"""docs/accuracy-speed.md: errors on devices left out of the fit, beside other planners'."""

import csv
from collections import Counter, defaultdict
from math import exp
from pathlib import Path

import click

from mathcore.speed.constants import group_of
from scripts.lab.accuracy_learning import learning_table, poison_table
from scripts.lab.accuracy_speed import FILE, FOLDER
from scripts.lab.coverage import Coverage
from scripts.lab.held_out import (
    Held,
    middle,
    percent,
    read_held,
    read_offloaded,
    relative,
)
from scripts.lab.offload_report import section
from scripts.lab.offload_rows import offload_cases, read_offload
from scripts.lab.other_planners import llmfit_tps, whichllm_tps
from scripts.lab.speed_rows import read_rows


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


def class_table(held: list[Held], what: str, coverage: Coverage, *, clean: bool) -> list[str]:
    lines = [
        "| class | rows | devices | MAPE | odd aside | median | inside p10–p90 | by device "
        "| models: MAPE | odd aside | inside | again |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups = by_class(held, what, clean=clean)
    for name in sorted(groups):
        own = groups[name]
        plain = [one for one in own if not one.case.odd]
        off, near = [one.off for one in own], [relative(one.model_out) for one in own]
        devices = len({one.device for one in own})
        lines.append(
            f"| {name} | {len(own)} | {devices} | {percent(off)} | "
            f"{percent([one.off for one in plain])} | {middle(off)} | "
            f"{coverage.of_devices(own)} | {percent(near)} | "
            f"{percent([relative(one.model_out) for one in plain])} | "
            f"{coverage.of_models(own)} | {percent(repeats(own))} |"
        )
    return lines


def aside_table(held: list[Held]) -> list[str]:
    """The odd rows: why, whose, how many, and what they are off."""
    groups: dict[tuple[str, str], list[Held]] = defaultdict(list)
    for one in held:
        if one.case.odd and one.what == "decode":
            groups[one.case.odd, f"{one.case.engine} on {one.device}"].append(one)
    lines = ["| why | rows of | rows | MAPE |", "|---|---|---|---|"]
    for (why, whose), own in sorted(groups.items()):
        lines.append(f"| {why} | {whose} | {len(own)} | {percent([one.off for one in own])} |")
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


def servers_table(held: list[Held], theirs: Path) -> list[str]:
    """AIConfigurator's estimates, and those of a fit without the device and without the model."""
    said = {int(row["index"]): row for row in csv.DictReader(theirs.read_text().splitlines())}
    groups: dict[str, list[tuple[Held, float]]] = defaultdict(list)
    refused: Counter[tuple[str, str]] = Counter()
    for one in held:
        row = said.get(one.case.index)
        if row is None or one.what != "decode" or one.case.odd:
            continue
        if row["tpot_ms"]:
            off = abs(1000.0 / float(row["tpot_ms"]) / one.case.decode - 1)
            for name in (one.case.engine, "all"):
                groups[name].append((one, off))
        else:
            refused[row["refused"], one.case.engine] += 1
    lines = [
        "| engine | rows | ours (device unseen): MAPE, median | (model unseen) "
        "| AIConfigurator: MAPE, median |",
        "|---|---|---|---|---|",
    ]
    for engine, found in sorted(groups.items()):
        ours, theirs_off = [one.off for one, _ in found], [off for _, off in found]
        unseen = [relative(one.model_out) for one, _ in found]
        lines.append(
            f"| {engine} | {len(found)} | {percent(ours)}, {middle(ours)} | "
            f"{percent(unseen)}, {middle(unseen)} | {percent(theirs_off)}, {middle(theirs_off)} |"
        )
    lines += ["", "| AIConfigurator's answer is missing because | engine | rows |", "|---|---|---|"]
    return lines + [
        f"| {why} | {engine} | {count} |" for (why, engine), count in sorted(refused.items())
    ]


SERVERS_TEXT = """\
The rows of servers that are not odd, each asked of AIConfigurator 0.12.0 with its own split, batch
and lengths and the newest release of the engine its tables have. It measured kernels on these very
devices and for these models; our first figures have seen nothing of the device, the second nothing
of the model. The rows are a sample of whole servers it publishes, most of older releases."""


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
error bar is made of other devices' errors, and "by device" counts each device once. The next two
columns are for known devices: a sixth of the models was left out at a time, the bars the same.
"Again": how far apart rows are that say the same of themselves, from their median; builds, settings
and drafts nobody wrote down. "Odd aside": without the rows named under "Odd rows", which measured
something else than they state and are no part of the fit; servers' ones are judged by no bar. Rows
faster than their devices' memory allows are refused, and those of models so small that a cache
holds them.
Errors are of the rate: |predicted / measured - 1|.
"Clean" sources publish their scripts (XiongjieDai, aiconfigurator's silicon table, lhl and kyuz0
on Strix Halo, mlx-lm, LocalScore, Geerling, Argonne); the rest is user-submitted."""


# Judgements on the tables above, not figures: they change when the tables do, not with a fit.
LIMITS = """## What the data cannot give

* hbm: two A100s alone, SXM and PCIe; either says 8 % wrong of the other. Bars of two devices are
  Student's with three degrees of freedom: wider than what they missed. The same holds for unified
  (two devices) and for servers (three).
* cpu: one rented or starved server decides the mean of the class; it is shown aside.
* unified, prefill: one device; rows that say the same of themselves lie as far apart as "again"
  says, by library and driver, which they do not state.
* SGLang on B200 with prompts of 8,000 tokens is judged by eighteen rows of B300.
* radeon and arc, models left out: a device has two or three models, most of them one.
* arc: three cards, one row each, of one model. Two in three or all are the shares of three rows
  nearest to four in five.
* Part of the weights in host memory: no row's RAM was measured, two name no type of weights, and
  Radeon's are two people's with one card.
* A server's release is an offset; most were measured on one device, and what is the device's
  cannot be told from what is the release's."""


@click.command("speed-report")
@click.argument("file", type=FILE)
@click.option("--configs", type=FOLDER, required=True)
@click.option("--errors", type=FILE, required=True, help="what scripts/fit --errors wrote")
@click.option("--offload", type=FILE, help="the table scripts/fit --offload had")
@click.option("--aiconfigurator", type=FILE, help="what aiconfigurator_rows wrote")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def command(
    file: Path,
    configs: Path,
    errors: Path,
    offload: Path | None,
    aiconfigurator: Path | None,
    out: Path,
) -> None:
    """Writes docs/accuracy-speed.md."""
    rows = read_rows(file)
    held = read_held(rows, configs, errors)
    told = read_offloaded(offload, len(rows), errors) if offload is not None else []
    coverage = Coverage([*held, *told])
    lines = [HEAD, ""]
    for title, what in (
        ("Decode", "decode"),
        ("Prefill", "prefill"),
        ("Whole requests (prompt and generated tokens per second)", "total"),
    ):
        lines += [
            f"## {title}, clean sources",
            "",
            *class_table(held, what, coverage, clean=True),
            "",
        ]
    lines += [
        "## Decode, user-submitted",
        "",
        *class_table(held, "decode", coverage, clean=False),
        "",
    ]
    if offload is not None:
        left = offload_cases(read_offload(offload), len(rows))[1]
        lines += section(told, held, left, coverage)
    lines += ["## Odd rows", "", *aside_table(held), ""]
    lines += ["## Beside other planners, one sequence", "", *beside_table(held), ""]
    if aiconfigurator is not None:
        title = "## Beside AIConfigurator, on the same rows of servers"
        lines += [title, "", SERVERS_TEXT, "", *servers_table(held, aiconfigurator), ""]
    clean = [one for one in held if one.case.clean]
    lines += ["## After the first jobs on a device", "", *learning_table(clean), ""]
    lines += ["## When one of the jobs is wrong", "", *poison_table(clean), ""]
    lines += [LIMITS, ""]
    losses = ranking(held)
    lines += [
        "## Choosing a device",
        "",
        f"{len(losses)} questions measured on several devices: the one the planner would choose "
        f"is slower than the fastest by {middle(losses)} (median), {percent(losses)} (mean).",
        "",
    ]
    out.write_text("\n".join(lines))
