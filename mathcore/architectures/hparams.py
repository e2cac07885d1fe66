"""The part of a GGUF's metadata every architecture shares, read as llama.cpp's loader reads it."""

from typing import final

from mathcore.model.fields import MAX_LAYERS, MAX_SIZE, Fields
from mathcore.model.spec import AttentionKind, Layer, SpecError, Tensor


def metadata_fields(metadata: dict[str, object]) -> Fields:
    """The architecture's own keys without their prefix; faults name the whole key."""
    arch = Fields(metadata).text("general.architecture")
    own: dict[str, object] = {}
    for key, value in metadata.items():
        if key.startswith(arch + "."):
            own[key[len(arch) + 1 :]] = value
    return Fields(own, arch + ".")


@final
class Hparams:
    """Sizes per layer, before what the architecture itself adds.

    `count` includes the `draft` layers at the end. A head count of 0 means no attention there.
    """

    def __init__(self, metadata: dict[str, object], tensors: tuple[Tensor, ...]) -> None:
        self.arch = Fields(metadata).text("general.architecture")
        self.fields = metadata_fields(metadata)
        self.tensors: dict[str, Tensor] = {}
        for tensor in tensors:
            self.tensors[tensor.name] = tensor
        self.count = self.fields.integer("block_count", 1, MAX_LAYERS)
        self.draft = self.fields.integer_or("nextn_predict_layers", 0, 0, self.count)
        self.hidden = self.fields.integer("embedding_length")
        self.heads = self.per_layer_or("attention.head_count", [0] * self.count)
        self.kv_heads = self.per_layer_or("attention.head_count_kv", self.heads)
        usual = self.hidden // self.heads[0] if self.heads[0] > 0 else 0
        self.k_dim = self.fields.integer_or("attention.key_length", usual)
        self.v_dim = self.fields.integer_or("attention.value_length", usual)
        self.k_dim_swa = self.fields.integer_or("attention.key_length_swa", self.k_dim)
        self.v_dim_swa = self.fields.integer_or("attention.value_length_swa", self.v_dim)
        self.experts = self.fields.integer_or("expert_count", 0, 0)
        self.experts_used = self.per_layer_or("expert_used_count", [0] * self.count)

    def _kept(self, key: str) -> None:
        """Refuses a list that the header reader skipped: it is longer than any list of layers."""
        if key in self.fields.values and self.fields.values[key] is None:
            raise self.fields.fault(key, "is longer than any model has layers")

    def per_layer_or(self, key: str, default: list[int]) -> list[int]:
        """One number for all layers, or a list with one for each; the default when absent."""
        self._kept(key)
        if not self.fields.has(key):
            return default
        if isinstance(self.fields.values[key], list):
            return self.fields.integers(key, self.count, 0, MAX_SIZE)
        return [self.fields.integer(key, 0)] * self.count

    def per_layer(self, key: str) -> list[int]:
        """As `per_layer_or`, for a key that must be there."""
        if not self.fields.has(key):
            raise self.fields.fault(key, "is missing")
        return self.per_layer_or(key, [])

    def pattern(self, key: str) -> list[bool] | None:
        """A list of flags per layer; None when there is none. A longer list is cut."""
        self._kept(key)
        value = self.fields.values.get(key)
        if not isinstance(value, list):
            return None
        if len(value) < self.count:
            raise self.fields.fault(key, f"has {len(value)} entries for {self.count} layers")
        return [bool(item) for item in value[: self.count]]

    def sliding(self, period: int, *, dense_first: bool = False) -> list[bool]:
        """Which layers keep a window: the file's own list, else one full layer in `period`.

        A period of 0 means all of them; draft layers never.
        """
        key = "attention.sliding_window_pattern"
        given = self.pattern(key)
        if given is not None:
            return given
        step = self.fields.integer_or(key, period, 0)
        full = 0 if dense_first else step - 1
        out: list[bool] = []
        for i in range(self.count):
            sliding = step == 0 or i % step != full
            out.append(sliding and i < self.count - self.draft)
        return out

    def shape(self, i: int, name: str) -> Tensor | None:
        """Tensor `name` of layer i, if the file has it."""
        return self.tensors.get(f"blk.{i}.{name}.weight")


def width_of(h: Hparams, i: int, name: str) -> int:
    """Rows a down projection takes in: the width of its feed-forward; 0 when there is none."""
    tensor = h.shape(i, name)
    return 0 if tensor is None else tensor.columns


def make_layer(
    h: Hparams,
    i: int,
    kind: AttentionKind,
    window: int = 0,
    reads: int = -1,
    *,
    caches: bool = True,
) -> Layer:
    """Layer i with plain K and V and the feed-forward its tensors show.

    `kind` as in Layer. A layer without KV heads still counts as attention: llama.cpp pads its V
    when that is transposed. `caches` false: it keeps nothing of its own (it reads layer `reads`).
    """
    sliding = kind in ("sliding", "chunked")
    k_dim, v_dim = (h.k_dim_swa, h.v_dim_swa) if sliding else (h.k_dim, h.v_dim)
    kv_heads = h.kv_heads[i]
    kept = kv_heads if caches else 0
    wide = width_of(h, i, "ffn_down_exps")
    return Layer(
        kind=kind,
        heads=h.heads[i],
        kv_heads=kv_heads,
        head_dim=k_dim,
        v_head_dim=v_dim,
        k_elements=kept * k_dim,
        v_elements=kept * v_dim,
        window=window if sliding else 0,
        reads=reads,
        feed_forward=width_of(h, i, "ffn_down"),
        experts=h.experts if wide > 0 else 0,
        experts_used=h.experts_used[i] if wide > 0 else 0,
        expert_feed_forward=wide,
        shared_feed_forward=width_of(h, i, "ffn_down_shexp"),
    )


def refuse_split_experts(h: Hparams) -> None:
    """Files from before stacked experts: llama.cpp no longer loads them either."""
    if h.experts > 0 and "blk.0.ffn_down.0.weight" in h.tensors:
        raise SpecError(
            "blk.0.ffn_down.0.weight", "experts in tensors of their own are not supported"
        )
