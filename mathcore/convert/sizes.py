"""The sizes of a decoder, from the names configs give them."""

from dataclasses import dataclass
from typing import final

from mathcore.model.fields import MAX_LAYERS, Fields


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a decoder. `feed_forward` is 0 where the family has no dense feed-forward."""

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    context: int
    kv_list: tuple[int, ...] = ()  # KV heads of each layer, where they differ

    @property
    def q(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv(self) -> int:
        return self.kv_heads * self.head_dim

    def kv_of(self, i: int) -> int:
        """As `kv`, of one layer."""
        return self.kv_list[i] * self.head_dim if self.kv_list else self.kv


def head_size(f: Fields, hidden: int, heads: int, field: str = "num_attention_heads") -> int:
    """hidden / heads, which must divide."""
    if hidden % heads != 0:
        raise f.fault(field, f"{heads} does not divide the hidden size {hidden}")
    return hidden // heads


def kv_heads_of(f: Fields, heads: int, *, required: bool) -> int:
    """KV heads: as many as heads where the field is null, or absent and not `required`."""
    absent = "num_key_value_heads" not in f.values
    kv = (
        f.integer("num_key_value_heads")
        if required and absent
        else f.integer_or("num_key_value_heads", heads)
    )
    if heads % kv != 0:
        raise f.fault("num_key_value_heads", f"{kv} does not divide {heads} heads")
    return kv


def sizes(
    f: Fields,
    *,
    need_kv: bool = False,
    need_head_dim: bool = False,
    kv_lists: bool = False,
    feed_forward: str = "intermediate_size",
) -> Sizes:
    """Sizes under the usual field names. `need_*`: no other field gives this one a default, but
    null stands for the one that follows from the heads, as it does in transformers.

    `kv_lists`: layers may differ in their KV heads. `feed_forward` names the dense width's field,
    "" for none.
    """
    hidden, heads = f.integer("hidden_size"), f.integer("num_attention_heads")
    listed = kv_list_of(f, heads) if kv_lists else ()
    kv = max(listed) if listed else kv_heads_of(f, heads, required=need_kv)
    given = f.has("head_dim") or (need_head_dim and "head_dim" not in f.values)
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("num_hidden_layers", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv,
        head_dim=f.integer("head_dim") if given else head_size(f, hidden, heads),
        feed_forward=f.integer(feed_forward) if feed_forward else 0,
        context=trained_context(f),
        kv_list=listed,
    )


def kv_list_of(f: Fields, heads: int) -> tuple[int, ...]:
    """KV heads of each layer; () where the field is no list."""
    if not isinstance(f.values.get("num_key_value_heads"), list):
        return ()
    layers = f.integer("num_hidden_layers", 1, MAX_LAYERS)
    found = f.integers("num_key_value_heads", layers, 1)
    for kv in found:
        if heads % kv != 0:
            raise f.fault("num_key_value_heads", f"{kv} does not divide {heads} heads")
    return tuple(found)


def trained_context(f: Fields) -> int:
    """The trained length, under any of its names; 0 when the config does not say."""
    for name in ("max_position_embeddings", "model_max_length", "max_sequence_length"):
        if f.has(name):
            return f.integer(name)
    return 0


def legacy_sizes(f: Fields, feed_forward: int, kv_heads: int, context: str) -> Sizes:
    """Sizes under GPT-2's names: n_embd, n_head, n_layer. The caller gives width and KV heads."""
    hidden, heads = f.integer("n_embd"), f.integer("n_head")
    return Sizes(
        vocab=f.integer("vocab_size"),
        hidden=hidden,
        layers=f.integer("n_layer", 1, MAX_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_size(f, hidden, heads, "n_head"),
        feed_forward=feed_forward,
        context=f.integer_or(context, 0),
    )
