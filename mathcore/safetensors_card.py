"""config.json and the tensors beside it -> ModelSpec: layers from the one, bytes from the other."""

from mathcore.card import spec_from_config
from mathcore.model import CardError, ModelSpec, Tensor
from mathcore.safetensors import placed

# quant_method of a quantization_config -> what people call it.
_METHODS: dict[str, str] = {
    "awq": "AWQ", "gptq": "GPTQ", "fp8": "FP8", "fbgemm_fp8": "FP8", "mxfp4": "MXFP4",
    "modelopt": "NVFP4", "compressed-tensors": "compressed-tensors", "bitsandbytes": "NF4",
}  # fmt: skip


def spec_from_safetensors(
    card: dict[str, object], tensors: list[Tensor], name: str, source: str = ""
) -> ModelSpec:
    """The model of a folder: its config.json, and all its files' tensors under their own names.

    Parameters are the config's: a packed tensor's numbers are not the model's.
    """
    spec = spec_from_config(card, name, source)
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
        quant=quant_name(card, found),
        source=source,
    )


def _complete(tensors: tuple[Tensor, ...], layers: int) -> None:
    """An embedding table, and at least one tensor in each layer: no file was forgotten."""
    seen: set[int] = set()
    for tensor in tensors:
        seen.add(tensor.layer)
    if "token_embd.weight" not in [tensor.name for tensor in tensors]:
        raise CardError("embed_tokens.weight", "is missing: are all files there?")
    for i in range(layers):
        if i not in seen:
            raise CardError(f"layers.{i}", "has no tensors: are all files there?")


def quant_name(card: dict[str, object], tensors: tuple[Tensor, ...]) -> str:
    """ "AWQ", "FP8", "MLX-4bit"; without a quantisation the type of most bytes."""
    mlx = card.get("quantization")
    if isinstance(mlx, dict) and isinstance(mlx.get("bits"), int):
        return f"MLX-{mlx['bits']}bit"
    given = card.get("quantization_config")
    if isinstance(given, dict):
        if given.get("load_in_8bit") is True:
            return "INT8"
        method = str(given.get("quant_method", ""))[:32]
        if method:
            return _METHODS.get(method, method)
    sizes: dict[str, int] = {}
    best = "BF16"
    for tensor in tensors:
        size = sizes.get(tensor.type_name, 0) + tensor.columns * tensor.rows
        sizes[tensor.type_name] = size
        if size > sizes.get(best, 0):
            best = tensor.type_name
    return best
