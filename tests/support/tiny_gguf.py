"""Write a small llama-shaped GGUF with random weights: real enough for llama.cpp to run.

The demo and the tests measure with it; what it says is noise, what it costs is not.
Usage: python tests/support/tiny_gguf.py OUT.gguf
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

QUANTS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
WORDS = ("▁the", "▁a", "▁of", "th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", "or")
Token = tuple[bytes, float, gguf.TokenType]


def vocabulary(size: int) -> list[Token]:
    """A byte-complete SentencePiece vocabulary: specials, 256 bytes, ASCII, words, padding."""
    kinds = gguf.TokenType
    special = [(b"<unk>", 0.0, kinds.UNKNOWN)]
    special += [(name, 0.0, kinds.CONTROL) for name in (b"<s>", b"</s>")]
    raw = [(f"<0x{byte:02X}>".encode(), 0.0, kinds.BYTE) for byte in range(256)]
    pieces = ["▁", *(chr(code) for code in range(33, 127)), *WORDS]
    plain = [(text.encode(), -1.0 - rank, kinds.NORMAL) for rank, text in enumerate(pieces)]
    tokens = special + raw + plain
    if size < len(tokens):
        raise ValueError(f"vocab {size} is too small: a byte-complete one needs {len(tokens)}")
    spare = range(len(tokens), size)
    return tokens + [(f"<spare_{i}>".encode(), -1e4, kinds.USER_DEFINED) for i in spare]


def write_tiny_gguf(
    path: Path | str,
    layers: int = 4,
    hidden: int = 128,
    ffn: int = 384,
    heads: int = 8,
    kv_heads: int = 2,
    vocab: int = 384,
    context: int = 4096,
    dtype: str = "f16",
    seed: int = 0,
    pooling: gguf.PoolingType | None = None,
) -> Path:
    """Write the model to `path` and return it. `dtype` is one of f32, f16, q8_0, q4_0; with a
    `pooling` it is one that makes vectors."""
    quant, file_type = QUANTS[dtype]
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(file_type)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    add_tokenizer(writer, vocabulary(vocab))
    weights = _Weights(writer, quant, seed)
    weights.matrix("token_embd", vocab, hidden)
    weights.norm("output_norm", hidden)
    weights.matrix("output", vocab, hidden)
    for layer in range(layers):
        weights.block(f"blk.{layer}.", hidden, ffn, kv_heads * (hidden // heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def add_tokenizer(writer: gguf.GGUFWriter, tokens: list[Token]) -> None:
    """A SentencePiece vocabulary and its special tokens."""
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([text for text, _, _ in tokens])
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([int(kind) for _, _, kind in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


class _Weights:
    """Adds random tensors to a writer; the same seed gives the same file."""

    def __init__(
        self, writer: gguf.GGUFWriter, quant: gguf.GGMLQuantizationType, seed: int
    ) -> None:
        self.writer = writer
        self.quant = quant
        self.random = np.random.default_rng(seed)

    def matrix(self, name: str, rows: int, columns: int) -> None:
        """Small normal numbers, stored at the model's width."""
        values: npt.NDArray[np.float32] = self.random.standard_normal(
            (rows, columns), dtype=np.float32
        )
        packed = gguf.quantize(values * np.float32(0.02), self.quant)
        self.writer.add_tensor(f"{name}.weight", packed, raw_dtype=self.quant)

    def norm(self, name: str, width: int) -> None:
        """Ones in f32: llama.cpp wants its norm vectors unquantised."""
        self.writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))

    def block(self, prefix: str, hidden: int, ffn: int, kv_width: int) -> None:
        """One transformer layer: grouped attention and a gated feed-forward."""
        self.norm(prefix + "attn_norm", hidden)
        self.norm(prefix + "ffn_norm", hidden)
        self.matrix(prefix + "attn_q", hidden, hidden)
        self.matrix(prefix + "attn_k", kv_width, hidden)
        self.matrix(prefix + "attn_v", kv_width, hidden)
        self.matrix(prefix + "attn_output", hidden, hidden)
        self.matrix(prefix + "ffn_gate", ffn, hidden)
        self.matrix(prefix + "ffn_up", ffn, hidden)
        self.matrix(prefix + "ffn_down", hidden, ffn)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(write_tiny_gguf(sys.argv[1]).stat().st_size)
