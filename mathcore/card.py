"""Hugging Face config -> ModelSpec; refuses by field name what it cannot read.

An absent field is filled only where the library itself defines its value; never guessed.
"""

from mathcore.convert.conversion import Conversion
from mathcore.convert.registry import find_converter
from mathcore.fields import Fields
from mathcore.gguf_card import spec_from_parts
from mathcore.model import CardError, ModelSpec

# Where multimodal cards keep their language model.
_NESTED: tuple[str, ...] = ("text_config", "llm_config", "language_config")


def flatten(card: dict[str, object]) -> dict[str, object]:
    """The language model of a nested config, its own fields first."""
    for place in _NESTED:
        nested = card.get(place)
        if nested is None:
            continue
        if not isinstance(nested, dict):
            raise CardError(place, "is not an object")
        merged: dict[str, object] = dict(card)
        for key, value in nested.items():
            merged[str(key)] = value
        return merged
    return card


def convert(card: dict[str, object]) -> Conversion:
    """What llama.cpp's converter would write for this config; CardError names the field."""
    fields = Fields(flatten(card))
    model_type = fields.text("model_type")
    converter = find_converter(model_type)
    if converter is None:
        raise CardError("model_type", f"'{model_type}' is not supported yet")
    return converter(fields)


def spec_from_config(card: dict[str, object], name: str, source: str = "") -> ModelSpec:
    """A model from its config.json; CardError names the field that stops us."""
    found = convert(card)
    return spec_from_parts(found.metadata, found.tensors, name, source)
