"""What Kimi Linear and Kimi K3 share: which layers attend, and the delta attention's sizes."""

from mathcore.convert.mla import GATING, Latent, absorbed_keys
from mathcore.convert.parts import Build, experts_used
from mathcore.convert.states import places
from mathcore.model.fields import Fields


def attends_of(f: Fields, layers: int) -> list[bool]:
    """Listed by kind, or by place counted from 1."""
    if not f.has("linear_attn_config"):
        names = f.texts("layer_types", layers)
        for name in names:
            if name not in ("linear_attention", "full_attention"):
                raise f.fault("layer_types", f"'{name}' is not supported yet")
        return [name == "full_attention" for name in names]
    inside = f.nested("linear_attn_config")
    listed = places(inside, "full_attn_layers", 1, layers)
    return [i + 1 in listed for i in range(layers)]


def delta_of(f: Fields) -> tuple[int, int]:
    """Head size and kernel; llama.cpp takes as many heads as the attention has."""
    if f.has("linear_attn_config"):
        inside = f.nested("linear_attn_config")
        names = ("num_heads", "head_dim", "short_conv_kernel_size")
    else:
        inside, names = f, ("linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    if inside.integer(names[0]) != f.integer("num_attention_heads"):
        raise inside.fault(names[0], "other than num_attention_heads is not supported yet")
    return inside.integer(names[1]), inside.integer(names[2])


def kimi_keys(b: Build, f: Fields, lat: Latent, attends: list[bool], dense: int) -> None:
    count, width = f.integer("num_experts"), f.integer("moe_intermediate_size")
    size, kernel = delta_of(f)
    absorbed_keys(b, lat)
    b.key("attention.head_count_kv", [1 if here else 0 for here in attends])
    b.key("ssm.conv_kernel", kernel)
    b.key("kda.head_dim", size)
    b.moe_keys(count, experts_used(f, "num_experts_per_token", count), width)
    b.key("expert_shared_count", f.integer("num_shared_experts"))
    b.key("leading_dense_block_count", dense)
    b.key("expert_gating_func", GATING["sigmoid"])
