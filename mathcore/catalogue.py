"""Models known by name: the sizes their publishers' config.json files give.

Each row names the repository whose config it states; the tensors follow from it. Twelve rows were
compared tensor for tensor with the config itself, five more by their parameter count, the rest not.
"""

from mathcore.card import spec_from_config
from mathcore.model import ModelSpec

_FIELDS: tuple[str, ...] = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads",
    "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings",
)  # fmt: skip

# name|model_type|layers|hidden|heads|kv|head_dim|ffn|vocab|context|tied|llama3 rope|repository
_ROWS = """
llama-2-7b|llama|32|4096|32|32|128|11008|32000|4096|0|0|meta-llama/Llama-2-7b-hf
llama-2-13b|llama|40|5120|40|40|128|13824|32000|4096|0|0|meta-llama/Llama-2-13b-hf
llama-2-70b|llama|80|8192|64|8|128|28672|32000|4096|0|0|meta-llama/Llama-2-70b-hf
llama-3-8b|llama|32|4096|32|8|128|14336|128256|8192|0|0|meta-llama/Meta-Llama-3-8B
llama-3-70b|llama|80|8192|64|8|128|28672|128256|8192|0|0|meta-llama/Meta-Llama-3-70B
llama-3.1-8b|llama|32|4096|32|8|128|14336|128256|131072|0|1|meta-llama/Llama-3.1-8B
llama-3.1-70b|llama|80|8192|64|8|128|28672|128256|131072|0|1|meta-llama/Llama-3.1-70B
llama-3.1-405b|llama|126|16384|128|8|128|53248|128256|131072|0|1|meta-llama/Llama-3.1-405B
llama-3.2-1b|llama|16|2048|32|8|64|8192|128256|131072|1|1|meta-llama/Llama-3.2-1B
llama-3.2-3b|llama|28|3072|24|8|128|8192|128256|131072|1|1|meta-llama/Llama-3.2-3B
llama-3.3-70b|llama|80|8192|64|8|128|28672|128256|131072|0|1|meta-llama/Llama-3.3-70B-Instruct
mistral-7b|mistral|32|4096|32|8|128|14336|32000|32768|0|0|mistralai/Mistral-7B-v0.1
qwen2.5-0.5b|qwen2|24|896|14|2|64|4864|151936|32768|1|0|Qwen/Qwen2.5-0.5B
qwen2.5-1.5b|qwen2|28|1536|12|2|128|8960|151936|131072|1|0|Qwen/Qwen2.5-1.5B
qwen2.5-3b|qwen2|36|2048|16|2|128|11008|151936|32768|1|0|Qwen/Qwen2.5-3B
qwen2.5-7b|qwen2|28|3584|28|4|128|18944|152064|131072|0|0|Qwen/Qwen2.5-7B
qwen2.5-14b|qwen2|48|5120|40|8|128|13824|152064|131072|0|0|Qwen/Qwen2.5-14B
qwen2.5-32b|qwen2|64|5120|40|8|128|27648|152064|131072|0|0|Qwen/Qwen2.5-32B
qwen2.5-72b|qwen2|80|8192|64|8|128|29568|152064|131072|0|0|Qwen/Qwen2.5-72B
qwen3-0.6b|qwen3|28|1024|16|8|128|3072|151936|40960|1|0|Qwen/Qwen3-0.6B
qwen3-1.7b|qwen3|28|2048|16|8|128|6144|151936|40960|1|0|Qwen/Qwen3-1.7B
qwen3-4b|qwen3|36|2560|32|8|128|9728|151936|40960|1|0|Qwen/Qwen3-4B
qwen3-8b|qwen3|36|4096|32|8|128|12288|151936|40960|0|0|Qwen/Qwen3-8B
qwen3-14b|qwen3|40|5120|40|8|128|17408|151936|40960|0|0|Qwen/Qwen3-14B
qwen3-32b|qwen3|64|5120|64|8|128|25600|151936|40960|0|0|Qwen/Qwen3-32B
smollm2-135m|llama|30|576|9|3|64|1536|49152|8192|1|0|HuggingFaceTB/SmolLM2-135M
tinyllama-1.1b|llama|22|2048|32|4|64|5632|32000|2048|0|0|TinyLlama/TinyLlama-1.1B-Chat-v1.0
"""

ALIASES: dict[str, str] = {
    "llama-7b": "llama-2-7b", "llama-13b": "llama-2-13b", "llama-70b": "llama-2-70b",
    "llama-8b": "llama-3.1-8b", "llama2-7b": "llama-2-7b", "llama2-13b": "llama-2-13b",
    "llama2-70b": "llama-2-70b", "llama3-8b": "llama-3-8b", "llama3-70b": "llama-3-70b",
    "llama3.1-8b": "llama-3.1-8b", "llama3.1-70b": "llama-3.1-70b",
    "llama-405b": "llama-3.1-405b", "llama3.2-1b": "llama-3.2-1b",
    "llama3.2-3b": "llama-3.2-3b", "mistral": "mistral-7b", "qwen2.5-coder-7b": "qwen2.5-7b",
    "tinyllama": "tinyllama-1.1b",
}  # fmt: skip


def _rows() -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for line in _ROWS.strip().splitlines():
        row = line.split("|")
        out[row[0]] = row
    return out


_TABLE: dict[str, list[str]] = _rows()


def model_names() -> list[str]:
    """Every name `find_model` knows, aliases included, sorted."""
    return sorted(list(_TABLE) + list(ALIASES))


def _canonical(name: str) -> str:
    key = name.strip().lower().replace("_", "-").replace(":", "-").replace(" ", "-")
    for ending in ("-hf", "-instruct", "-chat"):
        key = key.removesuffix(ending)
    return ALIASES.get(key, key)


def find_model(name: str) -> ModelSpec | None:
    """The model a name or repository means, or None."""
    key = _canonical(name)
    row = _TABLE.get(key)
    if row is None:
        for other in _TABLE.values():
            if other[12].lower() == name.strip().lower():
                row = other
    if row is None:
        return None
    card: dict[str, object] = {"model_type": row[1], "tie_word_embeddings": row[10] == "1"}
    for i, field in enumerate(_FIELDS):
        card[field] = int(row[2 + i])
    if row[11] == "1":
        card["rope_scaling"] = {"rope_type": "llama3"}
    return spec_from_config(card, row[0], f"config.json of {row[12]}")
