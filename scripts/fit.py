"""Fits the speed model's constants to measured speeds and writes mathcore/priors.py.

Effects are shrunk towards zero (towards the more general effect), so that a class with little data
stays near its parent. Errors are of logarithms, with large ones counted linearly. What the error
bars hold is the error on devices left out of the fit.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from pathlib import Path

import click
import numpy as np

from mathcore.chip import Chip
from mathcore.speed import NAMES, effect_names, group_of, spread_key
from mathcore.terms import Run, Terms, decode_terms, prefill_terms
from scripts.speed_rows import Case, broken, cases_of, chip_of_case, read_rows, run_of

# Where each constant starts, per group of engines: (natural units, how far it may go, in logs).
START: dict[str, tuple[float, float]] = {
    "eta local": (0.8, 0.3), "eta server": (0.8, 0.3),
    "kappa local": (1.0, 0.5), "kappa server": (1.0, 0.5),
    "busy local": (0.4, 0.3), "busy server": (0.5, 0.5),
    "tau local": (60e-6, 1.0), "tau server": (60e-6, 1.0),
    "sparse local": (30e-6, 1.0), "sparse server": (30e-6, 1.0),
    "latent local": (30e-6, 1.0), "latent server": (30e-6, 1.0),
    "hop local": (5e-6, 1.0), "hop server": (5e-6, 1.0),
    "link local": (0.5, 0.3), "link server": (0.5, 0.5),
    "each local": (5e-6, 1.0), "each server": (5e-6, 1.5),
    "mixed local": (0.6, 0.5), "mixed server": (0.6, 0.7),
    "mfu local": (0.4, 0.7), "mfu server": (0.4, 0.5),
    "attend local": (0.15, 0.7), "attend server": (0.3, 0.5),
    "pass local": (100e-6, 1.0), "pass server": (100e-6, 1.0),
    "host local": (0.7, 0.3), "host server": (0.7, 0.3),
}  # fmt: skip
# How far an effect below the group may move a constant, in logarithms, by its depth.
CLASS_SD: dict[str, float] = {"eta": 0.3, "tau": 0.7, "mfu": 0.6}
ARCH_SD: dict[str, float] = {"eta": 0.04, "tau": 0.15, "mfu": 0.3, "pass": 0.3}
OTHER_SD = 0.4
# Only these differ by what; the rest would be fitting noise.
BY_ARCH = ("eta", "tau", "mfu", "pass", "hop", "link")
BY_CLASS = ("eta", "tau", "mfu", "pass", "sparse", "attend", "busy", "kappa", "each")
BY_ENGINE = (
    "eta",
    "tau",
    "sparse",
    "mfu",
    "pass",
    "each",
    "busy",
    "mixed",
    "hop",
    "link",
    "latent",
)
BY_FLAG: dict[str, tuple[str, ...]] = {
    "old": ("eta", "kappa", "tau", "mfu", "attend"), "plain": ("kappa", "attend"),
    "wide": ("eta", "mfu"), "vulkan": ("eta", "tau", "kappa", "mfu", "attend"),
    "emulated": ("eta", "mfu"), "many": ("eta", "mfu", "busy", "each", "pass", "kappa"),
    "w4a16": ("eta", "busy", "mixed", "sparse"), "replicas": ("tau", "each", "busy", "sparse"),
}  # fmt: skip
FLAG_SD = 0.7
TYPICAL = 0.08  # the error of a good row; beyond twice it counts linearly
USER_WEIGHT = 0.1  # of a user-submitted row
DEVICE_WEIGHT = 8.0  # rows one device and source may count for
# What one source cannot have measured: a desktop card at 1,000 tokens/s of an 8B model.
ABSURD = 2.5
LEFT_OUT_ROUNDS = 3  # from the whole fit: one device moves little
SEEN_ROWS = 10  # clean rows that make a device "seen"
SEEN_WIDER = 1.1  # models the fit has not met on a device it has
CHUNK = 1500  # rows at a time; each takes a kilobyte per effect
LEAST_SIDE, MOST_SIDE = 0.03, 3.0  # of an error bar, in logarithms
LEAST_ROWS = 8  # fewer say nothing about a tenth percentile


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One measured time with its nominal terms."""

    case: Case
    chip: Chip
    run: Run
    what: str  # "decode" | "prefill" | "total"
    seconds: float
    step: Terms
    prompt: Terms


def facts_of(cases: list[Case]) -> list[Fact]:
    """Every measured time of the cases whose device is known, prefills and totals included."""
    out: list[Fact] = []
    for case in cases:
        chip = chip_of_case(case)
        if chip is None or case.offloaded:
            continue
        run = run_of(case)
        step, prompt = decode_terms(chip, run, case.work), prefill_terms(chip, run, case.work)
        measured = {
            "decode": 1.0 / case.decode if case.decode else 0.0,
            "prefill": case.prompt * case.batch / case.prefill if case.prefill else 0.0,
            "total": (case.prompt + case.generated) * case.batch / case.total
            if case.total and case.source == "argonne_llm_inference_bench" else 0.0,
        }  # fmt: skip
        for what, seconds in measured.items():
            if seconds > 0:
                out.append(
                    Fact(case=case, chip=chip, run=run, what=what, seconds=seconds, step=step,
                         prompt=prompt)
                )  # fmt: skip
    return out


def gathered(facts: list[Fact]) -> list[Fact]:
    """Rows that ask the same question of the same device, as one with the median time."""
    groups: defaultdict[tuple[object, ...], list[Fact]] = defaultdict(list)
    for fact in facts:
        case = fact.case
        depth = case.depth if case.depth > 512 else 0  # tg1 ... tg512 differ by nothing but noise
        groups[(case.source, case.device, case.work, case.engine, case.flags, fact.what,
                case.devices, case.batch, case.prompt, depth)].append(fact)  # fmt: skip
    out: list[Fact] = []
    for group in groups.values():
        group.sort(key=lambda fact: fact.seconds / max(1.0, fact.case.generated))
        out.append(group[len(group) // 2])
    return out


def usable(fact: Fact) -> bool:
    """Rows whose circumstances we know: no drafts, nothing in the host's memory."""
    case = fact.case
    if case.speculative or case.source == "club3090":
        return False
    if broken(case, fact.what):
        return False
    if case.source.startswith("llmfit") and fact.what != "decode":
        return False
    return fact.what != "prefill" or case.prompt >= 32


def weights_of(facts: list[Fact]) -> np.ndarray:
    """How much each row counts: repeated rows share one weight, a device a bounded sum."""
    alike = [
        (f.case.source, f.case.device, f.case.model, f.case.work.total_bytes, f.case.engine,
         f.case.flags, f.what, f.case.devices)
        for f in facts
    ]  # fmt: skip
    same = Counter(alike)
    rough = np.array([
        (1.0 if f.case.clean else USER_WEIGHT) / same[key] ** 0.6
        for f, key in zip(facts, alike, strict=True)
    ])  # fmt: skip
    sums: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    keys = [(f.case.source, f.case.device + f.case.engine, f.what) for f in facts]
    for key, weight in zip(keys, rough, strict=True):
        sums[key] += weight
    caps = np.array([min(1.0, DEVICE_WEIGHT / sums[key]) for key in keys])
    return rough * caps


def priors_for(facts: list[Fact]) -> dict[str, tuple[float, float]]:
    """Every effect the rows can say something about: its mean and its freedom, in logarithms."""
    out = {name: (log(start), sd) for name, (start, sd) in START.items()}
    for fact in facts:
        for name in NAMES:
            for effect in effect_names(name, fact.chip, fact.run):
                if effect not in out and _allowed(name, effect, fact):
                    out[effect] = (0.0, _freedom(name, effect, fact))
    return out


def _allowed(name: str, effect: str, fact: Fact) -> bool:
    words = effect.split(" ")
    if words[1].startswith("+"):
        flag = words[1][1:]
        by_class = len(words) == 3
        return name in BY_FLAG.get(flag, ()) and (
            not by_class or flag in ("old", "wide", "vulkan", "many")
        )
    if words[1] in ("local", "server"):
        return name in (BY_CLASS if len(words) == 3 else BY_ARCH)
    return name in BY_ENGINE and (len(words) == 2 or name in ("eta", "tau", "mfu"))


def _freedom(name: str, effect: str, fact: Fact) -> float:
    words = effect.split(" ")
    if words[1].startswith("+"):
        return FLAG_SD if len(words) == 2 else 0.15
    if words[1] in ("local", "server"):
        return (CLASS_SD if len(words) == 3 else ARCH_SD).get(name, OTHER_SD)
    return 0.4 if len(words) == 2 else 0.2


class Model:
    """The facts as arrays: the same sums as mathcore.speed, for all rows at once."""

    def __init__(self, facts: list[Fact], effects: dict[str, tuple[float, float]]) -> None:
        self.names = list(effects)
        place = {name: i for i, name in enumerate(self.names)}
        self.mean = np.array([effects[name][0] for name in self.names])
        self.freedom = np.array([effects[name][1] for name in self.names])
        self.uses: dict[str, np.ndarray] = {}
        for name in NAMES:
            matrix = np.zeros((len(facts), len(self.names)))
            for i, fact in enumerate(facts):
                for effect in effect_names(name, fact.chip, fact.run):
                    if effect in place:
                        matrix[i, place[effect]] += 1.0
            self.uses[name] = matrix
        self.facts = facts
        self.observed = np.log(np.array([fact.seconds for fact in facts]))
        fields = ("weights", "cache", "compute", "attention", "layers", "sparse", "latent", "hops",
                  "link", "sequences", "mixed", "host")  # fmt: skip
        steps = np.array([f.run.generated if f.what == "total" else float(f.what == "decode")
                          for f in facts])  # fmt: skip
        asks = np.array([float(f.what != "decode") for f in facts])
        self.step = {k: steps * np.array([getattr(f.step, k) for f in facts]) for k in fields}
        self.ask = {k: asks * np.array([getattr(f.prompt, k) for f in facts]) for k in fields}

    def parts(self, theta: np.ndarray) -> list[tuple[str, float, np.ndarray]]:
        """(constant, exponent, seconds it is responsible for); a cache byte has two constants."""
        value = {name: np.exp(self.uses[name] @ theta) for name in NAMES}
        s, p = self.step, self.ask
        both = {k: s[k] + p[k] for k in s}
        return [
            ("eta", -1, both["weights"] / value["eta"]),
            ("kappa eta", 0, both["cache"] * value["kappa"] / value["eta"]),
            ("busy", -1, (s["compute"] + s["attention"]) / value["busy"]),
            ("tau", 1, s["layers"] * value["tau"]), ("latent", 1, s["latent"] * value["latent"]),
            ("sparse", 1, s["sparse"] * value["sparse"]),
            ("hop", 1, both["hops"] * value["hop"]), ("link", -1, both["link"] / value["link"]),
            ("each", 1, s["sequences"] * value["each"]), ("mixed", -1, s["mixed"] / value["mixed"]),
            ("mfu", -1, p["compute"] / value["mfu"]),
            ("attend", -1, p["attention"] / value["attend"]),
            ("pass", 1, p["layers"] * value["pass"]), ("host", -1, both["host"] / value["host"]),
        ]  # fmt: skip

    def predict(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of seconds, and their derivatives by every effect."""
        parts = self.parts(theta)
        total = sum(seconds for _, _, seconds in parts)
        slope = np.zeros((len(self.facts), len(self.names)))
        for name, exponent, seconds in parts:
            share = (seconds / total)[:, None]
            if name == "kappa eta":
                slope += share * (self.uses["kappa"] - self.uses["eta"])
            else:
                slope += exponent * share * self.uses[name]
        return np.log(total), slope


def solve(
    model: Model, weights: np.ndarray, start: np.ndarray | None = None, rounds: int = 60
) -> np.ndarray:
    """Levenberg-Marquardt on Huber's loss, with the effects' freedom as a ridge.

    Ends when a round gains less than a hundred-thousandth of the loss.
    """
    theta = model.mean.copy() if start is None else start.copy()
    damping, bend = 1e-2, 2 * TYPICAL

    def loss(error: np.ndarray, at: np.ndarray) -> float:
        size = np.abs(error)
        huber = np.where(size < bend, 0.5 * error**2, bend * (size - 0.5 * bend))
        ridge = 0.5 * np.sum(((at - model.mean) / model.freedom) ** 2)
        return float(np.sum(weights * huber) / TYPICAL**2 + ridge)

    guess, slope = model.predict(theta)
    cost = loss(guess - model.observed, theta)
    for _ in range(rounds):
        error = guess - model.observed
        pull = weights * np.minimum(1.0, bend / np.maximum(np.abs(error), 1e-12)) / TYPICAL**2
        normal = slope.T @ (slope * pull[:, None]) + np.diag(model.freedom**-2.0)
        gradient = slope.T @ (pull * error) + (theta - model.mean) / model.freedom**2
        for _ in range(10):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            trial = theta + np.clip(step, -0.8, 0.8)
            guess_trial, slope_trial = model.predict(trial)
            cost_trial = loss(guess_trial - model.observed, trial)
            if cost_trial < cost:
                break
            damping *= 5
        else:
            return theta
        gain = cost - cost_trial
        theta, guess, slope, cost = trial, guess_trial, slope_trial, cost_trial
        damping = max(damping / 4, 1e-6)
        if gain < 1e-5 * cost:
            return theta
    return theta


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """All usable rows, the effects that fit them, and how much each counted."""

    model: Model
    weights: np.ndarray
    theta: np.ndarray

    @property
    def effects(self) -> dict[str, float]:
        pairs = zip(self.model.names, self.theta, strict=True)
        return {name: round(float(value), 4) for name, value in pairs if abs(value) >= 0.002}


def fitted(facts: list[Fact]) -> Fitted:
    """The effects that fit the usable rows; absurd ones are dropped after a first pass."""
    facts = gathered([fact for fact in facts if usable(fact)])
    model = Model(facts, priors_for(facts))
    weights = weights_of(facts)
    theta = solve(model, weights)
    error = np.abs(model.predict(theta)[0] - model.observed)
    weights = np.where(error > ABSURD, 0.0, weights)
    return Fitted(model=model, weights=weights, theta=solve(model, weights, theta))


def device_key(fact: Fact) -> str:
    """What is left out at once: all rows of a device, whatever the source."""
    return fact.case.facts.name if fact.case.facts is not None else fact.case.device


# What grows per layer, hop and sequence; the rest grows with bytes and operations.
FIXED = ("tau", "sparse", "latent", "hop", "each", "pass")


def held_out(
    whole: Fitted, facts: list[Fact], key: Callable[[Fact], str]
) -> tuple[np.ndarray, np.ndarray]:
    """Each row by a fit that left its group out: (logarithm of measured over predicted time,
    share of the predicted time that is per layer).

    An effect only the left-out rows could tell is zero: what a new device of the class would get.
    """
    freedom = zip(whole.model.mean, whole.model.freedom, strict=True)
    effects = dict(zip(whole.model.names, freedom, strict=True))
    own = np.array([key(fact) for fact in whole.model.facts])
    asked = np.array([key(fact) for fact in facts])
    error, fixed = np.zeros(len(facts)), np.zeros(len(facts))
    for group in sorted(set(asked)):
        theta = whole.theta
        if np.any(own == group):
            kept = np.where(own == group, 0.0, whole.weights)
            theta = solve(whole.model, kept, theta, LEFT_OUT_ROUNDS)
        places = asked == group
        some = Model([facts[i] for i in np.flatnonzero(places)], effects)
        parts = some.parts(theta)
        total = sum(seconds for _, _, seconds in parts)
        error[places] = some.observed - np.log(total)
        fixed[places] = sum(seconds for name, _, seconds in parts if name in FIXED) / total
    return error, fixed


def in_sample(whole: Fitted, facts: list[Fact]) -> np.ndarray:
    """Logarithm of measured over predicted time by the whole fit."""
    freedom = zip(whole.model.mean, whole.model.freedom, strict=True)
    effects = dict(zip(whole.model.names, freedom, strict=True))
    out = np.zeros(len(facts))
    for start in range(0, len(facts), CHUNK):
        some = Model(facts[start : start + CHUNK], effects)
        out[start : start + CHUNK] = some.observed - some.predict(whole.theta)[0]
    return out


def seen_devices(whole: Fitted) -> set[str]:
    """Group and device of those with enough clean rows in the fit to say "seen"."""
    counts = Counter(
        f"{group_of(fact.run.engine)} {fact.chip.name}"
        for fact in whole.model.facts
        if fact.case.clean and fact.chip.name
    )
    return {name for name, count in counts.items() if count >= SEEN_ROWS}


def spreads_of(
    facts: list[Fact], held: np.ndarray, own: np.ndarray, seen: set[str]
) -> dict[str, tuple[float, float]]:
    """Tenth and ninetieth percentile of the error under each key with enough rows: held out for
    devices not seen, the fit's own (a little widened) for those that were.
    """
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for fact, value, inner in zip(facts, held, own, strict=True):
        if broken(fact.case, fact.what):
            continue
        away = fact.step.host > 0
        known = spread_key(fact.what, fact.chip, fact.run, fact.case.work, away, False)
        for name in known:
            groups[name].append(float(value))
        first = spread_key(fact.what, fact.chip, fact.run, fact.case.work, away, True)[0]
        if first not in known and f"{group_of(fact.run.engine)} {fact.chip.name}" in seen:
            groups[first].append(float(inner) * SEEN_WIDER)
    return {
        name: bar(float(np.quantile(values, 0.1)), float(np.quantile(values, 0.9)))
        for name, values in sorted(groups.items())
        if len(values) >= LEAST_ROWS
    }


def bar(low: float, high: float) -> tuple[float, float]:
    """An error bar that holds its own middle, and no more than a factor of twenty each way."""
    return (
        round(max(-MOST_SIDE, min(low, -LEAST_SIDE)), 3),
        round(min(MOST_SIDE, max(high, LEAST_SIDE)), 3),
    )


HEAD = '''"""Constants of the speed model, written by scripts/fit; not to be edited by hand.

EFFECTS are logarithms that add up to one constant (`speed.effect_names`); SPREADS the logarithms of
measured over predicted time at the 10th and 90th percentile, on devices left out of the fit, or
for those SEEN by it its own.
"""

'''


def write_priors(
    out: Path,
    effects: dict[str, float],
    spreads: dict[str, tuple[float, float]],
    seen: set[str],
) -> None:
    """The constants as a Python module."""
    pairs = [f'"{name}": {value}' for name, value in sorted(effects.items())]
    bars = [f'"{name}": ({low}, {high})' for name, (low, high) in sorted(spreads.items())]
    lines = [HEAD + "EFFECTS: dict[str, float] = {", *_packed(pairs), "}  # fmt: skip"]
    lines += ["SPREADS: dict[str, tuple[float, float]] = {", *_packed(bars), "}  # fmt: skip"]
    names = [f'"{name}"' for name in sorted(seen)]
    lines += ["SEEN: frozenset[str] = frozenset((  # group and device", *_packed(names)]
    out.write_text("\n".join(lines) + "\n))  # fmt: skip\n")


def _packed(items: list[str]) -> list[str]:
    """Items as lines of at most 100 columns."""
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(item) + 2 <= 100:
            lines[-1] += f" {item},"
        else:
            lines.append(f"    {item},")
    return lines


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--configs", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("mathcore/priors.py"))
@click.option("--errors", type=click.Path(path_type=Path), help="also write each row's error")
def main(file: Path, configs: Path, out: Path, errors: Path | None) -> None:
    """Fits FILE (a table of measured speeds) and writes the constants."""
    cases, refused = cases_of(read_rows(file), configs)
    facts = facts_of(cases)
    whole = fitted(facts)
    print(f"{len(facts)} facts, {len(whole.model.facts)} used, {len(refused)} rows refused")
    print("fitted; leaving devices out ...", flush=True)
    error, fixed = held_out(whole, facts, device_key)
    seen = seen_devices(whole)
    spreads = spreads_of(facts, error, in_sample(whole, facts), seen)
    write_priors(out, whole.effects, spreads, seen)
    if errors is not None:
        lines = ["index,what,log_error,layer_share"]
        for fact, value, share in zip(facts, error, fixed, strict=True):
            lines.append(f"{fact.case.index},{fact.what},{value:.5f},{share:.4f}")
        errors.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
