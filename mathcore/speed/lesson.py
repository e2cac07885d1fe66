"""What a device's jobs teach, robustly: a Gaussian process whose noise is Student's.

The prediction moves by the mean that follows from the jobs, and its error bar shrinks with the
variance; so two jobs on an 8B model do not decide what a 70B one takes, and the same run again is
nearly known. A job the others do not bear out (the machine was busy, the entry is wrong) is given
noise of its own, by as much as it surprises them: the reweighting that makes the noise Student's
with NU degrees of freedom. Rasmussen and Williams, Gaussian Processes for Machine Learning, ch. 2
and 5.4; Jylanki, Vanhatalo and Vehtari, Robust Gaussian Process Regression with a Student-t
Likelihood.
"""

from math import exp, log, sqrt
from typing import final

from mathcore.speed.evidence import NOISE_SD, Evidence, alike, covariance, repeated

# Degrees of freedom of the noise: one job in some twenty is far off.
NU = 4.0
# What the others leave open of a job counts as no surprise, to this share.
OPEN_SHARE = 0.6
# A single job is doubted from so many standard deviations on, by half of what it is off.
LONE_SDS, LONE_SHARE = 2.5, 0.5
# The same run so often is no accident, whatever others say.
AGREED = 3
ROUNDS = 8  # of the reweighting; it hardly moves after five
SETTLED = 1e-4  # a variance smaller than this changes nothing anybody is shown
# A device is off by more than its class says (a power limit, a wrong entry) when half of its jobs
# are, two at least: the class's variance grows as if it had been seen on this many devices before.
DOUBT = 2.0
LEAST_JOBS = 2
MEDIAN_SQUARE = 0.455  # the median of a squared standard normal
# A factor beyond this is a wrong device, a power limit or another process, not a speed.
LEAST_FACTOR, MOST_FACTOR = 0.2, 8.0
# An error bar keeps at least this share of its width: clocks and other processes remain. Jobs that
# surprise may widen it, up to this.
NARROWEST, WIDEST = 0.25, 2.0

Matrix = list[list[float]]


@final
class Lesson:
    """The jobs of one device and engine, and their covariance's Cholesky factor."""

    __slots__ = (
        "class_variance",
        "doubts",
        "expected_variance",
        "jobs",
        "lower",
        "runs",
        "solved",
        "what",
    )

    def __init__(self, what: str, class_variance: float, runs: list[Evidence]) -> None:
        self.what = what
        self.class_variance = class_variance
        self.expected_variance = class_variance  # before the jobs were seen
        self.runs = runs
        self.jobs = sum([one.count for one in runs])
        self.lower: Matrix = []
        self.solved: list[float] = []
        self.doubts: list[float] = [0.0 for _ in runs]  # variance of each job's own noise
        shared = [[alike(what, one, runs[j]) for j in range(i + 1)] for i, one in enumerate(runs)]
        self._widen(shared)
        self._doubt(shared)
        self._factor(shared)

    def _widen(self, shared: Matrix) -> None:
        """The class's variance, where half of the jobs and more are further off than it says."""
        count = len(self.runs)
        if count < LEAST_JOBS:
            return
        squares = []
        for i, one in enumerate(self.runs):
            own = self.class_variance * shared[i][i] + repeated(self.what, one, one)
            squares.append(one.error * one.error / (own + NOISE_SD**2 / one.count))
        middle = sorted(squares)[(count - 1) // 2] / MEDIAN_SQUARE
        if middle > 1.0:
            self.class_variance *= (DOUBT + count * middle) / (DOUBT + count)

    def _doubt(self, shared: Matrix) -> None:
        """Each job's own noise, from what the others say of it."""
        if len(self.runs) == 1:
            self._factor(shared)
            one, sd = self.runs[0], self.lower[0][0]
            off = abs(one.error)
            if one.count < AGREED:
                self.doubts[0] = max(0.0, off - LONE_SDS * sd) * off * LONE_SHARE / one.count
            return
        for _ in range(ROUNDS if self.runs else 0):
            self._factor(shared)
            moved = 0.0
            found: list[float] = []
            for one, (error, variance), doubt in zip(
                self.runs, self._left_out(), self.doubts, strict=True
            ):
                known = variance - doubt
                noise = max(0.0, error * error / (NU + 1.0) - OPEN_SHARE * known)
                noise /= one.count if one.count >= AGREED else 1.0
                moved = max(moved, abs(noise - doubt))
                found.append(noise)
            self.doubts = found
            if moved < SETTLED:
                return

    def _left_out(self) -> list[tuple[float, float]]:
        """What each job is off from what the others say, and the variance they leave it."""
        count = len(self.runs)
        inverse: Matrix = []  # of the factor, row by row below the diagonal
        for i in range(count):
            row = [0.0 for _ in range(i + 1)]
            own = self.lower[i]
            for j in range(i + 1):
                rest = 1.0 if i == j else 0.0
                for k in range(j, i):
                    rest -= own[k] * inverse[k][j]
                row[j] = rest / own[i]
            inverse.append(row)
        out: list[tuple[float, float]] = []
        for i in range(count):
            precision, pull = 0.0, 0.0
            for k in range(i, count):
                precision += inverse[k][i] * inverse[k][i]
                pull += inverse[k][i] * self.solved[k]
            out.append((pull / precision, 1.0 / precision))
        return out

    def _factor(self, shared: Matrix) -> None:
        self.lower = []
        for i, one in enumerate(self.runs):
            noise = NOISE_SD**2 / one.count
            common = [
                self.class_variance * shared[i][j] + repeated(self.what, one, self.runs[j])
                for j in range(i + 1)
            ]
            row = self._forward(common[:i])
            own = common[i] + noise + self.doubts[i]
            for value in row:
                own -= value * value
            row.append(sqrt(max(own, noise / 2.0)))
            self.lower.append(row)
        self.solved = self._forward([one.error for one in self.runs])

    def _forward(self, values: list[float]) -> list[float]:
        """The triangular system solved, as far as rows are there."""
        out: list[float] = []
        for i, value in enumerate(values):
            row = self.lower[i]
            rest = value
            for j in range(i):
                rest -= row[j] * out[j]
            out.append(rest / row[i])
        return out

    def answer(self, asked: Evidence) -> tuple[float, float]:
        """(factor on the predicted time, share of the error bar that is left)."""
        if not self.runs:
            return 1.0, 1.0
        what, variance = self.what, self.class_variance
        links = self._forward([covariance(what, asked, one, variance) for one in self.runs])
        mean, known = 0.0, 0.0
        for link, solved in zip(links, self.solved, strict=True):
            mean += link * solved
            known += link * link
        left = covariance(what, asked, asked, variance) + NOISE_SD**2 - known
        before = covariance(what, asked, asked, self.expected_variance) + NOISE_SD**2
        share = sqrt(max(0.0, left / before))
        moved = max(log(LEAST_FACTOR), min(log(MOST_FACTOR), mean))
        return exp(moved), max(NARROWEST, min(WIDEST, share))


def median(values: list[float]) -> float:
    """The middle one, or the mean of the two in the middle."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
