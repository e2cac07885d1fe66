"""model_type -> the converter of its family, from all family modules."""

from collections.abc import Callable

from mathcore.convert import memories
from mathcore.convert.conversion import Conversion
from mathcore.convert.dense import deci, fused, gemma, glm, legacy, llama
from mathcore.convert.experts import laguna, llama4, mimo, moe, moe_shared
from mathcore.model.fields import Fields

Converter = Callable[[Fields], Conversion]

_CONVERTERS: dict[str, Converter] = {
    **deci.CONVERTERS,
    **llama.CONVERTERS,
    **fused.CONVERTERS,
    **gemma.CONVERTERS,
    **glm.CONVERTERS,
    **legacy.CONVERTERS,
    **moe.CONVERTERS,
    **mimo.CONVERTERS,
    **llama4.CONVERTERS,
    **moe_shared.CONVERTERS,
    **laguna.CONVERTERS,
    **memories.CONVERTERS,
}


_DRAFTS: dict[str, Converter] = {**memories.DRAFT_CONVERTERS, **moe_shared.DRAFT_CONVERTERS}


def model_types() -> list[str]:
    """Every model_type we can read, sorted."""
    return sorted(_CONVERTERS)


def find_converter(model_type: str) -> Converter | None:
    return _CONVERTERS.get(model_type)


def find_draft_converter(model_type: str) -> Converter | None:
    """As above with the draft layers of a family that has some."""
    return _DRAFTS.get(model_type)
