"""Write a GGUF that says given pieces of text whatever it is asked, then ends, in real llama.cpp.

Its layers add nothing, so what comes next depends on the last token alone, and the output matrix
says what that is. With it a tool call is the same every time.
"""

from pathlib import Path

import gguf
import numpy as np

from tests.support.tiny_gguf import add_tokenizer, vocabulary

VOCABULARY = 384
HEADS = 8
CONTEXT = 4096
SURE = 10.0  # logits of 196 after the norm: nothing else is ever drawn
END = 2  # </s>
# Chats in a form whose tool calls llama.cpp reads, and from which it makes its grammar.
TEMPLATE = """{%- if tools %}<|im_start|>system
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
<tool_call>
{"name": <name>, "arguments": <arguments>}
</tool_call><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{%- if message.content %}
{{ message.content }}
{%- endif %}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
CALL = ("<tool_call>", '\n{"name": "look", "arguments": {}}\n', "</tool_call>")


def write_scripted_gguf(path: Path | str, pieces: tuple[str, ...] = CALL) -> Path:
    """Write the model to `path` and return it; each piece is one token."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("scripted")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(VOCABULARY)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HEADS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(VOCABULARY // HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_chat_template(TEMPLATE)
    tokens = vocabulary(VOCABULARY)
    first = next(i for i, one in enumerate(tokens) if one[0].startswith(b"<spare"))
    for number, piece in enumerate(pieces):
        tokens[first + number] = (piece.encode(), -1e4, gguf.TokenType.USER_DEFINED)
    add_tokenizer(writer, tokens)
    _add_weights(writer, first, len(pieces))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def _add_weights(writer: gguf.GGUFWriter, first: int, count: int) -> None:
    """A layer of zeros between one-hot embeddings and what follows each token."""
    follows = np.zeros((VOCABULARY, VOCABULARY), np.float32)
    follows[first, :] = SURE  # after whatever was asked, the first piece
    for number in range(count):
        follows[first, first + number] = 0.0
        follows[END if number + 1 == count else first + number + 1, first + number] = SURE
    writer.add_tensor("token_embd.weight", np.eye(VOCABULARY, dtype=np.float32))
    writer.add_tensor("output.weight", follows)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(VOCABULARY, np.float32))
    wide = (VOCABULARY, VOCABULARY)
    shapes = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), wide),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (HEADS, VOCABULARY)),
        "ffn_down": (VOCABULARY, HEADS),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
