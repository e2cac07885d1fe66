"""What a plan's question tells llama.cpp, by the names of its own options."""

from typing import TYPE_CHECKING

import msgspec

from mathcore.engines.flags import Flags, parse_override, parse_split
from mesh.api.fields import read, refuse

if TYPE_CHECKING:
    from mesh.api.requests import PlanRequest

# More than any model has: "all" in llama.cpp's guides is 99 or 999.
ALL_LAYERS = 10_000
LLAMACPP = ("llama.cpp", "ollama")
MTP = "mtp"  # what drafts: the heads a model was trained with, where it has any


def as_flagged(asked: "PlanRequest") -> "PlanRequest":
    """The same with what llama.cpp's own names say under ours; they are said of that engine."""
    changes: dict[str, object] = {}
    if asked.parallel is not None:
        if asked.batch not in (1, asked.parallel):
            refuse(f"parallel: {asked.parallel}, but batch is {asked.batch}", "say it once")
        changes["batch"] = asked.parallel
    if asked.cache_type_k is not None:
        if asked.kv_type not in (None, asked.cache_type_k):
            text = f"cache_type_k: {asked.cache_type_k}, but kv_type is {asked.kv_type}"
            refuse(text, "say it once")
        changes["kv_type"] = asked.cache_type_k
    said = [name for name, plain in _UNSAID.items() if getattr(asked, name) != plain]
    if said:
        if asked.engine not in (None, *LLAMACPP):
            text = f"engine: {asked.engine} knows none of llama.cpp's options, as {said[0]}"
            refuse(text, f"leave it away, or --engine {LLAMACPP[0]}")
        changes["engine"] = asked.engine or LLAMACPP[0]
    return msgspec.structs.replace(asked, **changes) if changes else asked


# Options that only llama.cpp has, and what they are where nobody says.
_UNSAID: dict[str, object] = {
    "gpu_layers": None,
    "n_cpu_moe": None,
    "cpu_moe": False,
    "tensor_split": None,
    "override_tensor": [],
    "flash_attn": True,
    "ubatch": None,
    "cache_type_v": None,
    "kv_unified": False,
    "swa_full": False,
    "backend": None,
    "mmproj": None,
    "image_size": None,
    "draft": None,
    "draft_quant": None,
}


def flags_of(asked: "PlanRequest") -> Flags:
    """What llama.cpp is told; RequestError for what it could not read."""
    layers, split = asked.gpu_layers, asked.tensor_split
    return Flags(
        gpu_layers=ALL_LAYERS if layers == "all" else layers,
        cpu_experts=ALL_LAYERS if asked.cpu_moe else asked.n_cpu_moe,
        split=read("tensor_split", parse_split, split) if split is not None else (),
        on_host=tuple(read("override_tensor", parse_override, o) for o in asked.override_tensor),
        micro_batch=asked.ubatch or 0,
        v_type=asked.cache_type_v or "",
        flash=asked.flash_attn,
        unified=asked.kv_unified,
        full_window=asked.swa_full,
        backend=asked.backend or "",
    )
