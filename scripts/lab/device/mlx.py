"""What we say of an MLX row: the peak of one run of so many tokens, as the table noted it."""

import re
from pathlib import Path

from mathcore.engines.mlx import mlx_footprint
from mathcore.engines.mlx_scores import BUILD, MlxShape
from mathcore.quant.weights import weigh
from scripts.lab.device.models import spec_of
from scripts.lab.device.rows import Answer, Refused, Row, noted

ANSWER_TOKENS = 128  # mlx_lm.benchmark's, where a row notes the prompt alone


def peak(row: Row, configs: Path | None) -> Answer:
    """A run's peak memory by mlx's own count."""
    spec = spec_of(row["model"], configs)
    if spec is None:
        raise Refused("a model we do not know")
    bits = re.search(r"([2-8])", row["quant"])
    if bits is None or not row["n_ctx"]:
        raise Refused("a type that is not MLX's, or no context")
    weights = weigh(spec, f"MLX-{bits.group(1)}bit").total_bytes
    version = re.search(r"mlx (0\.\d+\.\d+)", row["engine_version"])
    prompt_only = "pp2048" in row["note"]
    shape = MlxShape(
        context=int(row["n_ctx"]) + (ANSWER_TOKENS if prompt_only else 0),
        build=version.group(1) if version else BUILD,
    )
    kind = "peak, mlx-lm's own benchmark" if prompt_only else "peak, mlx as users noted it"
    if noted(row, "kv") not in ("", "None"):
        raise Refused("a cache type mlx's row does not explain")
    return Answer(kind, mlx_footprint(spec, weights, shape).total_bytes)
