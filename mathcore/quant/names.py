"""Names of quantisations as people write them: in any case, misspelt, or of another engine."""

from mathcore.quant.families import ENGINES, FAMILIES, LADDERS, family_of
from mathcore.quant.formats import FORMATS, QUANTS
from mathcore.quant.ggml import BLOCKS
from mathcore.quant.gguf_tables import MIXES

MAX_SHOWN = 32  # letters of a wrong name that an answer repeats
MAX_GUESSES = 3
CLOSE = 0.6  # difflib's ratio from which a name is worth suggesting

# The same numbers under each family's name for them: gguf, safetensors, mlx.
_ALIKE: tuple[dict[str, str], ...] = (
    {"gguf": "MXFP4_MOE", "safetensors": "MXFP4", "mlx": "MLX-mxfp4"},
    {"gguf": "GGUF-NVFP4", "safetensors": "NVFP4", "mlx": "MLX-nvfp4"},
    {"gguf": "BF16", "safetensors": "HF-BF16", "mlx": "MLX-16bit"},
    {"gguf": "F16", "safetensors": "HF-F16", "mlx": "MLX-16bit"},
    {"gguf": "F32", "safetensors": "HF-F32"},
    {"safetensors": "MXFP8", "mlx": "MLX-mxfp8"},
)


def _key(text: str) -> str:
    """A name without case and separators: "q4km" for "Q4_K_M", "q4-k-m" and "Q4 K M"."""
    return "".join([letter for letter in text.casefold() if letter.isalnum()])


_BY_KEY: dict[str, str] = {_key(name): name for name in QUANTS}


def canonical_quant(text: str) -> str | None:
    """The name in QUANTS that `text` spells, whatever its case and separators; None = no name."""
    return _BY_KEY.get(_key(text))


def did_you_mean(text: str, family: str = "") -> tuple[str, ...]:
    """Up to three names spelt like `text`, the likest first; of one family's weights if given."""
    import difflib  # only a wrong name needs it

    known = [key for key, name in _BY_KEY.items() if family in ("", family_of(name))]
    found = difflib.get_close_matches(_key(text)[:MAX_SHOWN], known, MAX_GUESSES, CLOSE)
    return tuple([_BY_KEY[key] for key in found])


def bits_per_number(quant: str) -> float:
    """Bits per number of most matrices, a block's scales counted for ggml types only."""
    if quant in FORMATS:
        return float(FORMATS[quant].bits)
    elements, size = BLOCKS[MIXES[quant].base]
    return 8.0 * size / elements


def counterpart(quant: str, family: str) -> str:
    """What another family has instead: the same numbers, else the nearest bits of its ladder."""
    for alike in _ALIKE:
        if quant in alike.values() and family in alike:
            return alike[family]
    bits, best = bits_per_number(quant), LADDERS[family][0]
    for name in LADDERS[family]:
        if abs(bits_per_number(name) - bits) < abs(bits_per_number(best) - bits):
            best = name
    return best


def _and(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else "".join(names)


def family_advice(text: str, family: str = "") -> str:
    """As `quant_advice`, for all engines that load one family of weights."""
    name = canonical_quant(text)
    if name is None or (name != text and family in ("", family_of(name))):
        guesses = [name] if name else [*did_you_mean(text, family)]
        return f"did you mean {_and(guesses)}?" if guesses else ""
    if family in ("", family_of(name)):
        return ""
    theirs = _and([engine for engine in ENGINES if FAMILIES[engine] == family_of(name)])
    ours = _and([engine for engine in ENGINES if FAMILIES[engine] == family])
    return f"{name} is for {theirs}; for {ours} there is {counterpart(name, family)}"


def quant_advice(text: str, engine: str = "") -> str:
    """What to say of a type asked of `engine`: the right spelling, or what that engine has instead.

    "" for a name that is right, for one like no other, and for an engine nobody knows.
    """
    if engine and engine not in FAMILIES:
        return ""
    return family_advice(text, FAMILIES[engine] if engine else "")
