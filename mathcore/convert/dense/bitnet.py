"""Microsoft's BitNet: the Llama shape with a second norm inside each half."""

from collections.abc import Callable

from mathcore.convert.build import Build
from mathcore.convert.conversion import Conversion
from mathcore.convert.sizes import sizes
from mathcore.model.fields import Fields


def _bitnet(f: Fields) -> Conversion:
    b = Build("bitnet", sizes(f, need_kv=True))
    for i in range(b.s.layers):
        b.norm(i, "attn_norm")
        b.norm(i, "attn_sub_norm")
        b.attention(i)
        b.norm(i, "ffn_norm")
        b.norm(i, "ffn_sub_norm", size=b.s.feed_forward)
        b.gated_mlp(i)
    return b.done(tied=True)


CONVERTERS: dict[str, Callable[[Fields], Conversion]] = {
    "bitnet": _bitnet,
}
