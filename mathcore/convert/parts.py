"""What every converter is made of: the sizes of a config and the blocks of a decoder layer.

Tensor names and shapes are those llama.cpp's loader asks for (src/models), keys those of gguf-py.
"""

from dataclasses import dataclass
from typing import final

from mathcore.convert.conversion import Conversion, matrix, stacked, vector
from mathcore.model.fields import MAX_LAYERS, Fields
from mathcore.model.spec import Tensor

# The loader wants one; no size depends on it.
_EPSILON = 1e-5
# Fields that mean another kind of layer than a dense decoder's.
_FOREIGN: tuple[str, ...] = (
    "kv_lora_rank",
    "num_experts",
    "num_local_experts",
    "n_routed_experts",
    "state_size",
    "ssm_state_size",
    "mamba_d_state",
    "linear_num_value_heads",
    "linear_attn_config",
    "attention_chunk_size",
    "block_configs",
    "num_kv_shared_layers",
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a decoder. `feed_forward` 0 where the family has no dense one."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    context: int

    @property
    def q(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head_dim


def head_size(f: Fields, hidden: int, heads: int, field: str = "num_attention_heads") -> int:
    """hidden / heads, which must divide."""
    if hidden % heads != 0:
        raise f.fault(field, f"{heads} does not divide the hidden size {hidden}")
    return hidden // heads


def kv_heads_of(f: Fields, heads: int, required: bool) -> int:
    """KV heads: as many as heads when absent and not `required`."""
    kv = (
        f.integer("num_key_value_heads") if required else f.integer_or("num_key_value_heads", heads)
    )
    if heads % kv != 0:
        raise f.fault("num_key_value_heads", f"{kv} does not divide {heads} heads")
    return kv


def sizes(
    f: Fields,
    need_kv: bool = False,
    need_head_dim: bool = False,
    feed_forward: str = "intermediate_size",
) -> Sizes:
    """The usual field names. `need_*`: the library's own default is no function of other fields.

    `feed_forward` names the dense width's field, "" for none.
    """
    hidden, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    kv = kv_heads_of(f, heads, need_kv)
    given = need_head_dim or f.has("head_dim")
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv,
        head_dim=f.integer("head_dim") if given else head_size(f, hidden, heads),
        feed_forward=f.integer(feed_forward) if feed_forward else 0,
        context=trained_context(f),
    )


def trained_context(f: Fields) -> int:
    """The length it was trained for, under any of its names; 0 when the card does not say."""
    for name in ("max_position_embeddings", "model_max_length", "max_sequence_length"):
        if f.has(name):
            return f.integer(name)
    return 0


def legacy_sizes(f: Fields, feed_forward: int, kv_heads: int, context: str) -> Sizes:
    """The field names of GPT-2's time: n_embd, n_head, n_layer. Width and KV heads are given."""
    hidden, heads = f.integer("n_embd"), f.integer("n_head")
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layer", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_size(f, hidden, heads, "n_head"),
        feed_forward=feed_forward,
        context=f.integer_or(context, 0),
    )


@final
class Build:
    """A conversion in the making: tensors in order, and the keys every family writes."""

    def __init__(self, arch: str, s: Sizes, rotated: int = -1) -> None:
        """`rotated`: numbers of a head that rope turns, all of them when -1."""
        self.arch = arch
        self.s = s
        self.tensors: list[Tensor] = [matrix("token_embd.weight", s.hidden, s.vocab)]
        self.metadata: dict[str, object] = {"general.architecture": arch}
        self.key("vocab_size", s.vocab)
        self.key("context_length", s.context)
        self.key("embedding_length", s.hidden)
        self.key("block_count", s.layers)
        self.key("feed_forward_length", s.feed_forward)
        self.key("attention.head_count", s.heads)
        self.key("attention.head_count_kv", s.kv_heads)
        self.key("attention.key_length", s.head_dim)
        self.key("attention.value_length", s.head_dim)
        self.key("rope.dimension_count", s.head_dim if rotated < 0 else rotated)
        self.key("attention.layer_norm_epsilon", _EPSILON)
        self.key("attention.layer_norm_rms_epsilon", _EPSILON)

    def key(self, name: str, value: object) -> None:
        self.metadata[f"{self.arch}.{name}"] = value

    def matrix(self, i: int, name: str, columns: int, rows: int) -> None:
        """blk.i.name.weight"""
        self.tensors.append(matrix(f"blk.{i}.{name}.weight", columns, rows, i))

    def vector(self, i: int, name: str, size: int) -> None:
        """blk.i.name, whose ending the caller gives."""
        self.tensors.append(vector(f"blk.{i}.{name}", size, i))

    def norm(self, i: int, name: str, bias: bool = False, size: int = 0) -> None:
        """A norm over the hidden size, or `size`."""
        wide = size if size else self.s.hidden
        self.vector(i, name + ".weight", wide)
        if bias:
            self.vector(i, name + ".bias", wide)

    def line(self, i: int, name: str, columns: int, rows: int, bias: bool) -> None:
        """A projection, with or without bias."""
        self.matrix(i, name, columns, rows)
        if bias:
            self.vector(i, name + ".bias", rows)

    def attention(
        self, i: int, bias: bool = False, out_bias: bool = False, q: int = 0, k: int = 0, v: int = 0
    ) -> None:
        """Q, K, V and output projections; widths other than the model's when given."""
        s = self.s
        wide = q if q else s.q
        self.line(i, "attn_q", s.hidden, wide, bias)
        self.line(i, "attn_k", s.hidden, k if k else s.kv, bias)
        self.line(i, "attn_v", s.hidden, v if v else s.kv, bias)
        self.line(i, "attn_output", s.heads * (v // s.kv_heads) if v else wide, s.hidden, out_bias)

    def fused_attention(self, i: int, bias: bool = False, out_bias: bool = False) -> None:
        """One tensor for Q, K and V."""
        s = self.s
        self.line(i, "attn_qkv", s.hidden, s.q + 2 * s.kv, bias)
        self.line(i, "attn_output", s.q, s.hidden, out_bias)

    def head_norms(self, i: int, q: int = 0, k: int = 0) -> None:
        """Norms of Q and K: per head unless widths are given."""
        self.norm(i, "attn_q_norm", size=q if q else self.s.head_dim)
        self.norm(i, "attn_k_norm", size=k if k else self.s.head_dim)

    def gated(self, i: int, width: int = 0, bias: bool = False) -> None:
        """Gate, up and down."""
        wide = width if width else self.s.feed_forward
        self.line(i, "ffn_gate", self.s.hidden, wide, bias)
        self.plain(i, wide, bias)

    def plain(self, i: int, width: int = 0, bias: bool = False) -> None:
        """Up and down."""
        wide = width if width else self.s.feed_forward
        self.line(i, "ffn_up", self.s.hidden, wide, bias)
        self.line(i, "ffn_down", wide, self.s.hidden, bias)

    def fused_gated(self, i: int, width: int = 0) -> None:
        """Gate and up in one tensor, and down."""
        wide = width if width else self.s.feed_forward
        self.matrix(i, "ffn_up", self.s.hidden, 2 * wide)
        self.matrix(i, "ffn_down", wide, self.s.hidden)

    def experts(self, i: int, count: int, width: int, gate: bool = True) -> None:
        """A router and `count` stacked experts."""
        hidden = self.s.hidden
        self.matrix(i, "ffn_gate_inp", hidden, count)
        names = ("ffn_gate_exps", "ffn_up_exps") if gate else ("ffn_up_exps",)
        for name in names:
            self.tensors.append(stacked(f"blk.{i}.{name}.weight", hidden, width, count, i))
        self.tensors.append(stacked(f"blk.{i}.ffn_down_exps.weight", width, hidden, count, i))

    def stacked_bias(self, i: int, name: str, size: int, count: int) -> None:
        """One bias for each of `count` experts."""
        self.tensors.append(
            Tensor(
                name=f"blk.{i}.{name}.bias",
                columns=size,
                rows=count,
                dims=2,
                layer=i,
                experts=count,
            )
        )

    def shared(self, i: int, width: int) -> None:
        """Experts every token goes through, in one gated feed-forward."""
        hidden = self.s.hidden
        self.matrix(i, "ffn_gate_shexp", hidden, width)
        self.matrix(i, "ffn_up_shexp", hidden, width)
        self.matrix(i, "ffn_down_shexp", width, hidden)

    def moe_keys(self, count: int, used: int, width: int) -> None:
        """expert_count, expert_used_count, expert_feed_forward_length."""
        self.key("expert_count", count)
        self.key("expert_used_count", used)
        self.key("expert_feed_forward_length", width)

    def top(self, name: str, size: int) -> None:
        """A vector of no layer under its whole name."""
        self.tensors.append(vector(name, size))

    def done(
        self, tied: bool, norm_bias: bool = False, bias: bool = False, norm: bool = True
    ) -> Conversion:
        """The final norm, and an output layer unless it is the embedding."""
        if norm:
            self.top("output_norm.weight", self.s.hidden)
        if norm_bias:
            self.top("output_norm.bias", self.s.hidden)
        if not tied:
            self.tensors.append(matrix("output.weight", self.s.hidden, self.s.vocab))
        if bias:
            self.top("output.bias", self.s.vocab)
        return Conversion(metadata=self.metadata, tensors=tuple(self.tensors))


def dense_only(f: Fields) -> None:
    """Refuses a config that also asks for experts, latent attention or a state."""
    for field in _FOREIGN:
        if f.values.get(field):
            raise f.fault(field, "is not supported for this model_type")


def tied(f: Fields, default: bool) -> bool:
    """tie_word_embeddings, or what the library assumes."""
    return f.flag_or("tie_word_embeddings", default=default)


def experts_used(f: Fields, field: str, count: int) -> int:
    """How many of `count` experts a token goes through."""
    return f.integer(field, 1, count)


def no_window(f: Fields) -> None:
    """llama.cpp keeps every token of these families: one with its window on is another model.

    On, the window is for the layers from `max_window_layers` up; usually there are none.
    """
    if not f.flag_or("use_sliding_window", default=False) or not f.has("sliding_window"):
        return
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    if f.integer_or("max_window_layers", 0, 0) < layers:
        raise f.fault("use_sliding_window", "true is not supported yet")


def sliding_layers(f: Fields, layers: int, default: list[bool] | None) -> list[bool]:
    """Which layers slide, from `layer_types`; `default` (None: none is known) when absent."""
    if not f.has("layer_types"):
        if default is None:
            raise f.fault("layer_types", "is missing")
        return default
    out: list[bool] = []
    for name in f.texts("layer_types", layers):
        if name not in ("sliding_attention", "full_attention"):
            raise f.fault("layer_types", f"'{name}' is not supported yet")
        out.append(name == "sliding_attention")
    return out


def every(layers: int, period: int) -> list[bool]:
    """True for all but each `period`-th layer."""
    return [(i + 1) % period != 0 for i in range(layers)]
