"""The result every family's converter gives, and the tensor builders they share."""

from dataclasses import dataclass
from typing import final

from mathcore.model.spec import Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What a model's GGUF would hold: enough for `layers_from` and for a file llama.cpp loads.

    `metadata` has the format's own keys ("general.architecture", "llama.block_count", …) with whole
    numbers, floats, flags, texts and lists of them; no tokenizer. `tensors` carry no block type.
    """

    metadata: dict[str, object]
    tensors: tuple[Tensor, ...]


def matrix(name: str, columns: int, rows: int, layer: int = -1) -> Tensor:
    """A two-dimensional weight under its full GGUF name."""
    return Tensor(name=name, columns=columns, rows=rows, dims=2, layer=layer)


def vector(name: str, columns: int, layer: int = -1) -> Tensor:
    return Tensor(name=name, columns=columns, rows=1, dims=1, layer=layer)


def stacked(name: str, columns: int, rows: int, experts: int, layer: int = -1) -> Tensor:
    """`experts` matrices of `rows` rows in one tensor."""
    return Tensor(
        name=name, columns=columns, rows=rows * experts, dims=3, layer=layer, experts=experts
    )
