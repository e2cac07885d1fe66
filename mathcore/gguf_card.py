"""GGUF header -> ModelSpec: weights exactly as the file holds them."""

from mathcore.ggml import FILE_TYPES
from mathcore.gguf import GgufHeader
from mathcore.model import CardError, Layer, ModelSpec, Tensor, parameter_count

MAX_SIZE = 1 << 24  # any one dimension; far above any released model
MAX_LAYERS = 1024

# Architectures whose every layer keeps every token in llama.cpp, with plain K and V.
_FULL: tuple[str, ...] = ("llama", "qwen2", "qwen3", "phi3", "olmo2", "gemma")
# The same with a window on some layers: every `period`-th layer is full.
_SLIDING: dict[str, int] = {"gemma2": 2, "gemma3": 6}
_FOREIGN: tuple[str, ...] = ("expert_count", "attention.kv_lora_rank", "ssm.state_size")


def _int(header: GgufHeader, key: str, limit: int = MAX_SIZE) -> int:
    value = header.metadata.get(key)
    if value is None:
        raise CardError(key, "is missing")
    if isinstance(value, bool) or not isinstance(value, int):
        raise CardError(key, "is not a whole number")
    if value < 1 or value > limit:
        raise CardError(key, f"must be between 1 and {limit}")
    return value


def _int_or(header: GgufHeader, key: str, default: int) -> int:
    return default if header.metadata.get(key) is None else _int(header, key)


def _per_layer(header: GgufHeader, key: str, layers: int) -> list[int]:
    """A number for all layers, or a list with one for each."""
    value = header.metadata.get(key)
    if not isinstance(value, list):
        return [_int(header, key)] * layers
    if len(value) != layers:
        raise CardError(key, f"has {len(value)} entries for {layers} layers")
    out: list[int] = []
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0 or item > MAX_SIZE:
            raise CardError(key, f"'{item}' is not a number of heads")
        out.append(item)
    return out


def _architecture(header: GgufHeader) -> str:
    arch = header.metadata.get("general.architecture")
    if not isinstance(arch, str):
        raise CardError("general.architecture", "is missing or not text")
    if arch not in _FULL and arch not in _SLIDING:
        raise CardError("general.architecture", f"'{arch}' is not supported yet")
    for key in _FOREIGN:
        if header.metadata.get(f"{arch}.{key}"):
            raise CardError(f"{arch}.{key}", f"is not supported yet for '{arch}'")
    if _int_or(header, "split.count", 1) > 1:
        raise CardError("split.count", "a model split over several files is not supported yet")
    return arch


def _layers(header: GgufHeader, arch: str, count: int, hidden: int, heads: int) -> list[Layer]:
    kv_key = f"{arch}.attention.head_count_kv"
    kv = [heads] * count
    if header.metadata.get(kv_key) is not None:
        kv = _per_layer(header, kv_key, count)
    k_key, v_key = f"{arch}.attention.key_length", f"{arch}.attention.value_length"
    if header.metadata.get(k_key) is None and hidden % heads != 0:
        raise CardError(k_key, f"is missing and {heads} heads do not divide {hidden}")
    k_dim = _int_or(header, k_key, hidden // heads)
    v_dim = _int_or(header, v_key, hidden // heads)
    period = _SLIDING.get(arch, 0)
    window = _int(header, f"{arch}.attention.sliding_window") if period else 0
    out: list[Layer] = []
    for i in range(count):
        near = period > 0 and (i + 1) % period != 0
        out.append(
            Layer(
                kind="none" if kv[i] == 0 else ("sliding" if near else "full"),
                k_elements=kv[i] * k_dim, v_elements=kv[i] * v_dim,
                head_dim=k_dim, window=window if near else 0,
            )
        )  # fmt: skip
    return out


def _file_type(header: GgufHeader) -> str:
    """The file type it says; a mix nobody named otherwise goes by its commonest block type."""
    code = header.metadata.get("general.file_type")
    if isinstance(code, int) and not isinstance(code, bool) and code in FILE_TYPES:
        return FILE_TYPES[code]
    sizes: dict[str, int] = {}
    best = "F32"
    for tensor in header.tensors:
        numbers = sizes.get(tensor.type_name, 0) + tensor.columns * tensor.rows
        sizes[tensor.type_name] = numbers
        if numbers > sizes.get(best, 0):
            best = tensor.type_name
    return best


def _embedding(header: GgufHeader, hidden: int) -> Tensor:
    for tensor in header.tensors:
        if tensor.name == "token_embd.weight":
            if tensor.columns != hidden:
                raise CardError(tensor.name, f"has rows of {tensor.columns}, not {hidden}")
            return tensor
    raise CardError("token_embd.weight", "is missing")


def _names(header: GgufHeader) -> set[str]:
    return {tensor.name for tensor in header.tensors}


def spec_from_gguf(header: GgufHeader, name: str, source: str = "") -> ModelSpec:
    """A dense decoder from its file header; CardError names the key that stops us."""
    arch = _architecture(header)
    count = _int(header, f"{arch}.block_count", MAX_LAYERS)
    hidden = _int(header, f"{arch}.embedding_length")
    heads = _int(header, f"{arch}.attention.head_count")
    embedding = _embedding(header, hidden)
    parameters = parameter_count(header.tensors)
    given = header.metadata.get("general.name")
    return ModelSpec(
        name=given if isinstance(given, str) and given else name,
        architecture=arch,
        vocab=embedding.rows,
        hidden=hidden,
        heads=heads,
        feed_forward=_int(header, f"{arch}.feed_forward_length"),
        context_length=_int_or(header, f"{arch}.context_length", 0),
        layers=tuple(_layers(header, arch, count, hidden, heads)),
        tensors=header.tensors,
        tied="output.weight" not in _names(header),
        parameters=parameters,
        active_parameters=parameters,
        quant=_file_type(header),
        source=source,
    )
