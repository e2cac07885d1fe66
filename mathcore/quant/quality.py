"""What a quantisation costs in quality: nats per token lost against the 16-bit model.

Mean Kullback-Leibler divergence where it was published, else the logarithm of the perplexity ratio.
Measured on 7-8B models, to rank types by; `published` says how much more or less a model loses.
A type nobody measured is unknown, never guessed.
"""

import math
from dataclasses import dataclass
from typing import final

from mathcore.quant.families import bits_of


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class QualityLoss:
    """One published figure."""

    nats: float  # per token; 0 = the 16-bit model
    source: str


_SCOREBOARD = "llama.cpp tools/perplexity README, Llama 3 8B scoreboard: KLD, Wikitext-2"
_IMATRIX = f"{_SCOREBOARD}, with importance matrix"
_AWQ = "AWQ paper (arXiv 2306.00978) table 4, Llama-2-7B, g128: ln of the perplexity ratio"
_AO = "pytorch/ao#3394, Llama-3.1-8B, Wikitext: ln of the word perplexity ratio, an upper bound"

_PLAIN: dict[str, float] = {
    "Q8_0": 0.001355,
    "Q6_K": 0.005452,
    "Q5_K_M": 0.010762,
    "Q5_K_S": 0.016595,
    "Q5_1": 0.018045,
    "Q5_0": 0.022239,
    "Q4_K_M": 0.031273,
    "Q4_K_S": 0.043136,
    "Q4_1": 0.071683,
    "Q4_0": 0.071940,
    "Q3_K_L": 0.087176,
    "Q3_K_M": 0.101913,
    "Q3_K_S": 0.228217,
    "Q2_K": 0.445132,
}
_WITH_IMATRIX: dict[str, float] = {
    "IQ4_NL": 0.035742,
    "IQ4_XS": 0.036334,
    "IQ3_M": 0.102534,
    "IQ3_S": 0.111278,
    "IQ3_XS": 0.138693,
    "IQ3_XXS": 0.183625,
    "IQ2_M": 0.325989,
    "Q2_K_S": 0.403360,
    "IQ2_S": 0.439197,
    "IQ2_XS": 0.546290,
    "IQ2_XXS": 0.812022,
    "IQ1_M": 1.393084,
    "IQ1_S": 2.211278,
}
_EXACT: tuple[str, ...] = ("F32", "F16", "BF16", "HF-F32", "HF-BF16", "HF-F16", "MLX-16bit")

# What a plan sorts by where nobody measured: about the loss of the ggml types of those bits.
# A judgement, shown as such; LOSSES has only what was published.
_ASSUMED: dict[int, float] = {2: 0.5, 3: 0.12, 4: 0.035, 5: 0.015, 6: 0.008, 8: 0.003}
UNKNOWN_NATS = 0.5


def _table() -> dict[str, QualityLoss]:
    out = {name: QualityLoss(nats=0.0, source="the model itself") for name in _EXACT}
    for name, nats in _PLAIN.items():
        out[name] = QualityLoss(nats=nats, source=_SCOREBOARD)
    for name, nats in _WITH_IMATRIX.items():
        out[name] = QualityLoss(nats=nats, source=_IMATRIX)
    # 5.47 unquantised, 5.60 AWQ, 5.63 GPTQ with reordering.
    out["AWQ"] = QualityLoss(nats=math.log(5.60 / 5.47), source=_AWQ)
    out["GPTQ-INT4"] = QualityLoss(nats=math.log(5.63 / 5.47), source=_AWQ)
    # 7.547 unquantised, 7.62 row-wise FP8, 7.61 MXFP8, 8.44 NVFP4 weights and activations.
    for name in ("FP8", "FP8-ROW"):
        out[name] = QualityLoss(nats=math.log(7.62 / 7.547), source=_AO)
    out["MXFP8"] = QualityLoss(nats=math.log(7.61 / 7.547), source=_AO)
    out["NVFP4"] = QualityLoss(nats=math.log(8.44 / 7.547), source=_AO)
    return out


LOSSES: dict[str, QualityLoss] = _table()
# Just below Q4_K_M (0.969): under it answers degrade visibly, so a plan goes there only by name, or
# where nothing of this quality fits.
USUAL_QUALITY = 0.965
USUAL_NATS = -math.log(USUAL_QUALITY)


def sorting_nats(quant: str) -> float:
    """The published loss, else the one assumed for its bits: to compare plans by."""
    found = LOSSES.get(quant)
    if found is not None:
        return found.nats
    return _ASSUMED.get(bits_of(quant), UNKNOWN_NATS)


def quality_of(quant: str) -> float:
    """1 for the 16-bit model, falling towards 0; assumed where nobody measured."""
    return math.exp(-sorting_nats(quant))
