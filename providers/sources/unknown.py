"""What to say of a model nobody here knows: the names near it, and what can be given instead."""

import difflib
import re
from typing import Final

from mathcore.catalogue.models import find_model, model_names
from mathcore.quant.formats import QUANTS
from providers.base import ModelError

ELSE: Final = "else a .gguf by path or URL, a folder with a config.json, or ollama:NAME"
MAX_NEAR: Final = 3
CUTOFF: Final = 0.7  # how alike two names are; below it suggestions are noise
# What publishers add to a model's name: how it was tuned, and how it is stored.
_ADDED: Final = re.compile(
    r"[-._](gguf|awq|gptq|mlx|exl2|fp8|fp4|nvfp4|mxfp4|int4|int8|w4a16|[348]bit|bf16|bnb|hf|instruct|chat|it)$"
)
_TAIL: Final = re.compile(r"[-._:](?P<type>[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)$")


def unknown(ref: str) -> ModelError:
    """The error for a reference that is no file and no known name."""
    base, quant = taken_apart(ref)
    close = near(base)
    weights = f" --quant {quant}" if quant else ""
    if not close:
        hint = f"fleet models lists the known names; {ELSE}"
    elif len(close) == 1:
        hint = f"say {close[0]}{weights}; {ELSE}"
    else:
        hint = f"did you mean {', '.join(close)}?{f' with{weights}' if quant else ''} {ELSE}"
    if ":" in ref and "/" not in ref and quant:
        hint = hint.replace("ollama:NAME", f"ollama:{ref}, the file Ollama has")
    return ModelError(f"unknown model: {ref}", hint)


def taken_apart(ref: str) -> tuple[str, str]:
    """(the model, the type of weights named with it or "") of "owner/Model-GGUF:Q4_K_M"."""
    base, quant = ref.rpartition("/")[2], ""
    known = {name.lower(): name for name in QUANTS}
    while found := _TAIL.search(base):
        if found["type"].lower() in known:
            quant = known[found["type"].lower()]
            base = base[: found.start()]
        elif added := _ADDED.search(base.lower()):
            base = base[: added.start()]
        else:
            break
    return base, quant


def near(base: str) -> list[str]:
    """At most three known names like this one, each of another model; the exact one alone."""
    names: dict[str, str] = {}
    for name in model_names():
        names.setdefault(_letters(name), name)
    wanted = _letters(base)
    if wanted in names:
        return [names[wanted]]
    found: list[str] = []
    seen: set[str] = set()
    for letters in difflib.get_close_matches(wanted, list(names), 4 * MAX_NEAR, CUTOFF):
        spec = find_model(names[letters])
        if spec is not None and spec.name not in seen:
            seen.add(spec.name)
            found.append(names[letters])
    return found[:MAX_NEAR]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower())
