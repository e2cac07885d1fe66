"""Engines a plan can choose from: whose weights each reads, and the quantisations worth trying."""

from mathcore.quant.formats import FORMATS, QUANTS

# Engine -> the family of weights it loads.
FAMILIES: dict[str, str] = {
    "llama.cpp": "gguf",
    "ollama": "gguf",
    "vllm": "safetensors",
    "tgi": "safetensors",
    "mlx": "mlx",
}
ENGINES: tuple[str, ...] = tuple(FAMILIES)

# What a plan tries when nobody names a type, best first. Between two neighbours nothing is both
# smaller and better (mathcore.quant.quality).
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
    ),
    "safetensors": ("HF-BF16", "FP8", "AWQ"),
    "mlx": ("MLX-16bit", "MLX-8bit", "MLX-6bit", "MLX-4bit"),
}
# Cache types: the model's own 16 bits unless "auto" asks for a look at 8, too.
AUTO = "auto"
CACHES: dict[str, tuple[str, ...]] = {
    "gguf": ("f16", "q8_0"),
    "safetensors": ("bf16", "fp8"),
    "mlx": ("f16", "q8"),
}


def family_of(quant: str) -> str:
    """Whose weights a quantisation makes; "" for one nobody knows."""
    return QUANTS.get(quant, "")


def bits_of(quant: str) -> int:
    """Bits per number of a safetensors or MLX format; 0 for a ggml type."""
    form = FORMATS.get(quant)
    return 0 if form is None else form.bits
