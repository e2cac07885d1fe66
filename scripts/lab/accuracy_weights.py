"""Rows of weights: a model's tensor bytes at a llama.cpp file type."""

from mathcore.model.spec import ModelSpec
from mathcore.quant.weights import QUANTS, quant_fault, weigh

Row = dict[str, str]
# llama.cpp's name where ours differs.
_RENAMED = {"NVFP4": "GGUF-NVFP4"}


class Refused(Exception):
    """A row our rules do not cover; the text says which part."""


def predict_weights(row: Row, spec: ModelSpec) -> Row:
    """Tensor bytes of the model at one file type."""
    quant = _RENAMED.get(row["ftype"], row["ftype"])
    if QUANTS.get(quant) != "gguf":
        raise Refused(f"file type {quant}")
    fault = quant_fault(spec, quant)
    if fault:
        raise Refused(fault)
    return {"tensor_bytes": str(weigh(spec, quant).total_bytes)}
