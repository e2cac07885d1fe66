"""A conversion in the making: the tensors of a decoder layer, block by block.

Tensor names and shapes are those llama.cpp's loader asks for (src/models), keys those of gguf-py.
"""

from typing import final

from mathcore.convert.conversion import Conversion, matrix, stacked, vector
from mathcore.convert.sizes import Sizes
from mathcore.model.spec import Tensor

# The loader wants one; no size depends on it.
_EPSILON = 1e-5


@final
class Build:
    """A conversion in the making: tensors in order, and the keys every family writes."""

    def __init__(self, arch: str, s: Sizes, rotary_dim: int = -1) -> None:
        """`rotary_dim`: numbers of a head that rope rotates; -1 = all of them."""
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
        self.key("attention.head_count_kv", list(s.kv_list) if s.kv_list else s.kv_heads)
        self.key("attention.key_length", s.head_dim)
        self.key("attention.value_length", s.head_dim)
        self.key("rope.dimension_count", s.head_dim if rotary_dim < 0 else rotary_dim)
        self.key("attention.layer_norm_epsilon", _EPSILON)
        self.key("attention.layer_norm_rms_epsilon", _EPSILON)

    def key(self, name: str, value: object) -> None:
        self.metadata[f"{self.arch}.{name}"] = value

    def matrix(self, i: int, name: str, columns: int, rows: int) -> None:
        """blk.i.name.weight"""
        self.tensors.append(matrix(f"blk.{i}.{name}.weight", columns, rows, i))

    def vector(self, i: int, name: str, size: int) -> None:
        """blk.i.name; the caller's `name` has its ending."""
        self.tensors.append(vector(f"blk.{i}.{name}", size, i))

    def planes(self, i: int, name: str, columns: int, rows: int, count: int) -> None:
        """`count` matrices in one tensor; every token goes through all of them."""
        self.tensors.append(
            Tensor(
                name=f"blk.{i}.{name}.weight",
                columns=columns,
                rows=rows * count,
                dims=3,
                layer=i,
                planes=count,
            )
        )

    def unsuffixed(self, i: int, name: str, columns: int, rows: int) -> None:
        """A matrix named blk.i.name, without ".weight"."""
        self.tensors.append(
            Tensor(name=f"blk.{i}.{name}", columns=columns, rows=rows, dims=2, layer=i)
        )

    def norm(self, i: int, name: str, *, bias: bool = False, size: int = 0) -> None:
        """A norm over the hidden size, or `size`."""
        wide = size if size else self.s.hidden
        self.vector(i, name + ".weight", wide)
        if bias:
            self.vector(i, name + ".bias", wide)

    def linear(self, i: int, name: str, columns: int, rows: int, *, bias: bool) -> None:
        """A projection, with or without bias."""
        self.matrix(i, name, columns, rows)
        if bias:
            self.vector(i, name + ".bias", rows)

    def attention(self, i: int, *, bias: bool = False, out_bias: bool = False) -> None:
        """Q, K, V and output projections."""
        s = self.s
        self.linear(i, "attn_q", s.hidden, s.q, bias=bias)
        self.linear(i, "attn_k", s.hidden, s.kv_of(i), bias=bias)
        self.linear(i, "attn_v", s.hidden, s.kv_of(i), bias=bias)
        self.linear(i, "attn_output", s.q, s.hidden, bias=out_bias)

    def fused_attention(self, i: int, *, bias: bool = False, out_bias: bool = False) -> None:
        """One tensor for Q, K and V."""
        s = self.s
        self.linear(i, "attn_qkv", s.hidden, s.q + 2 * s.kv, bias=bias)
        self.linear(i, "attn_output", s.q, s.hidden, bias=out_bias)

    def head_norms(self, i: int, q: int = 0, k: int = 0) -> None:
        """Norms of Q and K: per head unless widths are given."""
        self.norm(i, "attn_q_norm", size=q if q else self.s.head_dim)
        self.norm(i, "attn_k_norm", size=k if k else self.s.head_dim)

    def gated_mlp(self, i: int, width: int = 0, *, bias: bool = False) -> None:
        """Gate, up and down."""
        wide = width if width else self.s.feed_forward
        self.linear(i, "ffn_gate", self.s.hidden, wide, bias=bias)
        self.mlp(i, wide, bias=bias)

    def mlp(self, i: int, width: int = 0, *, bias: bool = False) -> None:
        """Up and down."""
        wide = width if width else self.s.feed_forward
        self.linear(i, "ffn_up", self.s.hidden, wide, bias=bias)
        self.linear(i, "ffn_down", wide, self.s.hidden, bias=bias)

    def fused_gated_mlp(self, i: int, width: int = 0) -> None:
        """Gate and up in one tensor, and down."""
        wide = width if width else self.s.feed_forward
        self.matrix(i, "ffn_up", self.s.hidden, 2 * wide)
        self.matrix(i, "ffn_down", wide, self.s.hidden)

    def experts(self, i: int, count: int, width: int, *, gate: bool = True) -> None:
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

    def draft_keys(self, draft: int) -> None:
        """Counts `draft` multi-token-prediction layers among the blocks."""
        if draft > 0:
            self.key("block_count", self.s.layers + draft)
            self.key("nextn_predict_layers", draft)

    def draft_tensors(self, i: int) -> None:
        """What joins the trunk's last state and the next token in a draft layer."""
        hidden = self.s.hidden
        self.matrix(i, "nextn.eh_proj", 2 * hidden, hidden)
        for name in ("nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"):
            self.norm(i, name)

    def top(self, name: str, size: int) -> None:
        """A vector that belongs to no layer, under its full name."""
        self.tensors.append(vector(name, size))

    def embedding_norm(self) -> None:
        """A norm with bias right after the embedding."""
        self.top("token_embd_norm.weight", self.s.hidden)
        self.top("token_embd_norm.bias", self.s.hidden)

    def done(
        self, *, tied: bool, norm_bias: bool = False, bias: bool = False, norm: bool = True
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
        return self.conversion()

    def conversion(self) -> Conversion:
        """What was built, for families whose end is none of `done`'s."""
        return Conversion(metadata=self.metadata, tensors=tuple(self.tensors))
