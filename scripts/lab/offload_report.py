"""The part of docs/accuracy-speed.md on runs with part of the weights in host memory."""

from collections import Counter, defaultdict
from math import exp

from mathcore.speed.terms import decode_terms
from scripts.lab.coverage import Coverage
from scripts.lab.held_out import Held, middle, percent
from scripts.lab.offload_rows import Aside
from scripts.lab.speed_rows import chip_of_case, run_of


def is_spilled(one: Held, coverage: Coverage) -> bool:
    """Whether a row's decode is judged by a bar of partial offload."""
    chip = chip_of_case(one.case)
    if chip is None or one.what != "decode" or not coverage.judged(one):
        return False
    return decode_terms(chip, run_of(one.case), one.case.work).host > 0


def class_table(spilled: list[Held], coverage: Coverage) -> list[str]:
    """By class of card, each device's bar made of other devices."""
    groups: dict[str, list[Held]] = defaultdict(list)
    for one in spilled:
        groups[one.device_class].append(one)
        groups["all"].append(one)
    lines = [
        "| class of card | rows | devices | MAPE | median | inside p10–p90 | by device |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, own in sorted(groups.items()):
        off = [one.off for one in own]
        devices = len({one.device for one in own})
        lines.append(
            f"| {name} | {len(own)} | {devices} | {percent(off)} | {middle(off)} | "
            f"{coverage.of_devices(own)} |"
        )
    return lines


def row_table(told: list[Held], coverage: Coverage) -> list[str]:
    """The rows that say what lay in host memory, one by one."""
    lines = [
        "| model | cards | llama.cpp was told | context | measured | said (p10–p90) | inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in told:
        case, (low, high) = one.case, coverage.bar(one)
        said = case.decode * exp(one.device_out)
        cards = one.device + (f" x{case.devices}" if case.devices > 1 else "")
        inside = low <= one.device_out <= high
        lines.append(
            f"| {case.model} | {cards} | {one.row['placement']} | {one.row['n_ctx'] or '–'} | "
            f"{case.decode:g} | {said:.1f} ({said / exp(high):.1f}–{said / exp(low):.1f}) | "
            f"{'yes' if inside else 'no'} |"
        )
    return lines


def aside_lines(left: list[Aside]) -> list[str]:
    counts = Counter(one.why for one in left)
    return [f"* {count} rows aside: {why}." for why, count in sorted(counts.items())]


TEXT = """\
Decoded tokens a second where processor and card share a model. The second table's rows say where
layers lay; of the others (user-submitted) the weights alone are larger than the card. The planner
is asked as a user would ask: a prompt of 512 tokens, and unless it is stated the RAM of a host
nobody measured (40 GB/s). Contexts may have been full, which no row says. Predictions are of fits
without the card, bars of other cards' errors; prompts are not judged, for no row states one."""


def section(
    told: list[Held], others: list[Held], left: list[Aside], coverage: Coverage
) -> list[str]:
    spilled = [one for one in [*told, *others] if is_spilled(one, coverage)]
    return [
        "## Part of the weights in host memory",
        "",
        TEXT,
        "",
        *class_table(spilled, coverage),
        "",
        *row_table(told, coverage),
        "",
        *aside_lines(left),
        "",
    ]
