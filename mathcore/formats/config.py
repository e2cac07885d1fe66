"""Hugging Face config -> ModelSpec; refuses by field name what it cannot read.

An absent field is filled only where the library itself defines its value; never guessed.
"""

from dataclasses import replace

from mathcore.convert.conversion import Conversion
from mathcore.convert.defaults import with_defaults
from mathcore.convert.normal import normal
from mathcore.convert.projector import parts_of
from mathcore.convert.registry import find_converter, find_draft_converter, why_not
from mathcore.convert.rope import scaled_context
from mathcore.formats.gguf import spec_from_parts
from mathcore.formats.native import translated
from mathcore.model.fields import Fields
from mathcore.model.spec import ModelSpec, SpecError
from mathcore.quant.config import quant_of_config
from mathcore.quant.formats import FORMATS

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
    return _converted(config_fields(config), draft=draft)


def config_fields(config: dict[str, object]) -> Fields:
    """The language model's own fields, under Hugging Face's names."""
    return Fields(normal(flatten(translated(config))))


def _converted(fields: Fields, *, draft: bool) -> Conversion:
    model_type = fields.text("model_type")
    converter = find_draft_converter(model_type) if draft else None
    if converter is None:
        converter = find_converter(model_type)
    if converter is None:
        raise SpecError("model_type", why_not(model_type))
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
    fields = config_fields(config)
    found = _converted(fields, draft=draft)
    spec = spec_from_parts(
        found.metadata, found.tensors, name, source, state_bytes=_state_bytes(fields)
    )
    spec = replace(
        spec,
        scaled_length=scaled_context(fields, spec.context_length),
        native=native_of(fields) or spec.native,
    )
    return with_parts(spec, config)


def native_of(fields: Fields) -> str:
    """The format below 16 bits a config ships; "" for none, and for a mix that has no name."""
    try:
        if fields.has("expert_dtype") and fields.text("expert_dtype") == "fp4":
            return "MXFP4-FP8"  # DeepSeek V4, whose quantization_config tells of the rest
        named = quant_of_config(fields)
    except SpecError:
        return ""
    return named if named in FORMATS and FORMATS[named].scale_bits > 0 else ""


def with_parts(spec: ModelSpec, config: dict[str, object]) -> ModelSpec:
    """The same model with what a whole config says stands beside its language model."""
    projector, unread = parts_of(config)
    if projector is None and not unread:
        return spec
    return replace(spec, projector=projector, unread=unread)
