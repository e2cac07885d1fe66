"""Which files hold a model that makes vectors of texts: it is started for that, and no other is."""

import pytest

from mathcore.formats.gguf import makes_vectors
from mathcore.gguf.header import GgufHeader


def header(architecture: str, **own: object) -> GgufHeader:
    metadata: dict[str, object] = {"general.architecture": architecture}
    metadata |= {f"{architecture}.{name}": value for name, value in own.items()}
    return GgufHeader(
        version=3, metadata=metadata, tensors=(), end=0, data_bytes=0, alignment=32, lengths={}
    )


@pytest.mark.parametrize(
    ("architecture", "own", "vectors"),
    [
        ("llama", {}, False),
        ("qwen3", {"pooling_type": 3}, True),  # Qwen3-Embedding: the last token's
        ("llama", {"pooling_type": 0}, False),
        ("bert", {}, True),
        ("bert", {"pooling_type": 2}, True),
        ("bert", {"pooling_type": 0}, True),
        ("bert", {"pooling_type": 4}, False),  # it ranks
        ("nomic-bert-moe", {}, True),
        ("gemma-embedding", {}, True),
        ("llama-embed", {}, True),
        ("pangu-embedded", {}, False),  # made for small machines, and says sentences
        ("qwen3", {"pooling_type": "mean"}, False),
    ],
)
def test_a_model_for_embeddings_is_known_by_its_file(
    architecture: str, own: dict[str, object], *, vectors: bool
) -> None:
    assert makes_vectors(header(architecture, **own)) is vectors
