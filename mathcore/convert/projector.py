"""The picture tower and projector of a multimodal config: what llama.cpp keeps in its mmproj file.

It is a second file beside the language model's, loaded whole on one device, and it keeps nothing
between requests. Tensor names are those of llama.cpp's tools/mtmd; counts equal the
published model minus its language part (docs/accuracy.md).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import final

from mathcore.convert.conversion import matrix, vector
from mathcore.model.fields import MAX_LAYERS, Fields
from mathcore.model.spec import Projector, SpecError, Tensor, parameter_count

MAX_RATIO = 64  # far above any released feed-forward


@final
class _Tower:
    """Tensors in the making; `v` has the fields of vision_config."""

    def __init__(self, v: Fields, layers: str, hidden: str, heads: str) -> None:
        self.v = v
        self.layers = v.integer(layers, 1, MAX_LAYERS)
        self.hidden = v.integer(hidden)
        self.patch = v.integer("patch_size", 1, 256)
        self.heads = count = v.integer(heads)
        if self.hidden % count != 0:
            raise v.fault(heads, f"{count} does not divide {self.hidden}")
        self.tensors: list[Tensor] = []

    def linear(self, name: str, columns: int, rows: int, *, bias: bool) -> None:
        self.tensors.append(matrix(name + ".weight", columns, rows))
        if bias:
            self.tensors.append(vector(name + ".bias", rows))

    def norm(self, name: str, size: int, *, bias: bool) -> None:
        self.tensors.append(vector(name + ".weight", size))
        if bias:
            self.tensors.append(vector(name + ".bias", size))

    def patches(self, frames: int, *, bias: bool) -> None:
        """The convolution that cuts a picture into patches, with a kernel for each frame."""
        numbers = 3 * self.patch * self.patch
        for i in range(frames):
            end = "" if i == 0 else f".{i}"
            self.tensors.append(matrix(f"v.patch_embd.weight{end}", numbers, self.hidden))
        if bias:
            self.tensors.append(vector("v.patch_embd.bias", self.hidden))

    def block(self, i: int, width: int, *, gated: bool, biases: bool, norm_bias: bool) -> None:
        at = f"v.blk.{i}."
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            self.linear(at + name, self.hidden, self.hidden, bias=biases)
        for name in ("ln1", "ln2"):
            self.norm(at + name, self.hidden, bias=norm_bias)
        for name in ("ffn_gate", "ffn_up") if gated else ("ffn_up",):
            self.linear(at + name, self.hidden, width, bias=biases)
        self.linear(at + "ffn_down", width, self.hidden, bias=biases)

    def merger(self, joined: int, out: int) -> None:
        self.linear("mm.0", joined, joined, bias=True)
        self.linear("mm.2", joined, out, bias=True)

    def done(self, kind: str, merge: int, width: int, out: int) -> Projector:
        tensors = tuple(self.tensors)
        return Projector(
            kind=kind,
            layers=self.layers,
            hidden=self.hidden,
            patch=self.patch,
            merge=merge,
            tensors=tensors,
            parameters=parameter_count(tensors),
            heads=self.heads,
            feed_forward=width,
            out=out,
        )


def _two_frames(v: Fields) -> None:
    if v.integer("temporal_patch_size", 1, 16) != 2:
        raise v.fault("temporal_patch_size", "other than 2 is not supported yet")


def _times_wider(v: Fields, hidden: int) -> int:
    """Width of a feed-forward given as a multiple."""
    ratio = v.number("mlp_ratio")
    if not 0.0 < ratio <= MAX_RATIO:
        raise v.fault("mlp_ratio", f"must be above 0 and at most {MAX_RATIO}")
    return int(hidden * ratio)


def _qwen2_vl(v: Fields, text: Fields) -> Projector:
    """Its `hidden_size` is the width it projects to."""
    _two_frames(v)
    t = _Tower(v, "depth", "embed_dim", "num_heads")
    merge, width = v.integer("spatial_merge_size", 1, 16), _times_wider(v, t.hidden)
    t.patches(2, bias=False)
    for i in range(t.layers):
        t.block(i, width, gated=False, biases=True, norm_bias=True)
    t.norm("v.post_ln", t.hidden, bias=True)
    t.merger(t.hidden * merge * merge, v.integer("hidden_size"))
    done = t.done("qwen2vl_merger", merge, width, v.integer("hidden_size"))
    return replace(done, frames=2, rotary=True)


def _qwen25_vl(v: Fields, text: Fields) -> Projector:
    _two_frames(v)
    t = _Tower(v, "depth", "hidden_size", "num_heads")
    merge = v.integer("spatial_merge_size", 1, 16)
    t.patches(2, bias=False)
    for i in range(t.layers):
        t.block(i, v.integer("intermediate_size"), gated=True, biases=True, norm_bias=False)
    t.norm("v.post_ln", t.hidden, bias=False)
    t.merger(t.hidden * merge * merge, v.integer("out_hidden_size"))
    out = v.integer("out_hidden_size")
    done = t.done("qwen2.5vl_merger", merge, v.integer("intermediate_size"), out)
    return replace(done, frames=2, rotary=True, gated=True, layer_norm=False, windowed=True)


def _deep_places(v: Fields, layers: int) -> list[int]:
    """Layers whose output joins the language model below its first layers."""
    value = v.values.get("deepstack_visual_indexes")
    return v.integers(
        "deepstack_visual_indexes", len(value) if isinstance(value, list) else -1, 0, layers - 1
    )


def _qwen3_vl(v: Fields, text: Fields) -> Projector:
    _two_frames(v)
    t = _Tower(v, "depth", "hidden_size", "num_heads")
    merge, out = v.integer("spatial_merge_size", 1, 16), v.integer("out_hidden_size")
    joined = t.hidden * merge * merge
    t.patches(2, bias=True)
    t.tensors.append(
        matrix("v.position_embd.weight", t.hidden, v.integer("num_position_embeddings"))
    )
    for i in range(t.layers):
        t.block(i, v.integer("intermediate_size"), gated=False, biases=True, norm_bias=True)
    for i in _deep_places(v, t.layers):
        t.norm(f"v.deepstack.{i}.norm", joined, bias=True)
        t.linear(f"v.deepstack.{i}.fc1", joined, joined, bias=True)
        t.linear(f"v.deepstack.{i}.fc2", joined, out, bias=True)
    t.norm("v.post_ln", t.hidden, bias=True)
    t.merger(joined, out)
    done = t.done("qwen3vl_merger", merge, v.integer("intermediate_size"), out)
    deep = tuple(_deep_places(v, t.layers))
    return replace(done, frames=2, rotary=True, fused=True, resized=True, deep=deep)


def _gemma3(v: Fields, text: Fields) -> Projector:
    """SigLIP; pictures are always 256 tokens, so patches are pooled, not merged."""
    t = _Tower(v, "num_hidden_layers", "hidden_size", "num_attention_heads")
    side = v.integer("image_size") // t.patch
    t.patches(1, bias=True)
    t.tensors.append(matrix("v.position_embd.weight", t.hidden, side * side))
    for i in range(t.layers):
        t.block(i, v.integer("intermediate_size"), gated=False, biases=True, norm_bias=True)
    t.norm("v.post_ln", t.hidden, bias=True)
    t.tensors.append(matrix("mm.input_projection.weight", t.hidden, text.integer("hidden_size")))
    t.norm("mm.soft_emb_norm", t.hidden, bias=False)
    out, width = text.integer("hidden_size"), v.integer("intermediate_size")
    done = t.done("gemma3", max(1, side // 16), width, out)
    return replace(done, image_size=v.integer("image_size"))


def _mistral3(v: Fields, text: Fields) -> Projector:
    """Pixtral's tower, and a merger of patches before the projector."""
    if v.text("model_type") != "pixtral":
        raise v.fault("model_type", f"'{v.text('model_type')}' is not supported yet")
    t = _Tower(v, "num_hidden_layers", "hidden_size", "num_attention_heads")
    merge, out = text.integer("spatial_merge_size", 1, 16), text.integer("hidden_size")
    bias = text.flag_or("multimodal_projector_bias", default=False)
    t.patches(1, bias=False)
    t.norm("v.pre_ln", t.hidden, bias=False)
    for i in range(t.layers):
        t.block(i, v.integer("intermediate_size"), gated=True, biases=False, norm_bias=False)
    t.norm("mm.input_norm", t.hidden, bias=False)
    t.linear("mm.patch_merger", t.hidden * merge * merge, t.hidden, bias=False)
    t.linear("mm.1", t.hidden, out, bias=bias)
    t.linear("mm.2", out, out, bias=bias)
    done = t.done("pixtral", merge, v.integer("intermediate_size"), out)
    return replace(done, gated=True, rotary=True, biases=False, layer_norm=False)


# InternViT's library default is 224; every released model says 448 in one place or another.
INTERN_SIDE = 448


def _intern(v: Fields, text: Fields) -> Projector:
    """InternViT: a class token, scaled residuals, and tokens of four patches through two layers."""
    t = _Tower(v, "num_hidden_layers", "hidden_size", "num_attention_heads")
    width, out, merge = v.integer("intermediate_size"), text.integer("hidden_size"), 2
    side = text.integer_or("force_image_size", v.integer_or("image_size", INTERN_SIDE, 1), 1)
    t.patches(1, bias=True)
    t.tensors.append(vector("v.class_embd", t.hidden))
    places = (side // t.patch) ** 2 + 1
    t.tensors.append(matrix("v.position_embd.weight", t.hidden, places))
    for i in range(t.layers):
        t.block(i, width, gated=False, biases=True, norm_bias=True)
        for name in ("ls1", "ls2"):
            t.norm(f"v.blk.{i}.{name}", t.hidden, bias=False)
    joined = t.hidden * merge * merge
    t.norm("mm.model.mlp.0", joined, bias=True)
    t.linear("mm.model.mlp.1", joined, out, bias=True)
    t.linear("mm.model.mlp.3", out, out, bias=True)
    return replace(t.done("internvl", merge, width, out), image_size=side, fused=True)


# By the model_type of the whole config.
_KINDS: dict[str, Callable[[Fields, Fields], Projector]] = {
    "qwen2_vl": _qwen2_vl,
    "qwen2_5_vl": _qwen25_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3_vl_moe": _qwen3_vl,
    "qwen3_5": _qwen3_vl,
    "qwen3_5_moe": _qwen3_vl,
    "gemma3": _gemma3,
    "mistral3": _mistral3,
    "internvl_chat": _intern,
}


# Parts of a multimodal config that are no language model, and what they are.
_PARTS: dict[str, str] = {
    "vision_config": "vision tower",
    "visual": "vision tower",
    "vision_tower": "vision tower",
    "mm_vision_tower": "vision tower",
    "vision_encoder": "vision tower",
    "vit_config": "vision tower",
    "audio_config": "audio encoder",
    "audio_encoder": "audio encoder",
    "speech_config": "audio encoder",
    "talker_config": "speech generator",
    "code2wav_config": "speech generator",
    "token2wav_config": "speech generator",
}


def parts_of(config: dict[str, object]) -> tuple[Projector | None, tuple[str, ...]]:
    """(the projector, the parts nothing is known of) of a whole config."""
    inner = config.get("thinker_config")
    places = dict(config)
    if isinstance(inner, dict):
        places.update({str(key): value for key, value in inner.items()})
    named = {what for place, what in _PARTS.items() if places.get(place) not in (None, {}, "")}
    try:
        projector = projector_from_config(config)
    except SpecError:
        projector = None
    if projector is not None:
        named.discard("vision tower")
    return projector, tuple(sorted(named))


def projector_from_config(config: dict[str, object]) -> Projector | None:
    """The projector of a config, None when it has none; SpecError for one we cannot describe."""
    fields = Fields(config)
    if not fields.has("vision_config") or not fields.has("model_type"):
        return None
    v = fields.nested("vision_config")
    model_type = fields.text("model_type")
    kind = _KINDS.get(model_type)
    if kind is None:
        raise v.fault("model_type", f"the projector of '{model_type}' is not supported yet")
    merged: dict[str, object] = dict(config)
    for place in ("text_config", "llm_config"):
        if fields.has(place):
            merged.update(fields.nested(place).values)
    return kind(v, Fields(merged))
