"""A model as the planner sees it: one layer list, and every weight tensor by shape.

Knows no file format (`card`, `gguf`) and no engine (`footprint`).
"""

from dataclasses import dataclass
from typing import final


class CardError(Exception):
    """A model description we cannot read: `field` names the place, `text` says why."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How one layer remembers: "full", "sliding" (last `window` tokens) or "none"."""

    kind: str
    k_elements: int = 0  # numbers cached per token for K
    v_elements: int = 0
    head_dim: int = 0  # a quantised cache needs whole blocks per head
    window: int = 0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One weight tensor under its GGUF name: `rows` rows of `columns` numbers."""

    name: str
    columns: int
    rows: int
    dims: int  # 1-d tensors are never quantised
    layer: int = -1  # -1 = not of one layer
    type_name: str = ""  # block type when it comes from a file


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything about a model that costs memory or time."""

    name: str
    architecture: str  # llama.cpp's name
    vocab: int
    hidden: int
    heads: int
    feed_forward: int
    context_length: int  # trained for; 0 = the card does not say
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    tied: bool  # the output layer is the embedding table
    parameters: int  # resident
    active_parameters: int  # read per token
    quant: str = ""  # file type when read from a GGUF, else ""
    source: str = ""


def parameter_count(tensors: tuple[Tensor, ...]) -> int:
    """Trained numbers; rope tables are computed, not trained."""
    total = 0
    for tensor in tensors:
        if not tensor.name.startswith("rope_"):
            total += tensor.columns * tensor.rows
    return total
