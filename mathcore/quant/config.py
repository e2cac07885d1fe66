"""The format a config says its weights are in: a name of `quant.formats`, or a SpecError.

Reads `quantization_config` of transformers (compressed-tensors, modelopt, awq, gptq, fp8,
fbgemm_fp8, bitsandbytes, mxfp4), MLX's `quantization`, and without either the dtype. A format in
which parts of the model differ has no one name and is refused; its files' headers are exact.
"""

from mathcore.model.fields import Fields
from mathcore.model.spec import SpecError
from mathcore.quant.formats import FORMATS

_PLACE = "quantization_config"
_DTYPES: dict[str, str] = {"bfloat16": "HF-BF16", "float16": "HF-F16", "float32": "HF-F32"}
_MODELOPT: dict[str, str] = {"NVFP4": "NVFP4", "FP8": "FP8", "MXFP8": "MXFP8"}
# (type, bits, strategy) of compressed-tensors weights without groups.
_UNGROUPED: dict[tuple[str, int, str], str] = {
    ("float", 8, "tensor"): "FP8",
    ("float", 8, "channel"): "FP8-ROW",
    ("float", 8, "block"): "FP8-BLOCK",
    ("int", 8, "tensor"): "INT8",
    ("int", 8, "channel"): "INT8",
}
# (type, bits, group).
_GROUPED: dict[tuple[str, int, int], str] = {
    ("float", 4, 16): "NVFP4",
    ("float", 4, 32): "MXFP4",
    ("float", 8, 32): "MXFP8",
    ("int", 4, 128): "W4A16",
    ("int", 4, 64): "W4A16-G64",
    ("int", 4, 32): "W4A16-G32",
    ("int", 8, 128): "W8A16",
}


def _known(name: str, field: str) -> str:
    if name not in FORMATS:
        raise SpecError(field, f"'{name[:32]}' is not supported yet")
    return name


def _four_or_eight(q: Fields, method: str) -> str:
    """AWQ or GPTQ by bits and group, as AutoAWQ and AutoGPTQ write them."""
    bits = q.integer("bits")
    group = q.integer("group_size", -1)
    base = method if method == "AWQ" and bits == 4 else f"{method}-INT{bits}"
    return _known(base if group == 128 else f"{base}-G{group}", _PLACE)


def _bitsandbytes(q: Fields) -> str:
    if q.flag_or("load_in_8bit", default=False):
        return "INT8"
    if not q.flag_or("load_in_4bit", default=False):
        raise q.fault("load_in_4bit", "and load_in_8bit are both off")
    return "NF4-DQ" if q.flag_or("bnb_4bit_use_double_quant", default=False) else "NF4"


def _group_of(q: Fields, place: str) -> str:
    """One config group of compressed-tensors by its weights."""
    groups = q.nested("config_groups")
    weights = groups.nested(place).nested("weights")
    kind, bits = weights.text("type"), weights.integer("num_bits", 1, 32)
    size = weights.integer_or("group_size", -1, -1)
    if size > 0:
        name = _GROUPED.get((kind, bits, size), "")
        text = f"{kind} of {bits} bits in groups of {size}"
    else:
        strategy = weights.text("strategy")
        name = _UNGROUPED.get((kind, bits, strategy), "")
        text = f"{kind} of {bits} bits by {strategy}"
    if not name:
        raise weights.fault("num_bits", f"{text[:80]} is not supported yet")
    return name


def _compressed(q: Fields) -> str:
    groups = q.nested("config_groups")
    names = [_group_of(q, place) for place in groups.values]
    if not names:
        raise q.fault("config_groups", "is empty")
    for name in names:
        if name != names[0]:
            raise q.fault("config_groups", f"{names[0]} and {name} are mixed")
    return names[0]


def _modelopt(q: Fields) -> str:
    algorithm = q.text("quant_algo")
    name = _MODELOPT.get(algorithm, "")
    if not name:
        raise q.fault("quant_algo", f"'{algorithm[:32]}' is not supported yet")
    return name


def _fp8(q: Fields) -> str:
    if q.has("quant_algo") or q.has("moe_quant_algo"):
        raise q.fault("quant_algo", "parts of the model are in other formats")
    if not q.has("weight_block_size"):
        return "FP8"
    if q.integers("weight_block_size", 2) != [128, 128]:
        raise q.fault("weight_block_size", "is not [128, 128]")
    return "FP8-BLOCK"


def _mlx(q: Fields) -> str:
    mode = q.text("mode") if q.has("mode") else "affine"
    if mode != "affine":
        return _known(f"MLX-{mode}", "quantization.mode")
    name = f"MLX-{q.integer('bits')}bit"
    group = q.integer("group_size")
    return _known(name if group == 64 else f"{name}-g{group}", "quantization.group_size")


def _plain(config: Fields) -> str:
    for field in ("dtype", "torch_dtype"):
        if config.has(field):
            name = _DTYPES.get(config.text(field), "")
            if not name:
                raise config.fault(field, f"'{config.text(field)[:32]}' is not supported yet")
            return name
    raise config.fault("dtype", "is missing")


def quant_of_config(config: Fields) -> str:
    """The name in FORMATS of the weights `config` describes; SpecError names the field."""
    if config.has("quantization"):
        return _mlx(config.nested("quantization"))
    if not config.has(_PLACE):
        return _plain(config)
    q = config.nested(_PLACE)
    method = q.text("quant_method")
    if method in ("awq", "gptq"):
        return _four_or_eight(q, method.upper())
    if method == "fp8":
        return _fp8(q)
    if method == "fbgemm_fp8":
        return "FP8-ROW"
    if method == "mxfp4":
        return "MXFP4"
    if method == "bitsandbytes":
        return _bitsandbytes(q)
    if method == "modelopt":
        return _modelopt(q)
    if method == "compressed-tensors":
        return _compressed(q)
    raise q.fault("quant_method", f"'{method[:32]}' is not supported yet")
