"""Mamba 1 and 2: a state in every layer and no attention."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.checks import need, tied
from mathcore.convert.conversion import Conversion
from mathcore.convert.recurrent.ssm import (
    Ssm,
    drop_head_keys,
    grouped_ssm,
    headless,
    mamba1,
    mamba2,
    rank_of,
    ssm_keys,
)
from mathcore.model.fields import Fields


def _biases(f: Fields) -> None:
    """The loader wants a bias on the convolution and nowhere else."""
    need(f, "use_conv_bias", wanted=True, default=True)
    need(f, "use_bias", wanted=False, default=False)


def _inner(f: Fields, hidden: int) -> int:
    """Channels of a mixer; llama.cpp loads no other count than twice the hidden size."""
    if f.has("intermediate_size") or not f.has("expand"):
        inner = f.integer("intermediate_size")
        field = "intermediate_size"
    else:
        inner, field = f.integer("expand") * hidden, "expand"
    if inner != 2 * hidden:
        raise f.fault(field, f"{inner} channels are not twice the hidden size {hidden}")
    return inner


def _mamba(f: Fields) -> Conversion:
    _biases(f)
    hidden = f.integer("hidden_size")
    m = Ssm(
        kernel=f.integer("conv_kernel"),
        inner=_inner(f, hidden),
        size=f.integer("state_size"),
        rank=rank_of(f, "time_step_rank", hidden),
    )
    b = Build("mamba", headless(f, hidden))
    drop_head_keys(b)
    ssm_keys(b, m, grouped=False)
    b.key("ssm.dt_b_c_rms", f.text("model_type") == "falcon_mamba")
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        mamba1(b, i, m)
    return b.done(tied=tied(f, default=True))


def _mamba2(f: Fields) -> Conversion:
    _biases(f)
    hidden = f.integer("hidden_size")
    inner = f.integer("expand") * hidden
    m = grouped_ssm(f, "conv_kernel", "state_size", "num_heads", "head_dim", "n_groups", inner)
    b = Build("mamba2", headless(f, hidden))
    drop_head_keys(b)
    ssm_keys(b, m, grouped=True)
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        mamba2(b, i, m)
    return b.done(tied=tied(f, default=False))


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "mamba": _mamba,
    "falcon_mamba": _mamba,
    "mamba2": _mamba2,
}
