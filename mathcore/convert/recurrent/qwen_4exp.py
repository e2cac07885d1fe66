"""Qwen 3.8 Flash Next: Qwen 3.5's mixers between several residual streams, an indexer beside its
attention, and a table of n-grams read by one layer."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need, tied
from mathcore.convert.conversion import Conversion, matrix, vector
from mathcore.convert.recurrent.qwen_next import (
    delta_mixer,
    delta_net,
    expert_keys,
    gated_attention,
    mixture_layer,
    recurrent_layers,
    rope_sections,
    rotary_size,
)
from mathcore.convert.recurrent.ssm import ssm_keys
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields

MAX_STREAMS = 16
MAX_HEADS = 64  # of n-grams, each with a table of its own
# The loader wants the numbers of the hash; no size depends on them.
_MULTIPLIER = 1


def _streams(b: Build, i: int, wide: int, rank: int, count: int) -> None:
    """What mixes the streams before each half of a layer, and spreads its result over them."""
    for half in ("hc_attn", "hc_ffn"):
        b.norm(i, half + "_norm", size=wide)
        b.matrix(i, half + "_down", wide, rank)
        b.matrix(i, half + "_up", rank, wide)
        b.matrix(i, half + "_inject", wide, count)


def _indexer(b: Build, i: int, heads: int, size: int) -> None:
    b.matrix(i, "indexer.q_proj", b.s.hidden, heads * size)
    b.matrix(i, "indexer.k_proj", b.s.hidden, size)
    b.norm(i, "indexer.q_norm", size=size)
    b.norm(i, "indexer.k_norm", size=size)


def _ngrams(f: Fields, b: Build, wide: int) -> int:
    """The layer that reads the table, and its keys and tensors; -1 for a model without one."""
    value = f.values.get("ple_layer_ids")
    if value is None:
        return -1
    if not isinstance(value, list) or len(value) != 1:
        raise f.fault("ple_layer_ids", "more than one is not supported yet")
    place = f.integers("ple_layer_ids", 1, 1, b.s.layers)[0] - 1
    grams, each = f.integer("ngram_size", 2, 8), f.integer("heads_per_ngram", 1, MAX_HEADS)
    heads, rows = (grams - 1) * each, f.integer("ngram_vocab_size_base", 1, 1 << 30)
    size = f.integer("ple_embed_dim") // heads
    kernel = f.integer("ple_conv_kernel_size")
    b.key("ple.layers", [place])
    b.key("ple.ngram_size", grams)
    b.key("ple.heads_per_ngram", each)
    b.key("ple.conv_kernel", kernel)
    b.key("ple.eos_token_id", 0)
    b.key("embedding_length_per_layer_input", size)
    b.key("ple.layer_multipliers", [_MULTIPLIER] * grams)
    b.key("ple.head_offsets", [rows * head for head in range(heads)])
    b.key("ple.head_vocab_sizes", [rows] * heads)
    b.tensors.append(matrix("per_layer_token_embd.weight", size, rows * heads))
    b.matrix(place, "ple_key", b.s.hidden, wide)
    b.matrix(place, "ple_value", b.s.hidden, b.s.hidden)
    for name in ("ple_norm_key", "ple_norm_query", "ple_norm_conv"):
        b.norm(place, name, size=wide)
    b.matrix(place, "ple_conv1d", kernel, wide)
    return place


def _qwen4_exp(f: Fields) -> Conversion:
    need(f, "attention_bias", wanted=False, default=False)
    s = sizes(f, need_kv=True, need_head_dim=True, feed_forward="moe_intermediate_size")
    b = Build("qwen4exp", s, rotary_size(f, s.head_dim))
    count, rank = f.integer("hc_count", 2, MAX_STREAMS), f.integer("hc_lowrank")
    wide, m = count * s.hidden, delta_net(f)
    recurrent = recurrent_layers(f, s.layers)
    heads, size = f.integer("indexer_n_heads"), f.integer("indexer_head_dim")
    ratio = f.integer("indexer_compress_ratio")
    ssm_keys(b, m, grouped=True)
    b.key("attention.recurrent_layers", recurrent)
    b.key("hyper_connection.count", count)
    b.key("hyper_connection.low_rank", rank)
    b.key("attention.indexer.head_count", heads)
    b.key("attention.indexer.key_length", size)
    b.key("attention.indexer.top_k", f.integer("indexer_budget"))
    b.key("attention.compress_ratios", [0 if here else ratio for here in recurrent])
    rope_sections(b, f)
    expert_keys(b, f)
    _ngrams(f, b, wide)
    for i in range(s.layers):
        _streams(b, i, wide, rank, count)
        if recurrent[i]:
            delta_mixer(b, i, m, joined=False)
        else:
            gated_attention(b, i)
            _indexer(b, i, heads, size)
        mixture_layer(b, i, f)
    b.tensors.append(vector("output_hc_norm.weight", wide))
    b.tensors.append(matrix("output_hc_down.weight", wide, rank))
    b.tensors.append(matrix("output_hc_up.weight", rank, wide))
    return b.done(tied=tied(f, default=False), norm=False)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "qwen4_exp": _qwen4_exp,
    "qwen4_exp_text": _qwen4_exp,
}
