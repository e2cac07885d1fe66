"""How much a model loses at a type beside the model the types were compared on, Llama 3 8B.

`data/losses.csv` has every figure with its source: a mean Kullback-Leibler divergence, or two
perplexities (or the logarithm of their ratio). Each is divided by Llama 3 8B's at the same type in
the same measure. The median of a model's lineage at about its size, or of all lineages where its
own was not measured, scales all of its types alike, so they keep their order; what all of that
size lost gives the band. Recipes and texts differ: Q4_K_M of one model was published four times
apart.
"""

import math
import re
from dataclasses import dataclass
from typing import final

from mathcore.band import Band
from mathcore.data import read_rows
from mathcore.memo import Memo
from mathcore.model.spec import ModelSpec
from mathcore.quant.quality import LOSSES

COMPARED_ON = "Llama 3 8B"
ALIKE = 3.0  # so many times larger or smaller is about the same size
# Models of Llama 2's vocabulary were trained on far fewer tokens than later ones and lose less, so
# neither tells of the other.
OLD_VOCAB = 32_100
OLD = "llama2"
# At least so many times less and more: an importance matrix alone takes 1 to 26 % off Llama 3 8B's.
RECIPE = 1.25

_FACTORS: Memo[Band] = Memo(1024)
_READ: list["Measured"] = []


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One published figure."""

    quant: str
    model: str
    lineage: str
    billions: float
    metric: str  # "kld", or "ppl": the logarithm of the perplexity ratio
    nats: float
    source: str


def measured() -> list[Measured]:
    """Every published figure, read once."""
    if not _READ:
        _READ.extend(_measured(row) for row in read_rows("quant", "losses.csv"))
    return _READ


def _measured(row: dict[str, str]) -> Measured:
    figure = float(row["figure"])
    return Measured(
        quant=row["quant"],
        model=row["model"],
        lineage=row["lineage"],
        billions=float(row["billions"]),
        metric=row["metric"],
        nats=math.log(figure / float(row["of"])) if row["of"] else figure,
        source=row["source"],
    )


def lineage_of(spec: ModelSpec) -> str:
    """ "qwen" for any of Qwen's architectures; Llama 1 and 2 and what was made like them apart."""
    letters = re.match(r"[a-z]*", spec.architecture)
    name = letters.group() if letters else ""
    return OLD if name == "llama" and spec.vocab <= OLD_VOCAB else name


def loss_factor(spec: ModelSpec) -> Band:
    """What this model loses at a type, as multiples of what was published for Llama 3 8B."""
    key = (id(spec),)
    found = _FACTORS.get(key, spec)
    return found if found is not None else _FACTORS.put(key, _factor(spec), spec)


def _factor(spec: ModelSpec) -> Band:
    lineage = lineage_of(spec)
    told = [(row, x) for row, x in _ratios() if (row.lineage == OLD) == (lineage == OLD)]
    sizes = [row.billions for row, _ in told]
    size = min(max(spec.parameters / 1e9, min(sizes)), max(sizes))
    near = [(row, x) for row, x in told if size / ALIKE <= row.billions <= size * ALIKE]
    own = [(row, x) for row, x in near if row.lineage == lineage]
    middle = _quantile(_by_model(own or near), 0.5)
    spread = [x for row, x in near if not _is_base(row)]
    least, most = middle - math.log(RECIPE), middle + math.log(RECIPE)
    return Band(
        p10=math.exp(min(_quantile(spread, 0.1), least)),
        p50=math.exp(middle),
        p90=math.exp(max(_quantile(spread, 0.9), most)),
    )


def _ratios() -> list[tuple[Measured, float]]:
    """Each figure with the logarithm of its ratio to Llama 3 8B's."""
    base = {row.quant: row.nats for row in measured() if _is_base(row)}
    out: list[tuple[Measured, float]] = []
    for row in measured():
        beside = base[row.quant] if row.metric == "ppl" else LOSSES[row.quant].nats
        out.append((row, math.log(row.nats / beside)))
    return out


def _is_base(row: Measured) -> bool:
    return row.model == COMPARED_ON and row.metric == "ppl"


def _by_model(ratios: list[tuple[Measured, float]]) -> list[float]:
    """One value a model: its types were measured together."""
    found: dict[str, list[float]] = {}
    for row, x in ratios:
        found.setdefault(row.model, []).append(0.0 if row.model == COMPARED_ON else x)
    return [sum(xs) / len(xs) for xs in found.values()]


def _quantile(values: list[float], share: float) -> float:
    """Linear between the two nearest."""
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
