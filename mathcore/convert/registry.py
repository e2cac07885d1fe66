"""model_type -> the converter of its family, from all family modules.

`find_draft_converter` gives one that also writes the multi-token-prediction layers llama.cpp can
draft with. llama.cpp skips their tensors unless asked to, so the usual converters leave them out.
"""

from collections.abc import Callable

from mathcore.convert.conversion import Conversion
from mathcore.convert.dense import bitnet, deci, fused, gemma, glm, legacy, llama, openelm
from mathcore.convert.encoder import bert, t5
from mathcore.convert.experts import (
    afmoe,
    arctic,
    command_r,
    dbrx,
    ernie,
    exaone,
    grovemoe,
    laguna,
    llama4,
    mellum,
    mimo,
    moe,
    moe_shared,
    smallthinker,
    step3,
)
from mathcore.convert.latent import deepseek, deepseek_v4, deepseek_v32, hunyuan
from mathcore.convert.recurrent import (
    bailingmoe_v3,
    glm5next,
    hybrid,
    kimi,
    lfm2,
    mamba,
    minimax,
    nemotron_h,
    qwen_4exp,
    qwen_next,
    rwkv,
)
from mathcore.model.fields import Fields

Converter = Callable[[Fields], Conversion]

_CONVERTERS: dict[str, Converter] = {
    **bitnet.CONVERTERS,
    **deci.CONVERTERS,
    **fused.CONVERTERS,
    **gemma.CONVERTERS,
    **glm.CONVERTERS,
    **legacy.CONVERTERS,
    **llama.CONVERTERS,
    **openelm.CONVERTERS,
    **bert.CONVERTERS,
    **t5.CONVERTERS,
    **afmoe.CONVERTERS,
    **arctic.CONVERTERS,
    **command_r.CONVERTERS,
    **dbrx.CONVERTERS,
    **ernie.CONVERTERS,
    **exaone.CONVERTERS,
    **grovemoe.CONVERTERS,
    **laguna.CONVERTERS,
    **llama4.CONVERTERS,
    **mellum.CONVERTERS,
    **mimo.CONVERTERS,
    **moe.CONVERTERS,
    **moe_shared.CONVERTERS,
    **smallthinker.CONVERTERS,
    **step3.CONVERTERS,
    **deepseek.CONVERTERS,
    **deepseek_v32.CONVERTERS,
    **deepseek_v4.CONVERTERS,
    **hunyuan.CONVERTERS,
    **glm5next.CONVERTERS,
    **hybrid.CONVERTERS,
    **kimi.CONVERTERS,
    **lfm2.CONVERTERS,
    **bailingmoe_v3.CONVERTERS,
    **mamba.CONVERTERS,
    **minimax.CONVERTERS,
    **nemotron_h.CONVERTERS,
    **qwen_4exp.CONVERTERS,
    **qwen_next.CONVERTERS,
    **rwkv.CONVERTERS,
}

_DRAFTS: dict[str, Converter] = {
    **moe_shared.DRAFT_CONVERTERS,
    **deepseek.DRAFT_CONVERTERS,
    **deepseek_v32.DRAFT_CONVERTERS,
    **nemotron_h.DRAFT_CONVERTERS,
    **qwen_next.DRAFT_CONVERTERS,
}


# Published architectures that llama.cpp has no graph for (of b11549, and none proposed before it):
# what they keep per token and compute with is not known, so nothing is planned of them.
_NOT_IN_LLAMA_CPP: dict[str, str] = {
    "mllama": "cross attention to images (Llama 3.2 Vision)",
    "mllama_text_model": "cross attention to images (Llama 3.2 Vision)",
    "phi3small": "block-sparse attention (Phi-3 small)",
    "recurrent_gemma": "gated linear recurrence (RecurrentGemma, Griffin)",
    "rwkv5": "RWKV 5, of which it has 6 and 7 alone",
    "xlstm": "matrix memories (xLSTM)",
    "zamba": "attention shared among Mamba layers (Zamba)",
    "zamba2": "attention shared among Mamba layers (Zamba 2)",
}


def why_not(model_type: str) -> str:
    """What to say of a model_type that has no converter."""
    lacking = _NOT_IN_LLAMA_CPP.get(model_type, "")
    if lacking:
        return f"'{model_type}' is not supported: llama.cpp has no {lacking}"
    return f"'{model_type[:60]}' is not supported yet"


def model_types() -> list[str]:
    """Every model_type we can read, sorted."""
    return sorted(_CONVERTERS)


def find_converter(model_type: str) -> Converter | None:
    return _CONVERTERS.get(model_type)


def find_draft_converter(model_type: str) -> Converter | None:
    """The converter that also writes draft layers; None for a family without them."""
    return _DRAFTS.get(model_type)
