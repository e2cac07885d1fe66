"""Names people type: a model of the catalogue and, with it, how its weights are stored.

"llama3.1:8b-instruct-q8_0", "hf.co/org/Model-GGUF:Q4_K_M", "mlx-community/Model-4bit",
"Model-AWQ": words are taken off the end until a known model is left, and say the type. Nothing is
asked of any hub, so a repository is taken at its word.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, final

from mathcore.catalogue.models import Row, find_row, row_spec, rows
from mathcore.model.spec import ModelSpec
from mathcore.quant.formats import QUANTS
from mathcore.quant.gguf_tables import MIXES

MAX_NAME: Final = 400  # letters; the longest real one with owner, file and tag has about 150
# Where a repository's name may be preceded by its hub's.
_HUBS: Final = re.compile(
    r"^(?:https?://)?(?:hf\.co|huggingface\.co|modelscope\.cn/models|ollama\.com(?:/library)?)/"
)
# llama.cpp's own short names, and mixes of their makers: what each is planned as.
_SHORT: dict[str, str] = {
    "q3_k": "Q3_K_M",
    "q4_k": "Q4_K_M",
    "q5_k": "Q5_K_M",
    "fp16": "F16",
    "fp32": "F32",
}
_MIXED: dict[str, str] = {
    "q2_k_l": "Q2_K",
    "q2_k_xl": "Q2_K",
    "q3_k_xl": "Q3_K_L",
    "q4_k_l": "Q4_K_M",
    "q4_k_xl": "Q4_K_M",
    "q5_k_l": "Q5_K_M",
    "q5_k_xl": "Q5_K_M",
    "q6_k_l": "Q6_K",
    "q6_k_xl": "Q6_K",
    "q8_k_xl": "Q8_0",
}
_GGUF: dict[str, str] = {
    **{name.lower(): name for name in MIXES if name not in ("GGUF-NVFP4",)},
    **_SHORT,
    **_MIXED,
}
# Words that say how weights are stored without being a GGUF's type.
_STORED: Final = (
    "gguf awq gptq mlx bnb fp8 fp4 nvfp4 mxfp4 mxfp8 int4 int8 w4a16 w8a16 w8a8 bf16 autoround qat "
    "2bit 3bit 4bit 5bit 6bit 8bit q8 q4 q6 g32 g64 g128 gs32 gs64 gs128"
).split()
# Words beside them that change neither model nor size.
_BESIDE: Final = (
    "imat imatrix i1 ud dynamic block unsloth quantized dwq hf it instruct chat text latest model "
    "marlin channel kv mtp qwen-distill llama-distill"
).split()
# Words that say what bits mean: "bnb-4bit" is no MLX.
_OF_BITS: Final = frozenset("gguf awq gptq bnb autoround int4 int8 w4a16 w8a16 w8a8".split())
_WORD: Final = re.compile(
    r"[-._:]("
    + "|".join(sorted([*_GGUF, *_STORED, *_BESIDE], key=lambda word: (-len(word), word)))
    + r")$"
)
# Types that leave MXFP4 experts as they are.
_WIDER: Final = frozenset(("F32", "F16", "BF16", "Q8_0"))
# Publishers whose FP8 has a scale for each block of 128 x 128, as their configs say.
_BLOCK_FP8: Final = frozenset(
    "qwen deepseek-ai zai-org minimaxai moonshotai stepfun-ai xiaomimimo inclusionai".split()
)
_BITS: Final = re.compile(r"^([234568])bit$")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a name means: a row, the type of its weights, or at least who reads them."""

    row: Row
    quant: str = ""  # a name of QUANTS; "" = it does not say
    family: str = ""  # of weights; "" = any
    native: str = ""  # trained for this type (QAT); "" = as the row says
    note: str = ""  # what was taken for something else


def _bare(text: str) -> tuple[str, str]:
    """(owner, name) in lower case, without the hub."""
    name = _HUBS.sub("", text.strip().lower())
    owner, _, last = name.rpartition("/")
    return owner.rpartition("/")[2], last


def _squashed(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name)


_BY_LETTERS: dict[str, Row] = {}


def _row_of(name: str) -> Row | None:
    """The row of a name as it is, without its maker in front, or by its letters alone."""
    found = find_row(name)
    if found is None and "_" in name:  # "google_gemma-3-27b-it"
        found = find_row(name.partition("_")[2])
    if found is not None:
        return found
    if not _BY_LETTERS:
        for row in rows():
            for known in (row.name, *row.aliases):
                _BY_LETTERS.setdefault(_squashed(known.lower()), row)
    return _BY_LETTERS.get(_squashed(name))


def parse_named(text: str) -> Named | None:
    """The model a name means and the type it says; None for a model nobody here knows."""
    if len(text) > MAX_NAME:
        return None
    owner, name = _bare(text)
    words: list[str] = []
    row = _row_of(name)
    while row is None:
        found = _WORD.search(name)
        if found is None:
            return None
        words.append(found[1])
        name = name[: found.start()]
        row = _row_of(name)
    return _decided(row, words, owner)


def _decided(row: Row, words: list[str], owner: str) -> Named:
    said = set(words)
    qat = "Q4_0" if "qat" in said else ""
    mlx = "mlx" in said or owner == "mlx-community"
    stored = _mlx(said, plain=mlx) if mlx or not said & _OF_BITS else ""
    if stored or mlx:
        return Named(row=row, quant=stored, family="mlx", native=qat)
    typed = [word for word in words if word in _GGUF and (word != "bf16" or "gguf" in said)]
    if typed or "gguf" in said:
        return _gguf(row, typed, said, qat)
    quant = _safetensors(said, owner) or qat
    return Named(row=row, quant=quant, family=QUANTS.get(quant, ""), native=qat)


def _gguf(row: Row, typed: list[str], said: set[str], qat: str) -> Named:
    quant, note = _GGUF[typed[0]] if typed else "", ""
    if not typed and "mxfp4" in said:
        quant = "MXFP4_MOE"
    if not typed and said & {"nvfp4", "fp4"}:
        quant = "GGUF-NVFP4"
    if row.native == "MXFP4" and quant in _WIDER:
        note = f"the experts of a {quant} file of it are MXFP4 all the same, planned as MXFP4_MOE"
        quant = "MXFP4_MOE"
    elif typed and (typed[0] in _MIXED or "ud" in said):
        mix = f"{'UD-' if 'ud' in said else ''}{typed[0].upper()}"
        note = f"{mix} is a mix of its maker's own, planned as {quant}"
    return Named(row=row, quant=quant, family="gguf", native=qat, note=note)


def _mlx(said: set[str], *, plain: bool) -> str:
    """The MLX type of a name; "" where it says none. `plain`: 16 bits may be meant."""
    if plain and "mxfp4" in said:
        return "MLX-mxfp4-q8" if "q8" in said else "MLX-mxfp4"
    for word in ("nvfp4", "mxfp8"):
        if plain and word in said:
            return f"MLX-{word}"
    for word in sorted(said):
        bits = _BITS.match(word)
        if bits:
            group = "-g32" if said & {"g32", "gs32"} else ""
            name = f"MLX-{bits[1]}bit{group}"
            return name if name in QUANTS else f"MLX-{bits[1]}bit"
    return "MLX-16bit" if plain and said & {"bf16", "fp16"} else ""


def _safetensors(said: set[str], owner: str) -> str:
    """The type of a repository for vLLM, by the words in its name; "" where they say none."""
    eight = bool(said & {"8bit", "int8"})
    if "awq" in said:
        return "AWQ-G64" if said & {"g64", "gs64"} else "AWQ-G32" if said & {"g32"} else "AWQ"
    if said & {"gptq", "autoround"}:
        return "GPTQ-INT8" if eight else "GPTQ-INT4"
    if "bnb" in said:
        return "INT8" if eight else "NF4-DQ"
    if "fp8" in said:
        blocks = "block" in said or owner in _BLOCK_FP8
        return "FP8-BLOCK" if blocks else "FP8-ROW" if "dynamic" in said else "FP8"
    for word, quant in _PLAIN:
        if word in said:
            return quant
    return ""


_PLAIN: tuple[tuple[str, str], ...] = (
    ("nvfp4", "NVFP4"),
    ("mxfp4", "MXFP4"),
    ("mxfp8", "MXFP8"),
    ("fp4", "NVFP4"),
    ("w4a16", "W4A16"),
    ("w8a16", "W8A16"),
    ("w8a8", "INT8"),
    ("int4", "W4A16"),
    ("int8", "INT8"),
    ("bf16", "HF-BF16"),
)


def find_named(text: str) -> ModelSpec | None:
    """The model a name means, stored as it says; None for one nobody here knows."""
    found = parse_named(text)
    if found is None:
        return None
    spec = row_spec(found.row)
    if not (found.quant or found.family or found.native):
        return spec
    return replace(
        spec,
        quant=found.quant,
        family=found.family,
        native=found.native or spec.native,
        notes=(found.note,) if found.note else (),
    )
