"""The speed model over many measured rows at once: mathcore.speed.predict in numpy, and its fit.

Rows whose constants are made of the same effects share a signature. What a row says about its
signature's constants is a small matrix; only their sum over rows meets the hundreds of effects, so
that leaving one device out after another costs seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathcore.speed.chip import Chip
from mathcore.speed.constants import BEND as SHARP
from mathcore.speed.constants import NAMES, PACE, UPPER_BOUNDS, effect_names
from mathcore.speed.terms import Run, Terms, decode_terms, prefill_terms
from scripts.lab.speed_rows import Case, chip_of_case, run_of

Array = NDArray[np.float64]

FIELDS = (
    "weights",
    "cache",
    "compute",
    "fill",
    "scatter",
    "attention",
    "layers",
    "sparse",
    "latent",
    "hops",
    "link",
    "sequences",
    "mixed",
    "host",
    "reread",
    "vector",
    "unpack",
    "gather",
)
# What grows per layer, hop and sequence; the rest grows with bytes and operations.
FIXED = ("tau", "sparse", "latent", "hop", "each", "pass", "reread", "unpack", "gather")
OVER = {"kappa": "eta", "fill": "mfu", "scatter": "mfu"}
TYPICAL = 0.08  # the error of a good row; beyond twice it counts linearly
BEND = 2 * TYPICAL
ALL = (*NAMES, PACE)
CAPS = np.array([UPPER_BOUNDS.get(name, np.inf) for name in ALL])
ENOUGH = 1e-6  # share of the loss below which another round is not worth it


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
        if chip is None or (case.offloaded and case.asked is None):
            continue
        run = run_of(case)
        step, prompt = decode_terms(chip, run, case.work), prefill_terms(chip, run, case.work)
        for what, seconds in measured(case).items():
            if seconds > 0:
                out.append(
                    Fact(
                        case=case,
                        chip=chip,
                        run=run,
                        what=what,
                        seconds=seconds,
                        step=step,
                        prompt=prompt,
                    )
                )
    return out


def measured(case: Case) -> dict[str, float]:
    """Seconds of a step, of all prompts and of the whole, 0 where a row does not say."""
    everything = (case.prompt + case.generated) * case.batch
    timed = case.total and case.source == "argonne_llm_inference_bench"
    return {
        "decode": 1.0 / case.decode if case.decode else 0.0,
        "prefill": case.prompt * case.batch / case.prefill if case.prefill else 0.0,
        "total": everything / case.total if timed else 0.0,
    }


class Model:
    """Facts as arrays, and the effects their constants are sums of."""

    def __init__(self, facts: list[Fact], effects: dict[str, tuple[float, float]]) -> None:
        self.facts = facts
        self.names = list(effects)
        place = {name: i for i, name in enumerate(self.names)}
        self.mean = np.array([effects[name][0] for name in self.names])
        self.freedom = np.array([effects[name][1] for name in self.names])
        marks: dict[tuple[object, ...], int] = {}
        self.signature = np.array([marks.setdefault(_mark(fact), len(marks)) for fact in facts])
        first = {int(mark): i for i, mark in reversed(list(enumerate(self.signature)))}
        count = len(ALL)
        self.uses = np.zeros((len(marks) * count, len(self.names)))
        for mark, i in first.items():
            for k, name in enumerate(ALL):
                for effect in effect_names(name, facts[i].chip, facts[i].run):
                    if effect in place:
                        self.uses[mark * count + k, place[effect]] += 1.0
        self.touched = [
            np.flatnonzero(self.uses[m * count : (m + 1) * count].any(axis=0))
            for m in range(len(marks))
        ]
        self.rows = [np.flatnonzero(self.signature == mark) for mark in range(len(marks))]
        self.observed = np.log(np.array([fact.seconds for fact in facts]))
        self.step, self.ask = self._terms(facts)
        # Whole requests are taken for steps alone: all but a few hundredths of their time are.
        self.stepping = np.array([float(fact.what != "prefill") for fact in facts])

    @staticmethod
    def _terms(facts: list[Fact]) -> tuple[dict[str, Array], dict[str, Array]]:
        steps = np.array(
            [f.run.generated if f.what == "total" else float(f.what == "decode") for f in facts]
        )
        asks = np.array([float(f.what != "decode") for f in facts])
        return (
            {k: steps * np.array([getattr(f.step, k) for f in facts]) for k in FIELDS},
            {k: asks * np.array([getattr(f.prompt, k) for f in facts]) for k in FIELDS},
        )

    def parts(self, theta: Array) -> list[tuple[str, Array]]:
        """(constant, seconds it is responsible for); a cache byte has two constants."""
        free = self._free(theta)
        values = (free / (1.0 + (free / CAPS) ** SHARP) ** (1.0 / SHARP))[self.signature]
        value = {name: values[:, k] for k, name in enumerate(ALL)}
        s, p = {k: one * value[PACE] for k, one in self.step.items()}, self.ask
        both = {k: s[k] + p[k] for k in s}
        return [
            ("eta", both["weights"] / value["eta"]),
            ("kappa", both["cache"] * value["kappa"] / value["eta"]),
            ("busy", (s["compute"] + s["attention"]) / value["busy"]),
            ("tau", s["layers"] * value["tau"]),
            ("latent", s["latent"] * value["latent"]),
            ("sparse", s["sparse"] * value["sparse"]),
            ("hop", both["hops"] * value["hop"]),
            ("link", both["link"] / value["link"]),
            ("each", s["sequences"] * value["each"]),
            ("mixed", s["mixed"] / value["mixed"]),
            ("mfu", p["compute"] / value["mfu"]),
            ("fill", p["fill"] * value["fill"] / value["mfu"]),
            ("scatter", p["scatter"] * value["scatter"] / value["mfu"]),
            ("attend", p["attention"] / value["attend"]),
            ("pass", p["layers"] * value["pass"]),
            ("host", both["host"] / value["host"]),
            ("reread", s["reread"] * value["reread"]),
            ("vector", p["vector"] / value["vector"]),
            ("unpack", p["unpack"] * value["unpack"]),
            ("gather", p["gather"] * value["gather"]),
        ]

    def _free(self, theta: Array) -> Array:
        """The constants of every signature as the effects alone would have them."""
        return np.exp(self.uses @ theta).reshape(-1, len(ALL))

    def predict(self, theta: Array) -> tuple[Array, Array]:
        """Logarithms of seconds, and their derivatives by the logarithms of the constants."""
        parts = self.parts(theta)
        total = sum(seconds for _, seconds in parts)
        slope = np.zeros((len(self.facts), len(ALL)))
        for name, seconds in parts:
            share = seconds / total
            if name in OVER:  # this constant over another one
                slope[:, ALL.index(name)] += share
                slope[:, ALL.index(OVER[name])] -= share
            else:
                grows = name in FIXED
                slope[:, ALL.index(name)] += share if grows else -share
        slope[:, ALL.index(PACE)] = self.stepping
        bent = 1.0 / (1.0 + (self._free(theta) / CAPS) ** SHARP)  # of each constant by its effects
        return np.log(total), slope * bent[self.signature]

    def normal(self, slope: Array, pull: Array, error: Array) -> tuple[Array, Array]:
        """Gauss-Newton's matrix and gradient by effect, without the ridge."""
        size, count = len(self.names), len(ALL)
        matrix, gradient = np.zeros((size, size)), np.zeros(size)
        for mark, rows in enumerate(self.rows):
            own = slope[rows]
            weighed = own * pull[rows, None]
            at = self.touched[mark]
            uses = self.uses[mark * count : (mark + 1) * count, at]
            matrix[np.ix_(at, at)] += uses.T @ (own.T @ weighed) @ uses
            gradient[at] += uses.T @ (weighed.T @ error[rows])
        return matrix, gradient


def _mark(fact: Fact) -> tuple[object, ...]:
    """Facts alike in this are made of the same effects."""
    chip, run = fact.chip, fact.run
    return (chip.device_class, chip.arch, chip.name, run.engine, run.flags)


def loss(model: Model, weights: Array, error: Array, theta: Array) -> float:
    """Huber's, with the effects' freedom as a ridge."""
    size = np.abs(error)
    huber = np.where(size < BEND, 0.5 * error**2, BEND * (size - 0.5 * BEND))
    ridge = 0.5 * np.sum(((theta - model.mean) / model.freedom) ** 2)
    return float(np.sum(weights * huber) / TYPICAL**2 + ridge)


def solve(model: Model, weights: Array, start: Array | None = None, rounds: int = 60) -> Array:
    """Levenberg-Marquardt on the loss; ends when a round gains next to nothing."""
    theta = model.mean.copy() if start is None else start.copy()
    damping = 1e-2
    guess, slope = model.predict(theta)
    cost = loss(model, weights, guess - model.observed, theta)
    for _ in range(rounds):
        error = guess - model.observed
        pull = weights * np.minimum(1.0, BEND / np.maximum(np.abs(error), 1e-12)) / TYPICAL**2
        matrix, gradient = model.normal(slope, pull, error)
        matrix += np.diag(model.freedom**-2.0)
        gradient += (theta - model.mean) / model.freedom**2
        for _ in range(10):
            step = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), -gradient)
            trial = theta + np.clip(step, -0.8, 0.8)
            guess_trial, slope_trial = model.predict(trial)
            cost_trial = loss(model, weights, guess_trial - model.observed, trial)
            if cost_trial < cost:
                break
            damping *= 5
        else:
            return theta
        gain = cost - cost_trial
        theta, guess, slope, cost = trial, guess_trial, slope_trial, cost_trial
        damping = max(damping / 4, 1e-6)
        if gain < ENOUGH * cost:
            return theta
    return theta
