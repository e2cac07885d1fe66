"""Kimi delta attention (KDA): a matrix per head instead of a row per token."""

from mathcore.convert.build import Build
from mathcore.model.fields import Fields


def kda_sizes(f: Fields) -> tuple[int, int]:
    """Head size and kernel of the convolution. llama.cpp wants as many heads as attention has."""
    if f.has("linear_attn_config"):
        inside = f.nested("linear_attn_config")
        names = ("num_heads", "head_dim", "short_conv_kernel_size")
    else:
        inside, names = f, ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    if inside.integer(names[0]) != f.integer("num_attention_heads"):
        raise inside.fault(names[0], "other than num_attention_heads is not supported yet")
    return inside.integer(names[1]), inside.integer(names[2])


def kda_mixer(
    b: Build, i: int, size: int, kernel: int, *, full_gate: bool = False, decay_rows: bool = False
) -> None:
    """One mixer with heads of `size` numbers; Q, K and V pass a convolution of `kernel` tokens.

    `full_gate`: the output gate is one matrix, not two of low rank. `decay_rows`: the file has a
    row for each head's decay, not one number of a vector.
    """
    hidden, inner = b.s.hidden, b.s.heads * size
    for name in ("q", "k", "v"):
        b.matrix(i, f"attn_{name}", hidden, inner)
        b.planes(i, f"ssm_conv1d_{name}", kernel, 1, inner)
    for name in ("f",) if full_gate else ("f", "g"):
        b.matrix(i, f"ssm_{name}_a", hidden, size)
        b.matrix(i, f"ssm_{name}_b", size, inner)
    b.matrix(i, "ssm_beta", hidden, b.s.heads)
    if decay_rows:
        b.unsuffixed(i, "ssm_a", 1, b.s.heads)
    else:
        b.vector(i, "ssm_a", b.s.heads)
    b.vector(i, "ssm_dt.bias", inner)
    if full_gate:
        b.matrix(i, "ssm_g", hidden, inner)
    b.norm(i, "ssm_norm", size=size)
    b.matrix(i, "attn_output", inner, hidden)
