"""A model or heads that draft tokens beside a model: bytes for any context and number of sequences.

Its cache and its compute buffer grow with the question, so a largest context, or a grid, asks anew.
"""

from dataclasses import dataclass
from typing import final

from mathcore.engines.footprint import ContextShape
from mathcore.engines.llamacpp.memory import compute_bytes, context_bytes
from mathcore.model.spec import ModelSpec

HEAD_BYTES = 2  # of a number in the cache of drafting heads, whose type nobody sets


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What drafts: a small model, or (`heads`) the last layers of `spec` itself."""

    spec: ModelSpec
    weights_bytes: int  # beside what the large model's own weights count
    kv_type: str = "f16"
    heads: bool = False

    def total_bytes(self, context: int, sequences: int) -> int:
        """Weights, the cache of `sequences` sequences of `context` tokens, and the buffer."""
        shape = ContextShape(context=context, sequences=sequences, kv_type=self.kv_type)
        total = self.weights_bytes + compute_bytes(self.spec, shape, card=True)
        if not self.heads:
            return total + context_bytes(self.spec, shape)
        for layer in self.spec.layers[len(self.spec.layers) - self.spec.draft_layers :]:
            numbers = layer.k_elements + layer.v_elements
            total += context * sequences * numbers * HEAD_BYTES
        return total
