"""Converters of families that remember otherwise than by plain K and V of every token.

`DRAFT_CONVERTERS` also write the multi-token-prediction layers llama.cpp can draft with; it skips
their tensors unless asked to, so the plain converters leave them out.
"""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.encoder import bert, t5
from mathcore.convert.latent import deepseek, deepseek_v4, deepseek_v32, hyper_connections
from mathcore.convert.recurrent import (
    hybrid,
    kimi,
    lfm2,
    mamba,
    minimax,
    nemotron_h,
    qwen_next,
    rwkv,
)
from mathcore.model.fields import Fields

Converter = Callable[[Fields], Conversion]

CONVERTERS: dict[str, Converter] = {
    **deepseek_v4.CONVERTERS,
    **deepseek.CONVERTERS,
    **qwen_next.CONVERTERS,
    **bert.CONVERTERS,
    **hybrid.CONVERTERS,
    **hyper_connections.CONVERTERS,
    **kimi.CONVERTERS,
    **minimax.CONVERTERS,
    **mamba.CONVERTERS,
    **nemotron_h.CONVERTERS,
    **rwkv.CONVERTERS,
    **lfm2.CONVERTERS,
    **deepseek_v32.CONVERTERS,
    **t5.CONVERTERS,
}

DRAFT_CONVERTERS: dict[str, Converter] = {
    **deepseek.DRAFT_CONVERTERS,
    **qwen_next.DRAFT_CONVERTERS,
    **nemotron_h.DRAFT_CONVERTERS,
    **deepseek_v32.DRAFT_CONVERTERS,
}
