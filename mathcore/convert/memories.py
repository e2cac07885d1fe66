"""Converters of families that remember otherwise than by plain K and V of every token.

`DRAFT_CONVERTERS` also write the multi-token-prediction layers llama.cpp can draft with; it skips
their tensors unless asked to, so the plain converters leave them out.
"""

from collections.abc import Callable

from mathcore.convert import (
    compressed,
    deepseek,
    delta,
    encoder,
    hybrid,
    hyper,
    kimi_linear,
    lightning,
    mamba,
    nemotron_h,
    rwkv,
    short_conv,
    sparse,
    t5,
)
from mathcore.convert.conversion import Conversion
from mathcore.model.fields import Fields

Converter = Callable[[Fields], Conversion]

CONVERTERS: dict[str, Converter] = {
    **compressed.CONVERTERS,
    **deepseek.CONVERTERS,
    **delta.CONVERTERS,
    **encoder.CONVERTERS,
    **hybrid.CONVERTERS,
    **hyper.CONVERTERS,
    **kimi_linear.CONVERTERS,
    **lightning.CONVERTERS,
    **mamba.CONVERTERS,
    **nemotron_h.CONVERTERS,
    **rwkv.CONVERTERS,
    **short_conv.CONVERTERS,
    **sparse.CONVERTERS,
    **t5.CONVERTERS,
}

DRAFT_CONVERTERS: dict[str, Converter] = {
    **deepseek.DRAFT_CONVERTERS,
    **delta.DRAFT_CONVERTERS,
    **nemotron_h.DRAFT_CONVERTERS,
    **sparse.DRAFT_CONVERTERS,
}
