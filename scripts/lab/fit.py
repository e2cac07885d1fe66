"""Fits the speed model's constants to measured speeds and writes mathcore/speed/data/priors.json.

Errors are of logarithms, with large ones counted linearly. The error bars are made of the errors on
devices, and on models of known devices, that were left out of the fit (`fit_bars`).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from mathcore.speed.constants import group_of
from scripts.lab.fit_bars import misses_of, spreads_of
from scripts.lab.fit_effects import effects_for
from scripts.lab.fit_model import Array, Fact, Model, facts_of, solve
from scripts.lab.fit_order import ordered
from scripts.lab.fit_spread import device_key, held_out, model_key, seen_devices
from scripts.lab.offload_rows import offload_cases, read_offload
from scripts.lab.speed_rows import broken, cases_of, read_rows

PRIORS = Path("mathcore/speed/data/priors.json")
USER_WEIGHT = 0.1  # of a user-submitted row
DEVICE_WEIGHT = 20.0  # rows one device and source may count for
# What one source cannot have measured: a desktop card at 1,000 tokens/s of an 8B model.
ABSURD = 2.5


def gathered(facts: list[Fact]) -> list[Fact]:
    """Rows that ask the same question of the same device, as one with the median time."""
    groups: defaultdict[tuple[object, ...], list[Fact]] = defaultdict(list)
    for fact in facts:
        case = fact.case
        depth = case.depth if case.depth > 512 else 0  # tg1 ... tg512 differ by nothing but noise
        groups[
            (
                case.source,
                case.device,
                case.work,
                case.engine,
                case.flags,
                fact.what,
                case.devices,
                case.batch,
                case.prompt,
                depth,
            )
        ].append(fact)
    out: list[Fact] = []
    for group in groups.values():
        group.sort(key=lambda fact: fact.seconds / max(1.0, fact.case.generated))
        out.append(group[len(group) // 2])
    return out


def usable(fact: Fact) -> bool:
    """Rows whose circumstances we know: no drafts, nothing in the host's memory."""
    case = fact.case
    if case.speculative or case.source == "club3090" or case.asked is not None:
        return False
    if broken(case, fact.what) or case.odd:
        return False
    if case.source.startswith("llmfit") and fact.what != "decode":
        return False
    return fact.what != "prefill" or case.prompt >= 1


def weights_of(facts: list[Fact]) -> np.ndarray:
    """How much each row counts: repeated rows share one weight, a device a bounded sum."""
    alike = [
        (
            f.case.source,
            f.case.device,
            f.case.model,
            f.case.work.total_bytes,
            f.case.engine,
            tuple([flag for flag in f.case.flags if "@" not in flag]),
            f.what,
            f.case.devices,
        )
        for f in facts
    ]
    same = Counter(alike)
    rough = np.array(
        [
            (1.0 if f.case.clean else USER_WEIGHT) / same[key] ** 0.6
            for f, key in zip(facts, alike, strict=True)
        ]
    )
    sums: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    keys = [(f.case.source, f.case.device + f.case.engine, f.what) for f in facts]
    for key, weight in zip(keys, rough, strict=True):
        sums[key] += weight
    caps = np.array([min(1.0, DEVICE_WEIGHT / sums[key]) for key in keys])
    return rough * caps


def fitted(facts: list[Fact]) -> tuple[Model, Array, Array]:
    """(usable rows, how much each counted, the effects that fit them); absurd ones are dropped
    after a first pass."""
    rows = gathered([fact for fact in facts if usable(fact)])
    model = Model(rows, effects_for(rows))
    weights = weights_of(rows)
    theta = solve(model, weights)
    error = np.abs(model.predict(theta)[0] - model.observed)
    weights = np.where(error > ABSURD, 0.0, weights)
    return model, weights, solve(model, weights, theta)


def effects_of(model: Model, theta: Array) -> dict[str, float]:
    """The effects of these engines worth keeping, in logarithms; the other group has its own."""
    there = model.uses.any(axis=0)
    rows = zip(model.names, theta, there, strict=True)
    return {
        name: round(float(value), 4) for name, value, own in rows if own and abs(value) >= 0.002
    }


def write_priors(
    out: Path,
    effects: dict[str, float],
    spreads: dict[str, tuple[float, float]],
    seen: set[str],
) -> None:
    """The constants as JSON, one a line."""
    bars = {name: [low, high] for name, (low, high) in sorted(spreads.items())}
    parts = (
        f'  "effects": {{\n{_lines(dict(sorted(effects.items())))}\n  }}',
        f'  "spreads": {{\n{_lines(bars)}\n  }}',
        '  "seen": [\n' + ",\n".join(f"    {json.dumps(name)}" for name in sorted(seen)) + "\n  ]",
    )
    out.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _lines(values: Mapping[str, object]) -> str:
    return ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One group of engines, whose constants are none of the other's: its effects, the devices seen,
    and what each fact was off without its device and without its model."""

    facts: list[Fact]
    used: int
    effects: dict[str, float]
    seen: set[str]
    away: Array
    near: Array


def fit_group(facts: list[Fact]) -> Fitted:
    """The fit of one group, and those without each device and each fold of models."""
    model, weights, theta = fitted(facts)
    return Fitted(
        facts=facts,
        used=len(model.facts),
        effects=effects_of(model, theta),
        seen=seen_devices(model.facts),
        away=held_out(model, weights, theta, facts, device_key),
        near=held_out(model, weights, theta, facts, model_key),
    )


def write_errors(out: Path, groups: list[Fitted]) -> None:
    """What each row was off, a line each in the order of the table."""
    rows = sorted(
        (fact.case.index, fact.what, one, other)
        for group in groups
        for fact, one, other in zip(group.facts, group.away, group.near, strict=True)
    )
    lines = [f"{index},{what},{one:.5f},{other:.5f}" for index, what, one, other in rows]
    out.write_text("\n".join(["index,what,device_out,model_out", *lines]) + "\n")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--configs", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=PRIORS)
@click.option(
    "--offload",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="runs with part of the weights in host memory, for their error bars",
)
@click.option("--errors", type=click.Path(path_type=Path), help="also write each row's error")
def main(file: Path, configs: Path, out: Path, offload: Path | None, errors: Path | None) -> None:
    """Fits FILE (a table of measured speeds) and writes the constants."""
    rows = read_rows(file)
    cases, refused = cases_of(rows, configs)
    if offload is not None:
        cases += offload_cases(read_offload(offload), len(rows))[0]
    facts = facts_of(cases)
    groups = []
    for name in ("local", "server"):
        some = [fact for fact in facts if group_of(fact.run.engine) == name]
        groups.append(fit_group(some))
        print(f"{name}: {len(some)} facts, {groups[-1].used} used", flush=True)
    print(f"{len(refused)} rows refused")
    seen = set().union(*(group.seen for group in groups))
    effects = {name: value for group in groups for name, value in group.effects.items()}
    misses = [miss for group in groups for miss in misses_of(group.facts, group.away, group.near)]
    write_priors(out, ordered(effects, seen), spreads_of(misses), seen)
    if errors is not None:
        write_errors(errors, groups)


if __name__ == "__main__":
    main()
