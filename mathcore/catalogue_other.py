"""OLMo 2 and single models of other publishers.

Rows of the catalogue, as JSON: {"repeat": n, "of": [...]} stands for a list, {"join": [...]} for
a text, and "like" for another row's config with the fields given here instead.
"""

ROWS = """[
{"name": "olmo-2-1b", "repo": "allenai/OLMo-2-0425-1B", "parameters": 1485000000,
 "published": "hub", "aliases": ["olmo2:1b", "olmo-2-0425-1b"], "card": {"model_type": "olmo2",
 "num_hidden_layers": 16, "hidden_size": 2048, "num_attention_heads": 16,
 "num_key_value_heads": 16, "intermediate_size": 8192, "vocab_size": 100352,
 "max_position_embeddings": 4096, "tie_word_embeddings": false}},
{"name": "olmo-2-7b", "repo": "allenai/OLMo-2-1124-7B", "parameters": 7300000000,
 "published": "hub", "aliases": ["olmo2:7b", "olmo2", "olmo-2-1124-7b"],
 "card": {"model_type": "olmo2", "num_hidden_layers": 32, "hidden_size": 4096,
 "num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 11008,
 "vocab_size": 100352, "max_position_embeddings": 4096, "tie_word_embeddings": false}},
{"name": "olmo-2-13b", "repo": "allenai/OLMo-2-1124-13B", "parameters": 13716000000,
 "published": "hub", "aliases": ["olmo2:13b", "olmo-2-1124-13b"], "card": {"model_type": "olmo2",
 "num_hidden_layers": 40, "hidden_size": 5120, "num_attention_heads": 40,
 "num_key_value_heads": 40, "intermediate_size": 13824, "vocab_size": 100352,
 "max_position_embeddings": 4096, "tie_word_embeddings": false}},
{"name": "olmo-2-32b", "repo": "allenai/OLMo-2-0325-32B", "parameters": 32234000000,
 "published": "llama.cpp", "aliases": ["olmo2:32b", "olmo-2-0325-32b"],
 "card": {"hidden_size": 5120, "intermediate_size": 27648, "max_position_embeddings": 4096,
 "model_type": "olmo2", "num_attention_heads": 40, "num_hidden_layers": 64,
 "num_key_value_heads": 8, "tie_word_embeddings": false, "vocab_size": 100352}}
]"""
