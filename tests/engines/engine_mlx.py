"""Run by test_engines in MLX's own environment: cache and peak bytes by length of the prompt."""

import json
import sys

import mlx.core as mx
from mlx_lm import load
from mlx_lm.models.cache import make_prompt_cache


def measured(model: object, tokens: int) -> dict[str, int]:
    """One prompt read in one go, as mlx-lm's prefill does below its chunk."""
    cache = make_prompt_cache(model)
    mx.clear_cache()
    mx.reset_peak_memory()
    out = model(mx.array([[3 + i % 200 for i in range(tokens)]]), cache=cache)
    mx.eval(out, [layer.state for layer in cache])
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache)
    return {"tokens": tokens, "kv_bytes": held, "peak_bytes": mx.get_peak_memory()}


def main(folder: str, lengths: list[int]) -> None:
    model, _ = load(folder)
    mx.eval(model.parameters())
    weights = mx.get_active_memory()
    rows = [measured(model, tokens) for tokens in lengths]
    print(json.dumps({"weights_bytes": weights, "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1], [int(word) for word in sys.argv[2:]])
