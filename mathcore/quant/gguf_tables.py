"""llama.cpp's quantiser as tables: which tensors of a file type get another block type.

Facts of llama_tensor_get_type and tensor_allows_quantization (llama.cpp src/llama-quant.cpp)
without an importance matrix, but for IQ3_XXS, which cannot be made without one (with one IQ4_NL
and IQ4_XS come out about 1 % smaller, Q4_0 and Q5_0 larger). A file type is a base type and
exceptions by what a tensor is for, where its layer stands, how many query heads share a KV head,
and how many experts there are.
"""

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Types of a file type: of most matrices, of the output layer, of an untied embedding."""

    base: str
    output: str = "Q6_K"
    embedding: str = ""  # the base


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Types of one kind of tensor by its place, the first that applies; "" = the base.

    `first`: the first `count` of them, or the first 1/`share`. `more`: where llama.cpp uses more
    bits: the first and last eighth and every third between. `shared`: models in which four query
    heads or more share a KV head.
    """

    first: str = ""
    count: int = 0
    share: int = 0
    shared: str = ""
    more: str = ""
    rest: str = ""


MIXES: dict[str, Mix] = {
    "F32": Mix(base="F32"), "F16": Mix(base="F16"), "BF16": Mix(base="BF16"),
    "Q4_0": Mix(base="Q4_0"), "Q4_1": Mix(base="Q4_1"),
    "Q5_0": Mix(base="Q5_0"), "Q5_1": Mix(base="Q5_1"),
    "Q8_0": Mix(base="Q8_0", output="Q8_0"),
    "Q2_K": Mix(base="Q2_K"), "Q2_K_S": Mix(base="Q2_K"),
    "Q3_K_S": Mix(base="Q3_K"), "Q3_K_M": Mix(base="Q3_K"), "Q3_K_L": Mix(base="Q3_K"),
    "Q4_K_S": Mix(base="Q4_K"), "Q4_K_M": Mix(base="Q4_K"),
    "Q5_K_S": Mix(base="Q5_K"), "Q5_K_M": Mix(base="Q5_K"),
    "Q6_K": Mix(base="Q6_K"),
    "IQ1_S": Mix(base="IQ1_S", output="Q5_K", embedding="Q2_K"),
    "IQ1_M": Mix(base="IQ1_M", output="Q5_K", embedding="Q2_K"),
    "IQ2_XXS": Mix(base="IQ2_XXS", output="Q5_K", embedding="Q2_K"),
    "IQ2_XS": Mix(base="IQ2_XS", output="Q5_K", embedding="Q2_K"),
    "IQ2_S": Mix(base="IQ2_XS", output="Q5_K", embedding="IQ3_S"),
    "IQ2_M": Mix(base="IQ2_S", output="Q5_K", embedding="IQ3_S"),
    "IQ3_XXS": Mix(base="IQ3_XXS", output="Q5_K", embedding="IQ3_S"),
    "IQ3_XS": Mix(base="IQ3_S"), "IQ3_S": Mix(base="IQ3_S"), "IQ3_M": Mix(base="IQ3_S"),
    "IQ4_NL": Mix(base="IQ4_NL"), "IQ4_XS": Mix(base="IQ4_XS"),
    "TQ1_0": Mix(base="TQ1_0", embedding="Q4_K"), "TQ2_0": Mix(base="TQ2_0", embedding="Q4_K"),
    "Q1_0": Mix(base="Q1_0"), "Q2_0": Mix(base="Q2_0", embedding="Q4_K"),
    "MXFP4_MOE": Mix(base="MXFP4", output="Q8_0"),
    "GGUF-NVFP4": Mix(base="NVFP4"),
}  # fmt: skip

# The file types under two and a half bits have rules of their own: one or two steps up.
LOWEST: dict[str, str] = {
    "IQ1_S": "Q2_K", "IQ1_M": "Q2_K", "IQ2_XXS": "Q2_K", "IQ2_XS": "Q2_K",
    "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S",
}  # fmt: skip
LOWEST_OUT: dict[str, str] = {
    "IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S",
}  # fmt: skip

V: dict[str, Rule] = {
    "Q2_K": Rule(shared="Q4_K", rest="Q3_K"),
    "Q2_K_S": Rule(shared="Q4_K"),
    "IQ3_XXS": Rule(shared="Q4_K"),
    "IQ3_XS": Rule(shared="Q4_K"),
    "IQ3_S": Rule(shared="Q4_K"),
    "IQ3_M": Rule(rest="Q4_K"),
    "Q3_K_M": Rule(first="Q5_K", count=2, rest="Q4_K"),
    "Q3_K_L": Rule(rest="Q5_K"),
    "IQ4_NL": Rule(shared="Q5_K"),
    "IQ4_XS": Rule(shared="Q5_K"),
    "Q4_K_M": Rule(more="Q6_K"),
    "Q5_K_M": Rule(more="Q6_K"),
    "Q4_K_S": Rule(first="Q5_K", count=4),
}
DOWN: dict[str, Rule] = {
    "Q2_K": Rule(rest="Q3_K"),
    "Q2_K_S": Rule(first="Q4_K", share=8),
    "IQ3_M": Rule(first="Q4_K", share=8),
    "Q3_K_M": Rule(first="Q5_K", share=16, rest="Q4_K"),
    "Q3_K_L": Rule(rest="Q5_K"),
    "IQ4_NL": Rule(first="Q5_K", share=8),
    "IQ4_XS": Rule(first="Q5_K", share=8),
    "Q4_K_M": Rule(more="Q6_K"),
    "Q5_K_M": Rule(more="Q6_K"),
    "Q4_K_S": Rule(first="Q5_K", share=8),
}
DOWN_FALCON: dict[str, Rule] = {
    "Q3_K_M": Rule(first="Q5_K", share=16, more="Q4_K"),
    "Q3_K_L": Rule(rest="Q4_K"),
    "Q4_K_M": Rule(first="Q6_K", share=16, more="Q5_K"),
    "Q4_K_S": Rule(),
}
OUT: dict[str, str] = {
    "Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K",
}  # fmt: skip
# With eight experts attention is a small part of the file, and is kept better.
OUT_OF_EIGHT: tuple[str, ...] = (
    "Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S",
    "IQ3_M", "IQ4_XS",
)  # fmt: skip
QK: dict[str, str] = {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}

# What a row that is no whole number of blocks is stored as instead; F16 if that does not fit
# either. Types of 32 have none but F16, those not named here make the quantiser stop.
FALLBACK: dict[str, str] = {
    "IQ1_S": "IQ4_NL", "IQ1_M": "IQ4_NL", "IQ2_XXS": "IQ4_NL", "IQ2_XS": "IQ4_NL",
    "IQ2_S": "IQ4_NL", "IQ3_XXS": "IQ4_NL", "IQ3_S": "IQ4_NL", "IQ4_XS": "IQ4_NL",
    "Q2_0": "Q4_0", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0",
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip

# (architecture, layers) of llama.cpp's "70B" models, whose V is small and gets more bits.
SEVENTY: tuple[tuple[str, int], ...] = (
    ("llama", 80), ("qwen2", 80), ("deci", 80), ("olmo", 80), ("jais2", 68),
)  # fmt: skip

# Parts of names of matrices that are never quantised: too small, or too sensitive.
KEPT: tuple[str, ...] = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel",
    "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
    "indexer.q_proj.weight", "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight",
    "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight",
    "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
    "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd", ".rel_pos",
    ".patch_embd", ".patch_merger",
)  # fmt: skip
KEPT_WHOLE: tuple[str, ...] = ("position_embd.weight", "token_types.weight")
ROLES: tuple[tuple[str, str], ...] = (
    ("attn_qkv.weight", "v"), ("attn_kv_b.weight", "v"), ("attn_v.weight", "v"),
    ("attn_k.weight", "k"), ("attn_q.weight", "q"), ("attn_output.weight", "out"),
    ("ffn_up", "wide"), ("ffn_gate", "wide"), ("ffn_down", "down"),
)  # fmt: skip
