"""config.json and the tensors beside it -> ModelSpec: layers from the one, bytes from the other."""

from mathcore.formats.config import spec_from_config
from mathcore.formats.safetensors_header import placed
from mathcore.model.spec import ModelSpec, SpecError, Tensor

# quant_method of a quantization_config -> our name of what it writes by default.
_METHODS: dict[str, str] = {
    "awq": "AWQ",
    "fp8": "FP8",
    "fbgemm_fp8": "FP8-ROW",
    "mxfp4": "MXFP4",
    "modelopt": "NVFP4",
}
_PLAIN: dict[str, str] = {"BF16": "HF-BF16", "F16": "HF-F16", "F32": "HF-F32"}
_USUAL_GROUP: dict[str, int] = {"AWQ": 128, "GPTQ-INT4": 128, "MLX": 64}  # left out of the name


def spec_from_safetensors(
    config: dict[str, object], tensors: list[Tensor], name: str, source: str = ""
) -> ModelSpec:
    """The model of a folder: its config.json, and all its files' tensors under their own names.

    Parameters are the config's: a packed tensor's numbers are not the model's.
    """
    spec = spec_from_config(config, name, source)
    found = placed(tensors)
    _complete(found, len(spec.layers) - spec.draft_layers)
    return ModelSpec(
        name=spec.name,
        architecture=spec.architecture,
        vocab=spec.vocab,
        hidden=spec.hidden,
        heads=spec.heads,
        feed_forward=spec.feed_forward,
        context_length=spec.context_length,
        layers=spec.layers,
        tensors=found,
        tied="output.weight" not in [tensor.name for tensor in found],
        parameters=spec.parameters,
        active_parameters=spec.active_parameters,
        encoder_layers=spec.encoder_layers,
        draft_layers=spec.draft_layers,
        quant=quant_name(config, found),
        scaled_length=spec.scaled_length,
        source=source,
    )


def _complete(tensors: tuple[Tensor, ...], layers: int) -> None:
    """An embedding table, and at least one tensor in each layer: no file was forgotten."""
    seen: set[int] = set()
    for tensor in tensors:
        seen.add(tensor.layer)
    if "token_embd.weight" not in [tensor.name for tensor in tensors]:
        raise SpecError("embed_tokens.weight", "is missing: are all files there?")
    for i in range(layers):
        if i not in seen:
            raise SpecError(f"layers.{i}", "has no tensors: are all files there?")


def quant_name(config: dict[str, object], tensors: tuple[Tensor, ...]) -> str:
    """Our name ("AWQ", "FP8-BLOCK", "MLX-4bit", "HF-BF16"), or an unknown method's own."""
    mlx = config.get("quantization")
    if isinstance(mlx, dict) and isinstance(mlx.get("bits"), int):
        mode = mlx.get("mode", "affine")
        if mode != "affine":
            return f"MLX-{str(mode)[:16]}"
        return f"MLX-{mlx['bits']}bit" + _group(mlx, "MLX", "-g")
    given = config.get("quantization_config")
    if isinstance(given, dict):
        return _method(given)
    return _plain(tensors)


def _group(values: dict[str, object], usual: str, mark: str) -> str:
    """The group's part of the name, "-G64"; "" where it is the usual one."""
    size = values.get("group_size")
    return "" if size in (None, _USUAL_GROUP[usual]) else f"{mark}{str(size)[:8]}"


def _method(given: dict[str, object]) -> str:
    method = str(given.get("quant_method", "quantised"))[:32]
    if method == "bitsandbytes":
        eight, double = given.get("load_in_8bit"), given.get("bnb_4bit_use_double_quant")
        return "INT8" if eight is True else "NF4-DQ" if double is True else "NF4"
    if method == "gptq":
        if given.get("bits") == 8:
            return "GPTQ-INT8"
        return "GPTQ-INT4" + _group(given, "GPTQ-INT4", "-G")
    if method == "fp8" and given.get("weight_block_size"):
        return "FP8-BLOCK"
    name = _METHODS.get(method, method)
    return name + _group(given, "AWQ", "-G") if name == "AWQ" else name


def _plain(tensors: tuple[Tensor, ...]) -> str:
    """The type most numbers have."""
    counts: dict[str, int] = {}
    best = "BF16"
    for tensor in tensors:
        numbers = counts.get(tensor.type_name, 0) + tensor.columns * tensor.rows
        counts[tensor.type_name] = numbers
        if numbers > counts.get(best, 0):
            best = tensor.type_name
    return _PLAIN.get(best, best)
