"""Which model a row means, and which quantisation: tables name them as files and threads do."""

import json
import re
from functools import cache
from pathlib import Path

from mathcore.catalogue.models import find_model, find_row
from mathcore.formats.config import spec_from_config
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.names import canonical_quant
from mathcore.quant.weights import weigh

# Fine-tunes and repackings whose layers and sizes are another model's.
SAME_AS: dict[str, str] = {
    "shisa-v2-llama3.1-8b": "llama-3.1-8b",
    "shisa-v2-llama3.3-70b": "llama-3.3-70b",
    "unsloth_deepseek-r1-bf16": "deepseek-r1",
    "deepseek-r1-bf16": "deepseek-r1",
    "deepseek-v3-0324-bf16": "deepseek-v3",
    "qwen3-235b-a22b-128k": "qwen3-235b-a22b",
    "gemma-3-27b-it-qat": "gemma-3-27b",
    "deepseek-v2.5-1210": "deepseek-v2.5",
    "minimax-m2.7-awq": "minimax-m2.7",
    "gemma-4-31b-nvfp4": "gemma-4-31b",
    "gemma-4-31b-it-nvfp4": "gemma-4-31b",
    "qwen3.8-27b": "qwen3.6-27b",
    "qwen3.6-35b": "qwen3.6-35b-a3b",
    "nemotron-3-nano": "nemotron-3-nano-30b-a3b",
    "thinkingcap-qwen3.6-27b": "qwen3.6-27b",
    "tess-4-35b-a3b": "qwen3.6-35b-a3b",
    "tess-4-27b": "qwen3.6-27b",
    "qwopus3.6-27b-coder": "qwen3.6-27b",
    "qwopus3.6-35b-a3b-v1": "qwen3.6-35b-a3b",
    "meta-llama-3.1-8b": "llama-3.1-8b",
    "godot-gemma-4-e4b": "gemma-4-e4b",
    "gemma4-31b": "gemma-4-31b",
    "qwen3.6-27b-ud": "qwen3.6-27b",
    "gemma-4-26b-a4b-qat": "gemma-4-26b-a4b",
    "deepcoder-14b-preview": "qwen2.5-14b",
}
_PART = re.compile(r"-0000\d-of-0000\d")
_TYPE = re.compile(r"(?i)[-_.](UD-)?(i1-)?(IQ|Q|F|BF|TQ|MXFP)\d\w*$")
_PACKING = re.compile(r"(?i)[-_]?(i1-)?(GGUF|MLX-\dbit)$")
_TUNED = re.compile(r"(?i)-(MTP|qat|Instruct|it|BF16|FP8)(?=-|$)")
# How llama.cpp's log writes a file type -> its name.
_LOGGED: dict[str, str] = {
    "Q4_K - Medium": "Q4_K_M",
    "(Scout) Q4_K - Medium": "Q4_K_M",
    "Q5_K - Medium": "Q5_K_M",
    "Q5_K - Small": "Q5_K_S",
    "Q3_K - Medium": "Q3_K_M",
    "Q2_K - Medium": "Q2_K",
    "Q4_K_XL": "Q4_K_M",
    "UD-Q4_K_XL": "Q4_K_M",
    "UD-Q6_K_XL": "Q6_K",
}


def base_name(text: str) -> str:
    """A model's name without its publisher, parts, type, packing and tuning."""
    name = _PART.sub("", text.rpartition("/")[2]).removesuffix(".gguf")
    name = _PACKING.sub("", _TYPE.sub("", name))
    return _TUNED.sub("", name).strip().replace(" ", "-").lower()


@cache
def spec_of(text: str, configs: Path | None) -> ModelSpec | None:
    """The model a row names: by the catalogue, else by a file of `configs`; None = unknown."""
    for name in (text, base_name(text), SAME_AS.get(base_name(text), "")):
        found = find_model(name) if name else None
        if found is not None:
            return found
    if configs is not None:
        for path in sorted(configs.glob("*.json")):
            if base_name(path.stem.replace("__", "/")) == base_name(text):
                try:
                    return spec_from_config(json.loads(path.read_text()), path.stem)
                except SpecError:
                    return None
    return None


# Architectures whose files hold the layers to draft with, which a plain context never loads.
DRAFT_IN_FILE: tuple[str, ...] = ("glm4moe",)


@cache
def draft_bytes(text: str, quant: str) -> int:
    """Bytes of a file that a context without drafting does not load."""
    row = find_row(text) or find_row(base_name(text))
    if row is None:
        return 0
    plain = spec_from_config(row.config, row.name)
    if plain.architecture not in DRAFT_IN_FILE:
        return 0
    whole = spec_from_config(row.config, row.name, draft=True)
    return weigh(whole, quant).total_bytes - weigh(plain, quant).total_bytes


def quant_of(text: str) -> str:
    """The name of a logged type; "" where it is none of llama.cpp's."""
    return _LOGGED.get(text) or canonical_quant(text) or ""
