"""Where experts are and how a router scores them."""

from mathcore.convert.build import Build
from mathcore.model.fields import Fields

# llama.cpp's numbers for how a router scores (llama-hparams.h).
GATING: dict[str, int] = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}


def leading_dense(f: Fields, layers: int) -> int:
    """How many layers at the start have no experts; those of transformers 5 are listed."""
    if f.whole_or("moe_layer_freq", 1) != 1:
        raise f.fault("moe_layer_freq", "other than 1 is not supported yet")
    if f.has("first_k_dense_replace") or not f.has("mlp_layer_types"):
        return f.whole("first_k_dense_replace", 0, layers)
    names = f.texts("mlp_layer_types", layers)
    dense = 0
    while dense < layers and names[dense] == "dense":
        dense += 1
    for name in names[dense:]:
        if name != "sparse":
            raise f.fault("mlp_layer_types", f"'{name}' after the leading dense layers")
    return dense


def gating(b: Build, f: Fields, default: str = "") -> None:
    """How the router scores; the default is the family's own library's."""
    name = f.text("scoring_func") if f.has("scoring_func") or not default else default
    if name not in GATING:
        raise f.fault("scoring_func", f"'{name}' is not supported yet")
    b.key("expert_gating_func", GATING[name])


def experts_used(f: Fields, field: str, count: int) -> int:
    """How many of `count` experts a token goes through."""
    return f.whole(field, 1, count)
