"""What Ollama says of a model: its name's parts, its manifest, its /api/show reply.

Pure translation; `providers/sources/ollama` reads the store and asks the server. `model_info` holds
the GGUF's own keys, and shapes are in GGUF's order (a row's length first).
"""

from dataclasses import dataclass
from typing import final

from mathcore.formats.gguf import spec_from_gguf
from mathcore.gguf.header import MAX_ELEMENTS, MAX_TENSORS, GgufHeader, layer_of
from mathcore.model.spec import ModelSpec, SpecError, Tensor
from mathcore.quant.ggml import BLOCKS

MAX_NAME = 350  # host, namespace, model and tag; Ollama's own limit
MAX_LAYERS = 64  # of a manifest: weights, template, parameters, licences
MAX_BYTES = 1 << 62
MAX_DIMS = 4

_IMAGE = "application/vnd.ollama.image."
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaName:
    """host/namespace/model:tag, the absent parts filled as Ollama fills them."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def short(self) -> str:
        """The name as people say it."""
        home = self.host == "registry.ollama.ai"
        front = "" if home else f"{self.host}/"
        owner = "" if home and self.namespace == "library" else f"{self.namespace}/"
        return f"{front}{owner}{self.model}:{self.tag}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaManifest:
    """The blobs that matter for memory; no projector is "" and 0."""

    model_digest: str
    model_bytes: int
    projector_digest: str
    projector_bytes: int


def parse_name(text: str) -> OllamaName:
    """The parts of "llama3.2", "llama3.2:1b" or "hf.co/owner/repo:Q4_K_M"."""
    parts = text.strip().split("/")
    model, _, tag = parts[-1].partition(":")
    host = parts[-3] if len(parts) == 3 else "registry.ollama.ai"
    namespace = parts[-2] if len(parts) >= 2 else "library"
    tag = tag or "latest"
    if len(text) > MAX_NAME or len(parts) > 3:
        raise SpecError("model", f"'{text[:60]}' is not an Ollama name")
    for part in (host.replace(":", ""), namespace, model, tag):
        if not part or part.startswith(".") or not _LETTERS.issuperset(part.lower()):
            raise SpecError("model", f"'{text[:60]}' is not an Ollama name")
    return OllamaName(host=host, namespace=namespace, model=model, tag=tag)


def _digest(layer: dict[str, object]) -> str:
    value = layer.get("digest")
    if isinstance(value, str) and len(value) == 71 and value.startswith("sha256:"):
        digits = value[7:]
        if frozenset("0123456789abcdef").issuperset(digits):
            return digits
    raise SpecError("layers.digest", f"'{str(value)[:80]}' is not a sha256 digest")


def _integer(values: dict[str, object], field: str, most: int) -> int:
    value = values.get(field)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise SpecError(field, f"'{str(value)[:40]}' is not a whole number up to {most}")
    return value


def parse_manifest(manifest: dict[str, object]) -> OllamaManifest:
    """A manifest's model and projector; digests as bare hex."""
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise SpecError("layers", f"is not a list of at most {MAX_LAYERS}")
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for layer in layers:
        if not isinstance(layer, dict):
            raise SpecError("layers", "holds something that is no object")
        kind = str(layer.get("mediaType"))
        if kind in digests and kind.endswith((".model", ".projector")):
            raise SpecError("layers", f"holds more than one {kind}")
        if kind == f"{_IMAGE}tensor":
            raise SpecError("layers", "a model stored tensor by tensor is not supported yet")
        digests[kind] = _digest(layer)
        sizes[kind] = _integer(layer, "size", MAX_BYTES)
    model, projector = f"{_IMAGE}model", f"{_IMAGE}projector"
    if model not in digests:
        raise SpecError("layers", "no weights: does the model run in Ollama's cloud?")
    return OllamaManifest(
        model_digest=digests[model],
        model_bytes=sizes[model],
        projector_digest=digests.get(projector, ""),
        projector_bytes=sizes.get(projector, 0),
    )


def _tensor(entry: object) -> Tensor:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise SpecError("tensors", "holds something that is no tensor")
    name, kind, shape = str(entry["name"])[:256], entry.get("type"), entry.get("shape")
    if not isinstance(kind, str) or kind.upper() not in BLOCKS:
        raise SpecError(name, f"type '{str(kind)[:40]}' is not supported yet")
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_DIMS:
        raise SpecError(name, f"its shape is not a list of 1 to {MAX_DIMS} sizes")
    rows = 1
    for size in shape:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise SpecError(name, f"'{str(size)[:40]}' is not a size")
        rows *= size
        if rows > MAX_ELEMENTS:
            raise SpecError(name, "has more numbers than any tensor can")
    columns = int(shape[0])
    if columns % BLOCKS[kind.upper()][0] != 0:
        raise SpecError(name, f"a row of {columns} is no whole number of {kind} blocks")
    return Tensor(
        name=name,
        columns=columns,
        rows=rows // columns,
        dims=len(shape),
        layer=layer_of(name),
        type_name=kind.upper(),
    )


def header_from_show(reply: dict[str, object]) -> GgufHeader:
    """The GGUF header an /api/show reply retells.

    An array the server left out (it does unless asked for everything) is absent here.
    """
    info, listed = reply.get("model_info"), reply.get("tensors")
    if not isinstance(info, dict):
        raise SpecError("model_info", "is missing: is this Ollama older than 0.1.42?")
    if not isinstance(listed, list) or not listed:
        raise SpecError("tensors", "are missing: Ollama tells them when asked with verbose")
    if len(listed) > MAX_TENSORS:
        raise SpecError("tensors", f"{len(listed)} are more than the {MAX_TENSORS} allowed")
    metadata: dict[str, object] = {}
    for key, value in info.items():
        if value is not None and value != []:
            metadata[str(key)] = value
    tensors = tuple([_tensor(entry) for entry in listed])
    total = 0
    for tensor in tensors:
        per, size = BLOCKS[tensor.type_name]
        total += tensor.columns // per * size * tensor.rows
    return GgufHeader(
        version=3,
        metadata=metadata,
        tensors=tensors,
        end=0,
        data_bytes=total,
        alignment=32,
        lengths={},
    )


def spec_from_show(reply: dict[str, object], name: str, source: str = "") -> ModelSpec:
    """The model an /api/show reply describes."""
    return spec_from_gguf(header_from_show(reply), name, source)
