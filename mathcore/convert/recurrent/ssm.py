"""What the converters of recurrent and hybrid families share: Mamba's tensors and keys."""

from dataclasses import dataclass
from typing import final

from mathcore.convert.build import Build
from mathcore.convert.sizes import Sizes
from mathcore.model.fields import MAX_LAYERS, Fields

# Keys of heads a model without attention has no use for.
_HEAD_KEYS: tuple[str, ...] = (
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "vocab_size",
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ssm:
    """A state space of `inner` channels. `rank` counts Mamba 2's heads, or is Mamba 1's dt rank."""

    kernel: int
    inner: int
    size: int
    rank: int
    groups: int = 0

    @property
    def mixed(self) -> int:
        """Channels that go through the convolution."""
        return self.inner + 2 * self.groups * self.size


def headless(f: Fields, hidden: int, feed_forward: int = 0, context: int = 1 << 20) -> Sizes:
    """The sizes of a model without attention; its context is what llama.cpp's converter writes."""
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=0,
        kv_heads=0,
        head_dim=0,
        feed_forward=feed_forward,
        context=context,
    )


def drop_head_keys(b: Build) -> None:
    """Removes the keys of heads, which a file without attention does not have."""
    for name in _HEAD_KEYS[:-1]:
        b.metadata.pop(f"{b.arch}.{name}", None)


def ssm_keys(b: Build, m: Ssm, *, grouped: bool) -> None:
    b.key("ssm.conv_kernel", m.kernel)
    b.key("ssm.inner_size", m.inner)
    b.key("ssm.state_size", m.size)
    b.key("ssm.time_step_rank", m.rank)
    if grouped:
        b.key("ssm.group_count", m.groups)


def rank_of(f: Fields, field: str, hidden: int) -> int:
    """ "auto" is the library's word for hidden / 16, rounded up."""
    if f.values.get(field) == "auto":
        return -(-hidden // 16)
    return f.integer(field)


def mamba1(b: Build, i: int, m: Ssm, *, norms: bool = False) -> None:
    """One Mamba mixer; `norms`: Jamba's norms of dt, B and C."""
    b.matrix(i, "ssm_in", b.s.hidden, 2 * m.inner)
    b.linear(i, "ssm_conv1d", m.kernel, m.inner, bias=True)
    b.matrix(i, "ssm_x", m.inner, m.rank + 2 * m.size)
    if norms:
        b.norm(i, "ssm_dt_norm", size=m.rank)
        b.norm(i, "ssm_b_norm", size=m.size)
        b.norm(i, "ssm_c_norm", size=m.size)
    b.linear(i, "ssm_dt", m.rank, m.inner, bias=True)
    b.unsuffixed(i, "ssm_a", m.size, m.inner)
    b.vector(i, "ssm_d", m.inner)
    b.matrix(i, "ssm_out", m.inner, b.s.hidden)


def mamba2(b: Build, i: int, m: Ssm, *, conv_bias: bool = True, norm: bool = True) -> None:
    """One Mamba 2 mixer: gate, channels, B, C and dt come out of one projection."""
    b.matrix(i, "ssm_in", b.s.hidden, m.inner + m.mixed + m.rank)
    b.linear(i, "ssm_conv1d", m.kernel, m.mixed, bias=conv_bias)
    b.vector(i, "ssm_dt.bias", m.rank)
    b.unsuffixed(i, "ssm_a", 1, m.rank)
    b.unsuffixed(i, "ssm_d", 1, m.rank)
    if norm:
        b.matrix(i, "ssm_norm", m.inner // m.groups, m.groups)
    b.matrix(i, "ssm_out", m.inner, b.s.hidden)


def grouped_ssm(
    f: Fields, kernel: str, size: str, heads: str, head: str, groups: str, inner: int
) -> Ssm:
    """A Mamba 2 from the names of its fields. `inner`: the channels to expect, 0 = any."""
    count, wide = f.integer(heads), f.integer(head)
    if inner not in (0, count * wide):
        raise f.fault(heads, f"{count} heads of {wide} are not {inner} channels")
    split = f.integer(groups)
    if count * wide % split != 0:
        raise f.fault(groups, f"{split} does not divide {count * wide} channels")
    return Ssm(
        kernel=f.integer(kernel), inner=count * wide, size=f.integer(size), rank=count, groups=split
    )


def kv_list(b: Build, attends: list[bool]) -> None:
    """Writes the KV heads of each layer; 0 makes a layer recurrent."""
    b.key("attention.head_count_kv", [b.s.kv_heads if here else 0 for here in attends])
