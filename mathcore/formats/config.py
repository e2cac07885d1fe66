"""Hugging Face config -> ModelSpec; refuses by field name what it cannot read.

An absent field is filled only where the library itself defines its value; never guessed.
"""

from mathcore.convert.conversion import Conversion
from mathcore.convert.defaults import with_defaults
from mathcore.convert.registry import find_converter, find_draft_converter
from mathcore.formats.gguf import spec_from_parts
from mathcore.model.fields import Fields
from mathcore.model.spec import ModelSpec, SpecError

# Where multimodal configs keep their language model; a speaking one keeps it in its thinker.
_NESTED: tuple[str, ...] = ("thinker_config", "text_config", "llm_config", "language_config")
MAX_DEPTH = 4  # of configs in configs; real ones have two
# Where a config says what type a recurrent state is kept in (Nemotron 3; Qwen3.5), and its bytes.
_STATE_KEYS: tuple[str, ...] = ("mamba_ssm_cache_dtype", "mamba_ssm_dtype")
_STATE_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 0}


def _inner(config: dict[str, object]) -> dict[str, object] | None:
    """The config inside this one, if there is one."""
    for place in _NESTED:
        nested = config.get(place)
        if nested is None:
            continue
        if not isinstance(nested, dict):
            raise SpecError(place, "is not an object")
        return {str(key): value for key, value in nested.items()}
    return None


def flatten(config: dict[str, object]) -> dict[str, object]:
    """The language model of a nested config, its own fields and its class's defaults first."""
    found = dict(config)
    for _ in range(MAX_DEPTH):
        nested = _inner(found)
        if nested is None:
            return found
        for place in _NESTED:
            found.pop(place, None)
        found.update(with_defaults(nested))
    raise SpecError("text_config", f"is nested more than {MAX_DEPTH} deep")


def convert(config: dict[str, object], *, draft: bool = False) -> Conversion:
    """What llama.cpp's converter would write for this config; SpecError names the field.

    `draft`: with the layers it can draft with, which a context without drafting does not use.
    """
    fields = Fields(flatten(config))
    model_type = fields.text("model_type")
    converter = find_draft_converter(model_type) if draft else None
    if converter is None:
        converter = find_converter(model_type)
    if converter is None:
        raise SpecError("model_type", f"'{model_type}' is not supported yet")
    return converter(fields)


def _state_bytes(fields: Fields) -> int:
    """Bytes of a recurrent state's number where the config names its type, else 0."""
    for key in _STATE_KEYS:
        if fields.has(key):
            name = fields.text(key)
            if name not in _STATE_BYTES:
                raise fields.fault(key, f"'{name}' is not a type a state is kept in")
            return _STATE_BYTES[name]
    return 0


def spec_from_config(
    config: dict[str, object], name: str, source: str = "", *, draft: bool = False
) -> ModelSpec:
    """A model from its config.json; SpecError names the field that stops us."""
    found = convert(config, draft=draft)
    state_bytes = _state_bytes(Fields(flatten(config)))
    return spec_from_parts(found.metadata, found.tensors, name, source, state_bytes=state_bytes)
