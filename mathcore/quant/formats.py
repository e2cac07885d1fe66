"""Every quantisation we can weigh, by name, and the bytes of the ones that are no ggml file type.

Standard layouts of the safetensors formats vLLM and TGI serve, and of MLX. Those of safetensors
leave embeddings, output layer, norms, routers and convolutions in 16 bits; MLX quantises
embeddings and output layer too.
"""

from dataclasses import dataclass
from typing import Final, Literal, final

from mathcore.model.spec import ModelSpec, SpecError, Tensor
from mathcore.quant.gguf_tables import MIXES

# Weights by who reads them: llama.cpp and Ollama, vLLM and TGI, MLX.
Family = Literal["gguf", "safetensors", "mlx"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a matrix is stored: numbers of `bits`, and a scale of `scale_bits` for every tile.

    A tile is `tile_columns` x `tile_rows` numbers, 0 = all of the matrix. `strict`: a row must be
    whole tiles, else the format cannot hold it.
    """

    family: Family
    bits: int
    tile_columns: int = 0
    tile_rows: int = 1
    scale_bits: int = 0  # with the zero point
    outer: int = 0  # scales that share one float32 of their own
    column_bytes: int = 0  # per input number: GPTQ's g_idx
    matrix_bytes: int = 0  # scales of the whole matrix
    strict: bool = False
    experts_only: bool = False  # of a model with routed experts; `rest` for everything else
    rest: str = ""  # "" = 16 bits


def _mlx(bits: int, group: int) -> Format:
    """MLX affine: a 16-bit scale and a 16-bit bias per group (mlx.core.quantize)."""
    return Format(family="mlx", bits=bits, tile_columns=group, scale_bits=32)


def _int4(group: int, column_bytes: int = 0) -> Format:
    """AWQ and GPTQ: a 16-bit scale and a 4-bit zero point per group of a row."""
    return Format(
        family="safetensors",
        bits=4,
        tile_columns=group,
        scale_bits=20,
        column_bytes=column_bytes,
        strict=True,
    )


def _packed(bits: int, group: int) -> Format:
    """compressed-tensors pack-quantized: a 16-bit scale per group, no zero point; two int64."""
    return Format(
        family="safetensors",
        bits=bits,
        tile_columns=group,
        scale_bits=16,
        matrix_bytes=16,
        strict=True,
    )


_PLAIN: Final = "safetensors"
FORMATS: dict[str, Format] = {
    "HF-F32": Format(family=_PLAIN, bits=32),
    "HF-BF16": Format(family=_PLAIN, bits=16),
    "HF-F16": Format(family=_PLAIN, bits=16),
    "FP8": Format(family=_PLAIN, bits=8, tile_rows=0, scale_bits=32),
    "FP8-ROW": Format(family=_PLAIN, bits=8, scale_bits=32),
    "FP8-BLOCK": Format(family=_PLAIN, bits=8, tile_columns=128, tile_rows=128, scale_bits=32),
    "INT8": Format(family=_PLAIN, bits=8, scale_bits=32),
    "AWQ": _int4(128),
    "AWQ-G64": _int4(64),
    "AWQ-G32": _int4(32),
    "GPTQ-INT4": _int4(128, 4),
    "GPTQ-INT4-G64": _int4(64, 4),
    "GPTQ-INT4-G32": _int4(32, 4),
    "GPTQ-INT8": Format(
        family=_PLAIN, bits=8, tile_columns=128, scale_bits=24, column_bytes=4, strict=True
    ),
    "W4A16": _packed(4, 128),
    "W4A16-G64": _packed(4, 64),
    "W4A16-G32": _packed(4, 32),
    "W8A16": _packed(8, 128),
    "NF4": Format(family=_PLAIN, bits=4, tile_columns=64, scale_bits=32),
    "NF4-DQ": Format(family=_PLAIN, bits=4, tile_columns=64, scale_bits=8, outer=256),
    "MXFP4": Format(family=_PLAIN, bits=4, tile_columns=32, scale_bits=8, experts_only=True),
    # DeepSeek V4: experts in MXFP4, the rest in blocks of FP8.
    "MXFP4-FP8": Format(
        family=_PLAIN,
        bits=4,
        tile_columns=32,
        scale_bits=8,
        experts_only=True,
        rest="FP8-BLOCK",
    ),
    # Kimi K2 Thinking: W4A16-G32 of the routed experts alone.
    "W4A16-EXPERTS": Format(
        family=_PLAIN,
        bits=4,
        tile_columns=32,
        scale_bits=16,
        matrix_bytes=16,
        strict=True,
        experts_only=True,
    ),
    "MXFP8": Format(family=_PLAIN, bits=8, tile_columns=32, scale_bits=8),
    "NVFP4": Format(family=_PLAIN, bits=4, tile_columns=16, scale_bits=8, matrix_bytes=8),
    "MLX-16bit": Format(family="mlx", bits=16),
    "MLX-2bit": _mlx(2, 64),
    "MLX-3bit": _mlx(3, 64),
    "MLX-4bit": _mlx(4, 64),
    "MLX-5bit": _mlx(5, 64),
    "MLX-6bit": _mlx(6, 64),
    "MLX-8bit": _mlx(8, 64),
    "MLX-2bit-g32": _mlx(2, 32),
    "MLX-3bit-g32": _mlx(3, 32),
    "MLX-4bit-g32": _mlx(4, 32),
    "MLX-5bit-g32": _mlx(5, 32),
    "MLX-6bit-g32": _mlx(6, 32),
    "MLX-8bit-g32": _mlx(8, 32),
    "MLX-4bit-g128": _mlx(4, 128),
    "MLX-8bit-g128": _mlx(8, 128),
    "MLX-mxfp4": Format(family="mlx", bits=4, tile_columns=32, scale_bits=8),
    "MLX-mxfp8": Format(family="mlx", bits=8, tile_columns=32, scale_bits=8),
    "MLX-mxfp4-q8": Format(
        family="mlx", bits=4, tile_columns=32, scale_bits=8, experts_only=True, rest="MLX-8bit"
    ),
    "MLX-nvfp4": Format(family="mlx", bits=4, tile_columns=16, scale_bits=8),
}
# What mlx-lm keeps a router at whatever the model's bits (quant_predicate of its MoE models).
_MLX_ROUTER = _mlx(8, 64)
_ROUTER, _SHARED_GATE = "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight"
# Families whose router is a bare array in mlx-lm (MoEGate), which it does not quantise.
_MLX_BARE: tuple[str, ...] = (
    "deepseek",
    "deepseek2",
    "deepseek32",
    "deepseek4",
    "glm4moe",
    "glm-dsa",
    "nemotron_h_moe",
    "dots1",
    "mimo2",
)

# Every quantisation by name, and the family of its weights.
QUANTS: dict[str, Family] = {
    **{name: "gguf" for name in MIXES},
    **{name: form.family for name, form in FORMATS.items()},
}


def matrix_bytes(tensor: Tensor, form: Format) -> int:
    """Bytes of a matrix, or of each of its stacked experts, all its scales counted."""
    each = tensor.rows // tensor.experts
    tiles = 0
    if form.scale_bits > 0:
        wide = form.tile_columns if form.tile_columns > 0 else tensor.columns
        high = form.tile_rows if form.tile_rows > 0 else each
        if form.strict and tensor.columns % wide != 0:
            raise SpecError(tensor.name, f"rows of {tensor.columns} are not whole groups of {wide}")
        tiles = -(-tensor.columns // wide) * -(-each // high)
    size = -(-(tensor.columns * each * form.bits + tiles * form.scale_bits) // 8)
    if form.outer > 0:
        size += -(-tiles // form.outer) * 4
    return tensor.experts * (size + form.column_bytes * tensor.columns + form.matrix_bytes)


def _in_mlx(tensor: Tensor, role: str, form: Format, arch: str, *, routed: bool) -> Format | None:
    """As `_stored`, of an MLX model."""
    name = tensor.name
    if name.endswith(_SHARED_GATE) or (name.endswith(_ROUTER) and arch not in _MLX_BARE):
        return _MLX_ROUTER
    if role == "kept":
        return None
    if form.experts_only and routed and tensor.experts == 1:
        form = FORMATS[form.rest]
    # mlx-lm skips rows that are not whole groups.
    return form if tensor.columns % form.tile_columns == 0 else None


def _stored(tensor: Tensor, role: str, form: Format, *, routed: bool) -> Format | None:
    """The format a tensor is in; None = 16 bits. `role` as in gguf_rules."""
    if role in ("kept", "output", "embedding"):
        return None
    if form.experts_only and routed and tensor.experts == 1:
        return FORMATS[form.rest] if form.rest else None
    return form


def _sixteen(tensor: Tensor) -> int:
    """Bytes of what is not quantised; biases of a router's choice are float32."""
    return tensor.columns * tensor.rows * (4 if "exp_probs_b" in tensor.name else 2)


def format_sizes(spec: ModelSpec, roles: list[str], quant: str) -> list[int]:
    """Bytes per tensor in a format of FORMATS; SpecError where it cannot hold one.

    As loaded: draft layers, which these engines leave out, and tables a converter computes (rope
    factors) weigh nothing.
    """
    form = FORMATS[quant]
    plain = form.scale_bits == 0
    last = len(spec.layers) - spec.draft_layers
    routed = False
    for tensor in spec.tensors:
        routed = routed or tensor.experts > 1
    out: list[int] = []
    for i in range(len(roles)):
        tensor = spec.tensors[i]
        if tensor.name.startswith("rope_") or tensor.layer >= last:
            out.append(0)
        elif plain:
            out.append(tensor.columns * tensor.rows * form.bits // 8)
        else:
            if form.family == "mlx":
                stored = _in_mlx(tensor, roles[i], form, spec.architecture, routed=routed)
            else:
                stored = _stored(tensor, roles[i], form, routed=routed)
            out.append(_sixteen(tensor) if stored is None else matrix_bytes(tensor, stored))
    return out
