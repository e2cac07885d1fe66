"""Engines a plan can choose from: the weights and cache types each reads, and what is worth trying.

The one owner of these lists: whoever needs engines, ladders or cache types asks here.
"""

from typing import Literal

from mathcore.quant.formats import FORMATS, QUANTS, Family
from mathcore.quant.ggml import CACHE_TYPES as GGML_CACHE_TYPES

Engine = Literal["llama.cpp", "ollama", "vllm", "sglang", "tgi", "mlx"]

ENGINES: tuple[Engine, ...] = ("llama.cpp", "ollama", "vllm", "sglang", "tgi", "mlx")
# Engine -> the family of weights it loads.
FAMILIES: dict[str, Family] = {
    "llama.cpp": "gguf",
    "ollama": "gguf",
    "vllm": "safetensors",
    "sglang": "safetensors",
    "tgi": "safetensors",
    "mlx": "mlx",
}

# What a plan tries when nobody names a type, best first. Between two neighbours nothing is both
# smaller and better (mathcore.quant.quality): Q2_K, larger and worse than IQ2_M, is had by name.
# Of a model shipped in fewer than 16 bits only part is tried (mathcore.quant.ladder).
LADDERS: dict[str, tuple[str, ...]] = {
    "gguf": (
        "F16",
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q4_K_M",
        "IQ4_XS",
        "Q3_K_M",
        "IQ3_XXS",
        "IQ2_M",
        "IQ2_XXS",
        "IQ1_M",
        "IQ1_S",
    ),
    "safetensors": ("HF-BF16", "FP8", "AWQ"),
    "mlx": ("MLX-16bit", "MLX-8bit", "MLX-6bit", "MLX-4bit", "MLX-3bit", "MLX-2bit"),
}
# Formats that an engine of the family does not load: TGI has no kernels for them.
UNREAD: dict[str, tuple[str, ...]] = {
    "tgi": ("MXFP4", "MXFP8", "NVFP4", "FP8-BLOCK", "W4A16-EXPERTS", "MXFP4-FP8"),
}
# What a cache may be kept as, by the family of weights; vLLM's and TGI's q8_0 is their fp8.
CACHE_TYPES: dict[str, tuple[str, ...]] = {
    "gguf": GGML_CACHE_TYPES,
    "safetensors": ("f16", "bf16", "q8_0", "fp8", "fp8_e4m3", "fp8_e5m2", "int8"),
    "mlx": ("f16", "bf16", "q8", "q8_0", "q4", "q4_0"),
}
# Of these a plan tries the model's own 16 bits, and 8 where "auto" asks for a look at them.
AUTO = "auto"
CACHES: dict[str, tuple[str, ...]] = {
    "gguf": ("f16", "q8_0"),
    "safetensors": ("bf16", "fp8"),
    "mlx": ("f16", "q8"),
}
# Every name a question may use.
KV_TYPES: tuple[str, ...] = (*dict.fromkeys([t for ts in CACHE_TYPES.values() for t in ts]), AUTO)


def family_of(quant: str) -> str:
    """The family a quantisation's weights belong to; "" for one nobody knows."""
    return QUANTS.get(quant, "")


def bits_of(quant: str) -> int:
    """Bits per number of a safetensors or MLX format; 0 for a ggml type."""
    form = FORMATS.get(quant)
    return 0 if form is None else form.bits
