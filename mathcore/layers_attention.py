"""Layers of architectures that only have plain attention: full, sliding, chunked, shared.

Each reader mirrors `load_arch_hparams` of llama.cpp's src/models/<architecture>.cpp.
"""

from collections.abc import Callable

from mathcore.hparams import Hparams, make_layer
from mathcore.model import Layer

Reader = Callable[[Hparams], tuple[Layer, ...]]

_WINDOW = "attention.sliding_window"
# llama.cpp sets these two itself, whatever the file says.
LLAMA4_CHUNK = 8192
SMALLTHINKER_WINDOW = 4096
EXAONE4_WINDOW = 4096
EXAONE_MOE_WINDOW = 128


def full(h: Hparams) -> tuple[Layer, ...]:
    """Every layer keeps every token."""
    return tuple([make_layer(h, i, "full") for i in range(h.count)])


def windowed(h: Hparams, near: list[bool], window: int, kind: str = "sliding") -> tuple[Layer, ...]:
    """Layers of `near` keep a window, the others everything."""
    return tuple([make_layer(h, i, kind if near[i] else "full", window) for i in range(h.count)])


def _optional(h: Hparams, period: int, dense_first: bool = False) -> tuple[Layer, ...]:
    """A window only where the file gives one above 0."""
    window = h.fields.whole_or(_WINDOW, 0, 0)
    if window == 0:
        return full(h)
    return windowed(h, h.sliding(period, dense_first), window)


def _required(h: Hparams, period: int, dense_first: bool = False) -> tuple[Layer, ...]:
    window = h.fields.whole(_WINDOW, 1)
    return windowed(h, h.sliding(period, dense_first), window)


def _gemma2(h: Hparams) -> tuple[Layer, ...]:
    """Its window is 4096 unless the file says otherwise."""
    return windowed(h, h.sliding(2), h.fields.whole_or(_WINDOW, 4096))


def _one_in_3_first(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 3, True)


def _one_in_4(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 4)


def _one_in_6(h: Hparams) -> tuple[Layer, ...]:
    return _optional(h, 6)


FULL: tuple[str, ...] = ("llama", "qwen2", "qwen3", "phi3", "gemma")

READERS: dict[str, Reader] = {
    "gemma2": _gemma2,
    "gemma3": _one_in_6,
    "olmo2": _one_in_4,
}
for _arch in FULL:
    READERS[_arch] = full
