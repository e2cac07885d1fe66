"""Layers of architectures with plain attention only: full, sliding, chunked or shared.

Each reader mirrors `load_arch_hparams` of llama.cpp's src/models/<architecture>.cpp.
"""

from collections.abc import Callable

from mathcore.architectures.hparams import Hparams, make_layer
from mathcore.model.spec import AttentionKind, Layer

Reader = Callable[[Hparams], tuple[Layer, ...]]

_WINDOW = "attention.sliding_window"
_PATTERN = "attention.sliding_window_pattern"
# What llama.cpp sets itself, whatever the file says.
LLAMA4_CHUNK = 8192
SMALLTHINKER_WINDOW = 4096
GEMMA2_WINDOW = 4096  # unless the file says otherwise
GEMMA3N_OWN = 20  # layers with a cache of their own
EXAONE4_SLIDING_LAYERS = 64  # only the model of this depth slides


def full(h: Hparams) -> tuple[Layer, ...]:
    """Every layer keeps every token."""
    return tuple([make_layer(h, i, "full") for i in range(h.count)])


def windowed(
    h: Hparams, sliding: list[bool], window: int, kind: AttentionKind = "sliding"
) -> tuple[Layer, ...]:
    """Layers where `sliding` is true keep a window, the others every token."""
    return tuple([make_layer(h, i, kind if sliding[i] else "full", window) for i in range(h.count)])


def _optional(h: Hparams, period: int, *, dense_first: bool = False) -> tuple[Layer, ...]:
    """A window only where the file gives one above 0."""
    window = h.fields.integer_or(_WINDOW, 0, 0)
    if window == 0:
        return full(h)
    return windowed(h, h.sliding(period, dense_first=dense_first), window)


def _required(h: Hparams, period: int, *, dense_first: bool = False) -> tuple[Layer, ...]:
    window = h.fields.integer(_WINDOW)
    return windowed(h, h.sliding(period, dense_first=dense_first), window)


def _listed(h: Hparams) -> list[bool]:
    """The file's own list of sliding layers, which must be there."""
    sliding = h.pattern(_PATTERN)
    if sliding is None:
        raise h.fields.fault(_PATTERN, "is not a list")
    return sliding


def _by_list(h: Hparams) -> tuple[Layer, ...]:
    window = h.fields.integer(_WINDOW)
    return windowed(h, _listed(h), window)


def _optional_4(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 4)


def _optional_4_dense(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 4, dense_first=True)


def _optional_6(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 6)


def _optional_8(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 8)


def _required_2(h: Hparams) -> tuple[Layer, ...]:
    return _required(h, 2)


def _required_4(h: Hparams) -> tuple[Layer, ...]:
    return _required(h, 4)


def _required_4_dense(h: Hparams) -> tuple[Layer, ...]:
    return _required(h, 4, dense_first=True)


def _gemma2(h: Hparams) -> tuple[Layer, ...]:
    return windowed(h, h.sliding(2), h.fields.integer_or(_WINDOW, GEMMA2_WINDOW))


def _exaone4(h: Hparams) -> tuple[Layer, ...]:
    if h.count - h.draft != EXAONE4_SLIDING_LAYERS:
        return full(h)
    return windowed(h, h.sliding(4), h.fields.integer_or(_WINDOW, 4096))


def _llama4(h: Hparams) -> tuple[Layer, ...]:
    """Three chunked layers, one full; a window of 0 in the file makes all of them full."""
    if h.fields.has(_WINDOW) and h.fields.integer(_WINDOW, 0) == 0:
        return full(h)
    return windowed(h, h.sliding(4), LLAMA4_CHUNK, "chunked")


def _smallthinker(h: Hparams) -> tuple[Layer, ...]:
    if h.fields.integer_or(_WINDOW, 0, 0) == 0:
        return full(h)
    return windowed(h, h.sliding(4, dense_first=True), SMALLTHINKER_WINDOW)


def _shared(h: Hparams, sliding: list[bool], window: int, own: int) -> tuple[Layer, ...]:
    """The first `own` layers keep a cache; a later one reads the last of its kind."""
    out: list[Layer] = []
    for i in range(h.count):
        reads = -1 if i < own else own - (2 if sliding[i] else 1)
        kind: AttentionKind = "sliding" if sliding[i] else "full"
        out.append(make_layer(h, i, kind, window, reads, caches=i < own))
    return tuple(out)


def _gemma3n(h: Hparams) -> tuple[Layer, ...]:
    return _shared(h, h.sliding(5), h.fields.integer(_WINDOW), min(GEMMA3N_OWN, h.count))


def _gemma4(h: Hparams) -> tuple[Layer, ...]:
    shared = h.fields.integer_or("attention.shared_kv_layers", 0, 0, h.count)
    return _shared(h, _listed(h), h.fields.integer(_WINDOW), h.count - shared)


def _nothing(h: Hparams) -> tuple[Layer, ...]:
    """Diffusion models compute every token anew: no cache."""
    return tuple([make_layer(h, i, "none", caches=False) for i in range(h.count)])


# Every layer keeps every token, with plain K and V.
_FULL: tuple[str, ...] = (
    "apertus",
    "arcee",
    "arctic",
    "baichuan",
    "bailingmoe",
    "bailingmoe2",
    "bitnet",
    "bloom",
    "chameleon",
    "chatglm",
    "codeshell",
    "cogvlm",
    "command-r",
    "dbrx",
    "deci",
    "deepseek",
    "dots1",
    "ernie4_5",
    "ernie4_5-moe",
    "exaone",
    "falcon",
    "gemma",
    "glm4",
    "glm4moe",
    "gpt2",
    "gptj",
    "gptneox",
    "granite",
    "granitemoe",
    "grok",
    "grovemoe",
    "hunyuan-dense",
    "hunyuan-moe",
    "hunyuan_vl",
    "hy_v3",
    "internlm2",
    "jais",
    "jais2",
    "llama",
    "llama-embed",
    "maincoder",
    "minicpm",
    "minimax-m2",
    "mistral3",
    "mpt",
    "nemotron",
    "olmo",
    "olmoe",
    "openelm",
    "orion",
    "paddleocr",
    "pangu-embedded",
    "phi2",
    "phi3",
    "phimoe",
    "plamo",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "qwen3vlmoe",
    "refact",
    "seed_oss",
    "smollm3",
    "stablelm",
    "starcoder",
    "starcoder2",
    "talkie",
    "xverse",
)

READERS: dict[str, Reader] = {
    "afmoe": _optional_4,
    "cohere2": _required_4,
    "dream": _nothing,
    "cohere2moe": _required_4_dense,
    "exaone-moe": _required_4,
    "exaone4": _exaone4,
    "gemma2": _gemma2,
    "gemma3": _optional_6,
    "gemma3n": _gemma3n,
    "gemma4": _gemma4,
    "gpt-oss": _required_2,
    "granite_swa": _by_list,
    "laguna": _optional_4_dense,
    "llada": _nothing,
    "llada-moe": _nothing,
    "llama4": _llama4,
    "maple": _by_list,
    "mellum": _optional_4,
    "mimo2": _by_list,
    "muse-glimmer": _required_4,
    "olmo2": _optional_4,
    "plamo3": _optional_8,
    "rnd1": _nothing,
    "smallthinker": _smallthinker,
    "spark2_5": _by_list,
    "step35": _by_list,
}
for _arch in _FULL:
    READERS[_arch] = full
