"""Real llama.cpp loads a file of the types we choose, and counts the same bytes."""

from pathlib import Path

import pytest

from mathcore.convert.conversion import Conversion
from mathcore.formats.config import convert, spec_from_config
from mathcore.model.spec import Tensor
from mathcore.quant.gguf_rules import block_types, roles_of
from mathcore.quant.weights import weigh
from tests.support.llamacpp_oracle import ask
from tests.support.sparse_gguf import write_gguf

EXPERTS: dict[str, object] = {
    "model_type": "qwen3_moe",
    "vocab_size": 1024,
    "hidden_size": 512,
    "num_hidden_layers": 17,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "num_experts": 4,
    "intermediate_size": 1024,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 256,
}
ODD: dict[str, object] = {
    "model_type": "llama",
    "vocab_size": 1024,
    "hidden_size": 576,
    "num_hidden_layers": 9,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "tie_word_embeddings": True,
}


def typed(card: dict[str, object], quant: str) -> Conversion:
    """The conversion with the block types `quant` gives it."""
    found = convert(card)
    spec = spec_from_config(card, "m")
    kinds = block_types(spec, quant, roles_of(spec.tensors))
    tensors = [
        Tensor(
            name=tensor.name,
            columns=tensor.columns,
            rows=tensor.rows,
            dims=tensor.dims,
            layer=tensor.layer,
            type_name=kind,
            experts=tensor.experts,
        )
        for tensor, kind in zip(found.tensors, kinds, strict=True)
    ]
    return Conversion(metadata=found.metadata, tensors=tuple(tensors))


# Between them every block type but Q1_0's and NVFP4's, which need rows of their own.
@pytest.mark.parametrize(
    "quant",
    [
        "Q4_K_M",
        "Q3_K_L",
        "Q2_K",
        "IQ2_M",
        "IQ1_S",
        "IQ3_XS",
        "TQ1_0",
        "TQ2_0",
        "MXFP4_MOE",
        "Q2_0",
        "IQ4_XS",
    ],
)
def test_a_file_of_our_types_is_the_size_llama_cpp_counts(quant: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, typed(EXPERTS, quant))
    size = weigh(spec_from_config(EXPERTS, "m"), quant).total_bytes
    assert ask(path, context=256).model_bytes == size


@pytest.mark.parametrize("quant", ["Q5_K_M", "IQ1_M", "Q6_K"])
def test_rows_that_fell_back_load_too(quant: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, typed(ODD, quant))
    size = weigh(spec_from_config(ODD, "m"), quant).total_bytes
    assert ask(path, context=256).model_bytes == size
